package hub

import (
	"context"
	"fmt"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/apiserver"
	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/progress"
)

// quietPatience is how long it may take to become quiet.
const quietPatience = 15 * time.Minute

// Requests returns what everybody but the bench has asked the API server for since it started.
func (h *Hub) Requests(ctx context.Context) (counters.Requests, error) { return h.server.Requests(ctx) }

// Own returns what the bench, with the agents that it plays, has asked for.
func (h *Hub) Own() counters.Requests { return h.server.Own() }

// AwaitQuiet returns when nobody has written anything for a while, and the manager, if it runs, has reconciled nothing. It returns
// when that began, as far as polling can tell.
func (h *Hub) AwaitQuiet(ctx context.Context) (since time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, quietPatience)
	defer cancel()
	err = h.progress.Do("quiet", func(task *progress.Task) (_ string, err error) {
		since, err = apiserver.AwaitQuiet(ctx, h.activity, func(writes int) { task.Update(fmt.Sprintf("%d writes so far", writes)) })
		return "", err
	})
	return since, err
}

func (h *Hub) activity(ctx context.Context) (apiserver.Activity, error) {
	all, err := h.server.AllRequests(ctx)
	if err != nil {
		return apiserver.Activity{}, err
	}
	now := apiserver.Activity{Writes: all.Writes()}
	pid, err := h.manager.PID()
	if err != nil || pid == 0 {
		return now, err
	}
	now.Reconciles, err = h.Reconciles(ctx)
	return now, err
}
