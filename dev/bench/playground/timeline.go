package playground

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// timeline remembers the state of things, and since when they are in it.
type timeline struct {
	mu      sync.Mutex
	states  map[string]moment
	changed chan struct{}
}

type moment struct {
	state string
	since time.Time
}

func newTimeline() *timeline {
	return &timeline{states: map[string]moment{}, changed: make(chan struct{})}
}

func (t *timeline) set(what, state string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.states[what].state == state {
		return
	}
	t.states[what] = moment{state, time.Now()}
	close(t.changed)
	t.changed = make(chan struct{})
}

// await returns since when the thing is in one of the states, waiting until it
// is. The empty one is that of a thing that was never seen.
func (t *timeline) await(ctx context.Context, what string, states ...string) (time.Time, error) {
	return t.awaitSince(ctx, time.Time{}, what, states...)
}

// awaitSince is await for states that the thing came to after an instant: one
// that it was in before, and left, is waited for anew.
func (t *timeline) awaitSince(ctx context.Context, since time.Time, what string, states ...string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		t.mu.Lock()
		now, changed := t.states[what], t.changed
		t.mu.Unlock()
		if slices.Contains(states, now.state) && !now.since.Before(since) {
			return now.since, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("waiting for %s to be one of %q, it is %q: %w", what, states, now.state, ctx.Err())
		}
	}
}
