package playground

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/dev/installation"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// The cluster whose agent is away, and the parts that are killed and started.
const (
	left        = "downstream-2"
	leftAgent   = "agent/" + left
	hubsServer  = "apiserver/" + installation.HubName
	awayPattern = "away-%03d"
	// answerPoll is how often the hub is asked whether it answers, and answerWait how long it may take: clients try again by
	// themselves, which takes a second each time.
	answerPoll = 10 * time.Millisecond
	answerWait = 200 * time.Millisecond
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
	inTime, err := a.rounds(ctx, "agent away", a.startAgent)
	if err != nil {
		return report, err
	}
	late, err := a.rounds(ctx, "agent and hub away", a.startAgentBeforeHub)
	if err != nil {
		return report, err
	}
	for _, m := range []figures.Measure{
		figures.Of("agent started → all workloads gone", inTime.workloads, figures.Milliseconds),
		figures.Of("agent started → all deployments gone", inTime.deployments, figures.Milliseconds),
		figures.Of("hub back → all workloads gone", late.workloads, figures.Milliseconds),
		figures.Of("hub back → all deployments gone", late.deployments, figures.Milliseconds),
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
	return a.Progress.Do(fmt.Sprintf("%d bundles", a.Bundles), func(*progress.Task) (string, error) {
		if err := a.create(ctx, quietPolling); err != nil {
			return "", err
		}
		return "", a.ready(ctx)
	})
}

// ready waits until all bundles are ready on both clusters. It asks for every deployment, in the order of their going and
// coming: what the GitRepo says may be what it said before.
func (a *away) ready(ctx context.Context) error {
	for _, name := range a.workloads {
		for _, cluster := range downstream() {
			if _, err := a.log.await(ctx, workloadOn(cluster, name), "0"); err != nil {
				return err
			}
		}
	}
	for _, name := range a.workloads {
		if _, err := a.log.await(ctx, "state/"+names.Bundle(repoName, name)+"/"+left, string(fleet.Ready)); err != nil {
			return err
		}
	}
	return nil
}

// comeback is the return of who was away: when it was, and who has an eye on the hub's deployments since.
type comeback struct {
	start time.Time
	log   *timeline
	// blind is until when nothing was seen of the hub; what went before that went at the latest then.
	blind time.Time
}

// goings are how long it took until all was gone, each round.
type goings struct{ workloads, deployments figures.Samples }

// rounds does as many rounds as were asked for.
func (a *away) rounds(ctx context.Context, name string, come func(context.Context) (comeback, error)) (took goings, err error) {
	err = a.Progress.Do(name, func(task *progress.Task) (string, error) {
		for i := range a.Rounds {
			task.Update(fmt.Sprintf("%d of %d rounds", i, a.Rounds))
			if err := a.round(ctx, come, &took); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("%d rounds", a.Rounds), nil
	})
	return took, err
}

// round untargets the cluster while its agent is away, has it come back, and measures from then.
func (a *away) round(ctx context.Context, come func(context.Context) (comeback, error), took *goings) error {
	if err := a.parts.Kill(ctx, leftAgent); err != nil {
		return err
	}
	edited := time.Now()
	if err := a.target(ctx, only("downstream-1")); err != nil {
		return err
	}
	for _, name := range a.workloads {
		if _, err := a.log.awaitSince(ctx, edited, deploymentOf(name, left), "removing"); err != nil {
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
	took.workloads.Add(last.Sub(back.start))
	if last, err = a.last(ctx, back.log, func(name string) string { return deploymentOf(name, left) }); err != nil {
		return err
	}
	if last.Before(back.blind) {
		last = back.blind
	}
	took.deployments.Add(last.Sub(back.start))
	if err := a.target(ctx, everywhere()); err != nil {
		return err
	}
	return a.ready(ctx)
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
	starting := make(chan error, 1)
	go func() { starting <- a.parts.Start(ctx, hubsServer) }()
	// It answers before it says that it is ready: agents do not wait for that either.
	back := comeback{log: newTimeline()}
	var err error
	back.start, err = a.answers(ctx)
	if err = errors.Join(err, <-starting); err != nil {
		return comeback{}, err
	}
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

// answers returns when the hub answers a question about the GitRepo.
func (a *away) answers(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(answerPoll)
	defer ticker.Stop()
	for {
		asked := time.Now()
		attempt, cancel := context.WithTimeout(ctx, answerWait)
		_, err := a.hub.GitRepos.Get(attempt, workspace, repoName)
		cancel()
		if err == nil {
			return asked, nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("waiting for the hub to answer: %w", err)
		case <-ticker.C:
		}
	}
}
