package playground

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/dev/installation"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// The cluster whose agent is away, and the parts that are killed and started.
const (
	left        = "downstream-2"
	leftAgent   = "agent/" + left
	hubsServer  = "apiserver/" + installation.HubName
	awayPattern = "away-%03d"
)

// Away kills an agent, untargets its cluster, and starts the agent again: once with the hub there, once with the hub away, too.
func Away(ctx context.Context, s Settings) (*figures.Report, error) {
	// What is started here goes on running afterwards, as the playground does.
	parts, err := installation.New(s.Dir, installation.Options{Detached: true})
	if err != nil {
		return nil, err
	}
	report, err := s.run(ctx, func(ctx context.Context, w *world) (*figures.Report, error) {
		a := &away{world: w, parts: parts}
		return a.measure(ctx)
	})
	// Also after an interrupt: nothing that was killed stays away.
	ctx = context.WithoutCancel(ctx)
	return report, errors.Join(err, parts.Start(ctx, hubsServer), parts.Start(ctx, leftAgent))
}

// away is a measurement.
type away struct {
	*world
	parts *installation.Installation
}

func (a *away) measure(ctx context.Context) (*figures.Report, error) {
	if err := a.prepare(ctx); err != nil {
		return nil, err
	}
	report := &figures.Report{}
	report.Fact("bundles", a.Bundles)
	var workloads, deployments, workloadsLate, deploymentsLate figures.Samples
	for range a.Rounds {
		if err := a.round(ctx, a.startAgent, &workloads, &deployments); err != nil {
			return report, err
		}
	}
	for range a.Rounds {
		if err := a.round(ctx, a.startAgentBeforeHub, &workloadsLate, &deploymentsLate); err != nil {
			return report, err
		}
	}
	for _, m := range []figures.Measure{
		figures.Of("agent started → all workloads gone", workloads, figures.Milliseconds),
		figures.Of("agent started → all deployments gone", deployments, figures.Milliseconds),
		figures.Of("hub back → all workloads gone", workloadsLate, figures.Milliseconds),
		figures.Of("hub back → all deployments gone", deploymentsLate, figures.Milliseconds),
	} {
		m.Target = "< 5 s"
		report.Add(m)
	}
	return report, nil
}

// prepare deploys all bundles to both clusters.
func (a *away) prepare(ctx context.Context) error {
	files := map[string]string{}
	a.workloads = nil
	for i := range a.Bundles {
		name := fmt.Sprintf(awayPattern, i)
		files[name+"/configmap.yaml"] = manifest(name, "0")
		files[name+"/fleet.yaml"] = "defaultNamespace: " + namespace + "\n"
		a.workloads = append(a.workloads, name)
	}
	if _, err := a.repo.Commit(ctx, repo.Change{Message: "Away", Replace: true, Write: files}); err != nil {
		return err
	}
	if err := a.create(ctx, quietPolling); err != nil {
		return err
	}
	return a.everywhere(ctx)
}

func (a *away) everywhere(ctx context.Context) error {
	want := fmt.Sprintf("%[1]d/%[1]d", 2*a.Bundles)
	_, err := a.log.await(ctx, "gitrepo", want)
	return err
}

// comeback is the return of who was away: when it was, and who has an eye on the hub's deployments since.
type comeback struct {
	start time.Time
	log   *timeline
	// blind is until when nothing was seen of the hub; what went before that went at the latest then.
	blind time.Time
}

// round untargets the cluster while its agent is away, has it come back, and measures from then.
func (a *away) round(ctx context.Context, come func(context.Context) (comeback, error), workloads, deployments *figures.Samples) error {
	if err := a.parts.Kill(ctx, leftAgent); err != nil {
		return err
	}
	if err := a.target(ctx, only("downstream-1")); err != nil {
		return err
	}
	for _, name := range a.workloads {
		if _, err := a.log.await(ctx, deploymentOf(name, left), "removing"); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	back, err := come(ctx)
	if err != nil {
		return err
	}
	last, err := a.last(ctx, a.log, func(name string) string { return workloadOn(left, name) })
	if err != nil {
		return err
	}
	workloads.Add(last.Sub(back.start))
	if last, err = a.last(ctx, back.log, func(name string) string { return deploymentOf(name, left) }); err != nil {
		return err
	}
	if last.Before(back.blind) {
		last = back.blind
	}
	deployments.Add(last.Sub(back.start))
	if err := a.target(ctx, everywhere()); err != nil {
		return err
	}
	return a.everywhere(ctx)
}

// last returns when the last of one thing per bundle went.
func (a *away) last(ctx context.Context, log *timeline, of func(name string) string) (last time.Time, err error) {
	for _, name := range a.workloads {
		at, err := log.await(ctx, of(name), "gone", "")
		if err != nil {
			return last, err
		}
		if at.After(last) {
			last = at
		}
	}
	return last, nil
}

// startAgent starts the agent while the hub is there.
func (a *away) startAgent(ctx context.Context) (comeback, error) {
	start := time.Now()
	return comeback{start: start, log: a.log}, a.parts.Start(ctx, leftAgent)
}

// startAgentBeforeHub starts the agent while the hub is away, then the hub.
func (a *away) startAgentBeforeHub(ctx context.Context) (comeback, error) {
	if err := a.parts.Stop(ctx, hubsServer); err != nil {
		return comeback{}, err
	}
	if err := a.parts.Start(ctx, leftAgent); err != nil {
		return comeback{}, err
	}
	if err := a.parts.Start(ctx, hubsServer); err != nil {
		return comeback{}, err
	}
	back := comeback{start: time.Now(), log: newTimeline()}
	// A watch of its own: those that were open when the hub went take their time to come back.
	conn, err := a.connect("hub")
	if err != nil {
		return back, err
	}
	watchDeployments(kube.NewHub(conn), back.log)
	err = conn.Start(ctx)
	back.blind = time.Now()
	return back, err
}
