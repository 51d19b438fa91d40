package measures

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/apiserver"
	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/bench/gauge"
	"github.com/flotilla-gitops/flotilla/dev/bench/stream"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// makeClusters adds simulated clusters from the from-th on until there are to, and measures how long it takes until each of them
// has its place on the hub: a user who registers a fleet waits for that.
func (r *Run) makeClusters(ctx context.Context, from, to int) error {
	if from >= to {
		return nil
	}
	p, err := r.begin(ctx, fmt.Sprintf("clusters %d → %d", from, to))
	if err != nil {
		return err
	}
	settled := r.countSettled(ctx)
	defer settled.Close()
	var posted time.Duration
	var last time.Time
	err = r.progress.Do(p.name, func(task *progress.Task) (detail string, err error) {
		if err := r.each(ctx, to-from, func(ctx context.Context, i int) error {
			_, err := r.hub.Clusters.Create(ctx, cluster(from+i))
			return err
		}); err != nil {
			return "", fmt.Errorf("creating clusters: %w", err)
		}
		posted = time.Since(p.began)
		last, err = settled.Await(ctx, to, task.Update)
		return "", err
	})
	if err != nil {
		return err
	}
	took := last.Sub(p.began)
	r.report.Add(
		figures.Measure{Name: p.name + ": created by the bench", Value: posted.Seconds(), Unit: figures.Seconds},
		figures.Measure{Name: p.name + ": every one has its namespace", Value: took.Seconds(), Unit: figures.Seconds},
		figures.Measure{Name: p.name + ": registered", Value: figures.Rate(to-from, took), Unit: figures.PerSecond},
	)
	_, err = r.end(ctx, p, to-from, "cluster")
	return err
}

// each calls do for 0 to n-1, many at once.
func (r *Run) each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	return apiserver.Each(ctx, apiserver.AtOnce, n, do)
}

// countSettled counts the clusters that have a namespace on the hub.
func (r *Run) countSettled(ctx context.Context) *gauge.Gauge {
	settled := map[string]bool{}
	return gauge.Follow(ctx, r.hub.REST(), fleet.SchemeGroupVersion.WithResource("clusters"), func(g *gauge.Gauge, e stream.Event) {
		var cluster fleet.Cluster
		if err := json.Unmarshal(e.Object, &cluster); err != nil {
			g.Fail(fmt.Errorf("decoding cluster: %w", err))
			return
		}
		if cluster.Status.Namespace != "" && !settled[cluster.Name] {
			settled[cluster.Name] = true
			g.Add(1)
		}
	})
}
