package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// quietPolling keeps polls out of what an edit takes.
const quietPolling = time.Hour

// measureEdit takes downstream-2 out of the targets, again and again.
func measureEdit(ctx context.Context, w *world) error {
	if err := w.deploy(ctx, quietPolling); err != nil {
		return err
	}
	workload, deployment := &figures{name: "edit → workload gone"}, &figures{name: "edit → deployment gone"}
	bundle, gitrepo := &figures{name: "edit → bundle says 1/1"}, &figures{name: "edit → gitrepo says 1/1"}
	back := &figures{name: "edit → workload back, ready"}
	for range w.rounds {
		start := time.Now()
		if err := w.target(ctx, only("downstream-1")); err != nil {
			return err
		}
		if err := w.after(ctx, start, map[string]measure{
			"workload/downstream-2":   {workload, "gone"},
			"deployment/downstream-2": {deployment, "gone"},
			"bundle":                  {bundle, "1/1"},
			"gitrepo":                 {gitrepo, "1/1"},
		}); err != nil {
			return err
		}
		start = time.Now()
		if err := w.target(ctx, everywhere()); err != nil {
			return err
		}
		if err := w.after(ctx, start, map[string]measure{"gitrepo": {back, "2/2"}}); err != nil {
			return err
		}
	}
	report(w.out, []*figures{workload, deployment, bundle, gitrepo, back})
	return nil
}

// measureCommit pushes a commit, again and again.
func measureCommit(ctx context.Context, w *world) error {
	if err := w.deploy(ctx, w.polling); err != nil {
		return err
	}
	seen := &figures{name: "push → commit in status"}
	first, second := &figures{name: "push → workload downstream-1"}, &figures{name: "push → workload downstream-2"}
	for i := range w.rounds {
		round := strconv.Itoa(i + 1)
		start := time.Now()
		commit, err := w.push(ctx, round)
		if err != nil {
			return err
		}
		if err := w.after(ctx, start, map[string]measure{
			"workload/downstream-1": {first, round},
			"workload/downstream-2": {second, round},
			"commit":                {seen, commit},
		}); err != nil {
			return err
		}
	}
	fmt.Fprintf(w.out, "pollingInterval %s: it is part of every figure, half of it on average\n", w.polling)
	report(w.out, []*figures{seen, first, second})
	return nil
}

// measure is the state that is waited for, and where its time goes.
type measure struct {
	into  *figures
	state string
}

// after waits for the states and notes how long after start each came.
func (w *world) after(ctx context.Context, start time.Time, measures map[string]measure) error {
	for what, m := range measures {
		at, err := w.log.await(ctx, what, m.state)
		if err != nil {
			return err
		}
		m.into.add(max(at.Sub(start), 0))
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
