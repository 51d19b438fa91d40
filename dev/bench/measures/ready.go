package measures

import (
	"context"
	"fmt"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/agents"
	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Ready measures how long it takes until new bundles are ready on every cluster, and then a change of all of them, with agents that
// report everything as ready at once.
func (r *Run) Ready(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	played := agents.New(r.hub.Hub)
	return playing(ctx, played, func(ctx context.Context) error {
		if err := played.Announce(ctx, clusterKeys(0, r.Clusters)); err != nil {
			return err
		}
		return r.ready(ctx, played)
	})
}

func (r *Run) ready(ctx context.Context, played *agents.Agents) error {
	p := r.watch(ctx)
	defer p.close()
	m := &readying{run: r, agents: played, picture: p}
	if err := m.measure(ctx, "new", "< 20 s with 2,500", func(ctx context.Context, i int) error {
		_, err := r.hub.Bundles.Create(ctx, bundle(bundleName(i), "1", everywhere()))
		return err
	}); err != nil {
		return err
	}
	return m.measure(ctx, "commit", "", func(ctx context.Context, i int) error {
		return r.edit(ctx, bundleName(i), func(b *fleet.Bundle) {
			b.Spec.Resources = bundle(b.Name, "2", everywhere()).Spec.Resources
		})
	})
}

// readying is a measurement of how long it takes until all is ready.
type readying struct {
	run     *Run
	agents  *agents.Agents
	picture *picture
	// generation is that of all bundles.
	generation int64
}

// measure changes every bundle and waits until the agents have reported each deployment, and bundles and clusters say so.
func (m *readying) measure(ctx context.Context, name, target string, do func(ctx context.Context, i int) error) error {
	r := m.run
	n := r.Clusters * r.Bundles
	p, err := r.begin(ctx, name)
	if err != nil {
		return err
	}
	before := m.agents.Reported()
	m.generation++
	bundles, clusters := m.picture.expect(m.bundlesReady), m.picture.expect(m.everythingReady)
	var bundlesAt, clustersAt time.Time
	err = r.progress.Do(name, func(task *progress.Task) (_ string, err error) {
		if err := r.each(ctx, r.Bundles, do); err != nil {
			return "", fmt.Errorf("changing bundles: %w", err)
		}
		task.Update(fmt.Sprintf("%d bundles changed, waiting for %d deployments", r.Bundles, n))
		if bundlesAt, err = m.picture.when(ctx, bundles); err != nil {
			return "", fmt.Errorf("waiting for bundles, with %d reports: %w", m.agents.Reported()-before, err)
		}
		if clustersAt, err = m.picture.when(ctx, clusters); err != nil {
			return "", fmt.Errorf("waiting for clusters: %w", err)
		}
		return fmt.Sprintf("%d deployments ready", n), nil
	})
	if err != nil {
		return err
	}
	took := bundlesAt.Sub(p.began)
	r.report.Add(
		figures.Measure{Name: name + ": every bundle says that it is ready everywhere", Value: took.Seconds(), Unit: figures.Seconds, Target: target},
		figures.Measure{Name: name + ": every cluster does, too", Value: clustersAt.Sub(p.began).Seconds(), Unit: figures.Seconds},
		figures.Measure{Name: name + ": deployments", Value: figures.Rate(n, took), Unit: figures.PerSecond},
	)
	if reports := m.agents.Reported() - before; reports != n {
		r.report.Add(figures.Measure{Name: name + ": reports of agents, of which there should be " + fmt.Sprint(n), Value: float64(reports)})
	}
	hub, err := r.end(ctx, p, n, "deployment")
	if err != nil {
		return err
	}
	own := r.hub.Own().Minus(p.own).Writes()
	r.count("writes of the bench, as user and as agents: "+name, own, n, "deployment")
	r.report.Add(figures.Measure{
		Name:  name + ": writes per deployment, its agent's included, its parents' not",
		Value: per(float64(aboutDeployments(hub)+aboutDeployments(own)), n), Target: "≤ 2",
	})
	return nil
}

// aboutDeployments counts requests about deployments and their values.
func aboutDeployments(requests counters.Requests) int {
	total := 0
	for request, n := range requests {
		switch request.Resource {
		case "bundledeployments", "bundledeployments/status", "secrets":
			total += n
		}
	}
	return total
}

// bundlesReady says whether every bundle says, at the generation that is wanted, that it is ready on every cluster.
func (m *readying) bundlesReady(f *facts) bool {
	for i := range m.run.Bundles {
		name := bundleName(i)
		if !f.generation(name, m.generation) || !f.says(name, m.run.Clusters, m.run.Clusters) {
			return false
		}
	}
	return true
}

// everythingReady says whether every cluster says so, too.
func (m *readying) everythingReady(f *facts) bool {
	if !m.bundlesReady(f) {
		return false
	}
	for i := range m.run.Clusters {
		c := f.clusters[clusterName(i)]
		if c == nil || c.Status.Summary.DesiredReady != m.run.Bundles || c.Status.Summary.Ready != m.run.Bundles {
			return false
		}
	}
	return true
}
