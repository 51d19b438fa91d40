package apiserver

import (
	"context"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
)

const (
	// quietFor is how long nothing may happen until all counts as quiet: longer than a window of the roll-up, and longer than
	// a first retry.
	quietFor  = 2 * time.Second
	quietPoll = 200 * time.Millisecond
)

// Activity is a state of what is watched: all rests while that stays the same.
type Activity struct {
	Writes     counters.Requests
	Reconciles int
}

func (a Activity) equal(b Activity) bool {
	return a.Reconciles == b.Reconciles && a.Writes.Equal(b.Writes)
}

// AwaitQuiet returns when look has given the same for a while, and when that began, as far as polling can tell. Leases and Events,
// which are written also while all rests, are to be left out of it. It shows how many writes there were so far.
func AwaitQuiet(ctx context.Context, look func(context.Context) (Activity, error), show func(writes int)) (time.Time, error) {
	ticker := time.NewTicker(quietPoll)
	defer ticker.Stop()
	var last Activity
	var since time.Time
	for {
		asked := time.Now()
		now, err := look(ctx)
		if err != nil {
			return time.Time{}, err
		}
		if since.IsZero() || !now.equal(last) {
			last, since = now, asked
			show(now.Writes.Total())
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
