package playground

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
)

// quietPolling keeps polls out of what an edit takes.
const quietPolling = time.Hour

// Edit takes downstream-2 out of a GitRepo's targets, again and again.
func Edit(ctx context.Context, s Settings) (*figures.Report, error) {
	return s.run(ctx, measureEdit)
}

// Commit pushes a commit, again and again.
func Commit(ctx context.Context, s Settings) (*figures.Report, error) {
	return s.run(ctx, measureCommit)
}

func measureEdit(ctx context.Context, w *world) (*figures.Report, error) {
	if err := w.deploy(ctx, quietPolling); err != nil {
		return nil, err
	}
	var workload, deployment, bundle, gitrepo, back figures.Samples
	for range w.Rounds {
		start := time.Now()
		if err := w.target(ctx, only("downstream-1")); err != nil {
			return nil, err
		}
		if err := w.after(ctx, start, map[string]measure{
			workloadOn("downstream-2", configMap): {&workload, "gone"},
			deploymentOf("", "downstream-2"):      {&deployment, "gone"},
			"bundle":                              {&bundle, "1/1"},
			"gitrepo":                             {&gitrepo, "1/1"},
		}); err != nil {
			return nil, err
		}
		start = time.Now()
		if err := w.target(ctx, everywhere()); err != nil {
			return nil, err
		}
		if err := w.after(ctx, start, map[string]measure{"gitrepo": {&back, "2/2"}}); err != nil {
			return nil, err
		}
	}
	report := &figures.Report{}
	for _, m := range []figures.Measure{
		figures.Of("edit → workload gone", workload, figures.Milliseconds),
		figures.Of("edit → deployment gone", deployment, figures.Milliseconds),
		figures.Of("edit → bundle says 1/1", bundle, figures.Milliseconds),
		figures.Of("edit → gitrepo says 1/1", gitrepo, figures.Milliseconds),
	} {
		m.Target = "< 150 ms"
		report.Add(m)
	}
	report.Add(figures.Of("edit → workload back, ready", back, figures.Milliseconds))
	return report, nil
}

func measureCommit(ctx context.Context, w *world) (*figures.Report, error) {
	if err := w.deploy(ctx, w.Polling); err != nil {
		return nil, err
	}
	hook, err := w.openWebhook(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = hook.close(context.WithoutCancel(ctx)) }()
	var seen, first, second figures.Samples
	for i := range w.Rounds {
		round := strconv.Itoa(i + 1)
		start := time.Now()
		commit, err := w.push(ctx, round)
		if err == nil {
			err = hook.announce(ctx, commit)
		}
		if err != nil {
			return nil, err
		}
		if err := w.after(ctx, start, map[string]measure{
			workloadOn("downstream-1", configMap): {&first, round},
			workloadOn("downstream-2", configMap): {&second, round},
			"commit":                              {&seen, commit},
		}); err != nil {
			return nil, err
		}
	}
	report := &figures.Report{}
	target := "interval + 1 s"
	if w.Webhook {
		target = "< 1 s"
		report.Fact("webhook", "each push is delivered once it is there; unsigned and forged deliveries were refused; nothing is polled")
	} else {
		report.Fact("pollingInterval", fmt.Sprintf("%s (it is part of every figure, half of it on average)", w.Polling))
	}
	for _, m := range []figures.Measure{
		figures.Of("push → commit in status", seen, figures.Milliseconds),
		figures.Of("push → workload downstream-1", first, figures.Milliseconds),
		figures.Of("push → workload downstream-2", second, figures.Milliseconds),
	} {
		m.Target = target
		report.Add(m)
	}
	return report, nil
}

// measure is the state that is waited for, and where its time goes.
type measure struct {
	into  *figures.Samples
	state string
}

// after waits for the states and notes how long after start each came.
func (w *world) after(ctx context.Context, start time.Time, measures map[string]measure) error {
	for what, m := range measures {
		at, err := w.log.await(ctx, what, m.state)
		if err != nil {
			return err
		}
		m.into.Add(max(at.Sub(start), 0))
	}
	return nil
}

// deploy brings the workload to both clusters.
func (w *world) deploy(ctx context.Context, polling time.Duration) error {
	if _, err := w.push(ctx, "0"); err != nil {
		return err
	}
	if err := w.create(ctx, polling); err != nil {
		return err
	}
	_, err := w.log.await(ctx, "gitrepo", "2/2")
	return err
}
