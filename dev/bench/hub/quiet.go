package hub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/process"
)

const (
	// quietFor is how long nothing may happen until the hub counts as quiet: longer than a window of the roll-up, and
	// longer than a first retry.
	quietFor  = 2 * time.Second
	quietPoll = 200 * time.Millisecond
	// quietPatience is how long it may take to become quiet.
	quietPatience = 15 * time.Minute
)

// Requests returns what everybody but the bench has asked the API server for since it started.
func (h *Hub) Requests(ctx context.Context) (counters.Requests, error) {
	all, err := h.allRequests(ctx)
	if err != nil {
		return nil, err
	}
	return all.Minus(h.own.Count()), nil
}

// Own returns what the bench, with the agents that it plays, has asked for.
func (h *Hub) Own() counters.Requests { return h.own.Count() }

func (h *Hub) allRequests(ctx context.Context) (counters.Requests, error) {
	metrics, err := h.metrics(ctx)
	if err != nil {
		return nil, err
	}
	return counters.ParseRequests(metrics)
}

// metrics returns what the API server tells of itself.
func (h *Hub) metrics(ctx context.Context) ([]byte, error) {
	metrics, err := h.REST().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	return metrics, nil
}

// activity is a state of the hub: it rests while that stays the same.
type activity struct {
	writes     counters.Requests
	reconciles int
}

func (a activity) equal(b activity) bool {
	return a.reconciles == b.reconciles && a.writes.Equal(b.writes)
}

// AwaitQuiet returns when nobody has written anything for a while, and the manager, if it runs, has reconciled nothing. It returns
// when that began, as far as polling can tell.
func (h *Hub) AwaitQuiet(ctx context.Context) (since time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, quietPatience)
	defer cancel()
	task := h.progress.Start("quiet")
	since, err = h.awaitQuiet(ctx, func(writes int) { task.Update(fmt.Sprintf("%d writes so far", writes)) })
	if err != nil {
		task.Fail("")
		return time.Time{}, fmt.Errorf("waiting for the hub to be quiet: %w", err)
	}
	task.Done("")
	return since, nil
}

func (h *Hub) awaitQuiet(ctx context.Context, show func(writes int)) (time.Time, error) {
	ticker := time.NewTicker(quietPoll)
	defer ticker.Stop()
	var last activity
	var since time.Time
	for {
		asked := time.Now()
		now, err := h.activity(ctx)
		if err != nil {
			return time.Time{}, err
		}
		if since.IsZero() || !now.equal(last) {
			last, since = now, asked
			show(now.writes.Total())
		} else if time.Since(since) >= quietFor {
			return since, nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-ticker.C:
		}
	}
}

func (h *Hub) activity(ctx context.Context) (activity, error) {
	all, err := h.allRequests(ctx)
	if err != nil {
		return activity{}, err
	}
	now := activity{writes: all.Writes()}
	if _, err := h.manager(); errors.Is(err, process.ErrNotRunning) {
		return now, nil
	}
	now.reconciles, err = h.Reconciles(ctx)
	return now, err
}
