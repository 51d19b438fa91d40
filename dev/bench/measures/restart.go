package measures

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/bench/program"
	"github.com/flotilla-gitops/flotilla/dev/progress"
)

// Restart measures what deployments cost the manager in memory, and what a restart costs when nothing has changed.
func (r *Run) Restart(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.fanoutWithMemory(ctx); err != nil {
		return err
	}
	return r.restart(ctx)
}

// Idle measures what the manager asks the API server for when nothing changes.
func (r *Run) Idle(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.fanout(ctx); err != nil {
		return err
	}
	return r.idle(ctx)
}

// Everything measures all that one fleet can show: fan-out, memory, restart, idling, untarget.
func (r *Run) Everything(ctx context.Context) error {
	for _, measure := range []func(context.Context) error{
		r.prepare, r.fanoutWithMemory, r.restart, r.idle, r.afterIdle, r.untarget, r.ceiling,
	} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// afterIdle starts the manager again that idle has stopped.
func (r *Run) afterIdle(ctx context.Context) error { return r.startManager(ctx) }

// fanoutWithMemory is fanout with the manager's memory before and after it.
func (r *Run) fanoutWithMemory(ctx context.Context) error {
	before, err := r.restingUsage(ctx)
	if err != nil {
		return err
	}
	if err := r.fanout(ctx); err != nil {
		return err
	}
	after, err := r.restingUsage(ctx)
	if err != nil {
		return err
	}
	n := len(r.fanned)
	r.report.Add(
		figures.Measure{Name: "memory: live heap without deployments", Value: before.Heap, Unit: figures.Bytes},
		figures.Measure{Name: fmt.Sprintf("memory: live heap with %d", n), Value: after.Heap, Unit: figures.Bytes},
		figures.Measure{Name: "memory: live heap per deployment", Value: per(after.Heap-before.Heap, n), Unit: figures.Bytes, Target: "≤ 5 KiB"},
		figures.Measure{Name: "memory: resident without deployments", Value: before.Resident, Unit: figures.Bytes},
		figures.Measure{Name: fmt.Sprintf("memory: resident with %d", n), Value: after.Resident, Unit: figures.Bytes},
		figures.Measure{Name: "memory: resident at its peak", Value: after.Peak, Unit: figures.Bytes},
	)
	return r.heapProfile(ctx, "fan-out")
}

// restingUsage returns what the manager takes once the hub is quiet.
func (r *Run) restingUsage(ctx context.Context) (program.Usage, error) {
	if _, err := r.hub.AwaitQuiet(ctx); err != nil {
		return program.Usage{}, err
	}
	return r.hub.Usage(ctx)
}

func per(total float64, n int) float64 { return total / float64(max(n, 1)) }

// restart stops the manager and starts it again, with nothing changed meanwhile.
func (r *Run) restart(ctx context.Context) error {
	if err := r.hub.StopManager(ctx); err != nil {
		return err
	}
	// Not a phase: there is no profile before the manager answers.
	if _, err := r.hub.AwaitQuiet(ctx); err != nil {
		return err
	}
	before, err := r.hub.Requests(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	var synced time.Duration
	err = r.progress.Do("restart", func(*progress.Task) (_ string, err error) {
		synced, err = r.hub.StartManager(ctx)
		return "", err
	})
	if err != nil {
		return err
	}
	quiet, err := r.hub.AwaitQuiet(ctx)
	if err != nil {
		return err
	}
	after, err := r.hub.Requests(ctx)
	if err != nil {
		return err
	}
	writes := after.Minus(before).Writes()
	if err := r.restarted(ctx, synced, quiet.Sub(began), writes); err != nil {
		return err
	}
	r.count("requests of the hub: restart", after.Minus(before), len(r.fanned), "deployment")
	return nil
}

// restarted reports what a restart came to.
func (r *Run) restarted(ctx context.Context, synced, quiet time.Duration, writes counters.Requests) error {
	usage, err := r.hub.Usage(ctx)
	if err != nil {
		return err
	}
	n := len(r.fanned)
	r.report.Add(
		figures.Measure{Name: fmt.Sprintf("restart with %d deployments: synced", n), Value: synced.Seconds(), Unit: figures.Seconds},
		figures.Measure{Name: "restart: quiet", Value: quiet.Seconds(), Unit: figures.Seconds, Target: "< 30 s with 30,000"},
		figures.Measure{Name: "restart: writes", Value: float64(writes.Total()), Target: "0"},
		figures.Measure{Name: "restart: processor time", Value: usage.CPU, Unit: figures.Seconds},
		figures.Measure{Name: "restart: live heap", Value: usage.Heap, Unit: figures.Bytes},
		figures.Measure{Name: "restart: resident", Value: usage.Resident, Unit: figures.Bytes},
		figures.Measure{Name: "restart: resident at its peak", Value: usage.Peak, Unit: figures.Bytes},
	)
	return r.heapProfile(ctx, "restart")
}

// idle counts requests while nothing changes, with the manager and then without it. What remains without it is that of
// Kubernetes' own parts. It leaves the manager stopped.
func (r *Run) idle(ctx context.Context) error {
	with, err := r.watchIdling(ctx, "idle, with the manager")
	if err != nil {
		return err
	}
	if err := r.hub.StopManager(ctx); err != nil {
		return err
	}
	without, err := r.watchIdling(ctx, "idle, without the manager")
	if err != nil {
		return err
	}
	of := with.Minus(without)
	// The API server itself renews one every ten seconds. The manager has none here, and no agent is there.
	maps.DeleteFunc(of, func(request counters.Request, _ int) bool { return request.Resource == "leases" })
	r.report.Add(figures.Measure{
		Name: "idle: requests of the manager", Value: float64(of.Total()) / r.IdleFor.Minutes(), Unit: figures.PerMinute, Target: "heartbeats only",
	})
	r.count(fmt.Sprintf("requests in %s: with the manager", r.IdleFor), with, 0, "")
	r.count(fmt.Sprintf("requests in %s: without it", r.IdleFor), without, 0, "")
	return nil
}

// watchIdling counts requests for a while after the hub has become quiet.
func (r *Run) watchIdling(ctx context.Context, name string) (counters.Requests, error) {
	if _, err := r.hub.AwaitQuiet(ctx); err != nil {
		return nil, err
	}
	before, err := r.hub.Requests(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.progress.Watch(ctx, name, r.IdleFor); err != nil {
		return nil, err
	}
	after, err := r.hub.Requests(ctx)
	if err != nil {
		return nil, err
	}
	return after.Minus(before), nil
}
