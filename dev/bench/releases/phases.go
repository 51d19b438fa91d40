package releases

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/apiserver"
	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/bench/program"
	"github.com/flotilla-gitops/flotilla/dev/progress"
)

// quietPatience is how long it may take to become quiet.
const quietPatience = 10 * time.Minute

// count is what both API servers have been asked for so far.
type count struct {
	hub, downstream counters.Requests
	// discoveries are requests about no resource, to the API server downstream.
	discoveries int
}

func (c count) minus(other count) count {
	return count{c.hub.Minus(other.hub), c.downstream.Minus(other.downstream), c.discoveries - other.discoveries}
}

func (r *run) count(ctx context.Context) (c count, err error) {
	if c.hub, err = r.hub.Requests(ctx); err != nil {
		return c, err
	}
	if c.downstream, err = r.downstream.Requests(ctx); err != nil {
		return c, err
	}
	c.discoveries, err = r.downstream.Discoveries(ctx)
	return c, err
}

// quiet returns when neither API server is written to any more, and the agent, if it runs, has looked after no deployment.
func (r *run) quiet(ctx context.Context) (since time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, quietPatience)
	defer cancel()
	err = r.progress.Do("quiet", func(task *progress.Task) (_ string, err error) {
		since, err = apiserver.AwaitQuiet(ctx, r.activity, func(writes int) { task.Update(fmt.Sprintf("%d writes so far", writes)) })
		return "", err
	})
	return since, err
}

func (r *run) activity(ctx context.Context) (apiserver.Activity, error) {
	now := apiserver.Activity{Writes: counters.Requests{}}
	for place, server := range map[string]*apiserver.Server{"hub": r.hub, "downstream": r.downstream} {
		all, err := server.AllRequests(ctx)
		if err != nil {
			return now, err
		}
		for request, n := range all.Writes() {
			request.Resource = place + "/" + request.Resource
			now.Writes[request] = n
		}
	}
	pid, err := r.agent.PID()
	if err != nil || pid == 0 {
		return now, err
	}
	reconciles, err := r.agent.Metric(ctx, "flotilla_agent_reconcile_duration_seconds_count")
	now.Reconciles = int(reconciles)
	return now, err
}

// resting returns what the agent takes once all is quiet.
func (r *run) resting(ctx context.Context) (program.Usage, error) {
	if _, err := r.quiet(ctx); err != nil {
		return program.Usage{}, err
	}
	return r.agent.Usage(ctx)
}

// phase is a part of the run whose requests are counted.
type phase struct {
	name   string
	began  time.Time
	before count
	cpu    float64
}

// begin waits for quiet and starts a phase.
func (r *run) begin(ctx context.Context, name string) (*phase, error) {
	usage, err := r.resting(ctx)
	if err != nil {
		return nil, err
	}
	before, err := r.count(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.profile(ctx, name); err != nil {
		return nil, err
	}
	return &phase{name: name, began: time.Now(), before: before, cpu: usage.CPU}, nil
}

// soFar returns what was asked for, and what the agent has spent, until now.
func (r *run) soFar(ctx context.Context) (count, program.Usage, error) {
	requests, err := r.count(ctx)
	if err != nil {
		return count{}, program.Usage{}, err
	}
	usage, err := r.agent.Usage(ctx)
	return requests, usage, err
}

// end waits for quiet and reports what the agent has done since the phase began.
func (r *run) end(ctx context.Context, p *phase) error {
	quiet, err := r.quiet(ctx)
	if err != nil {
		return err
	}
	after, usage, err := r.soFar(ctx)
	if err != nil {
		return err
	}
	r.report.Add(
		figures.Measure{Name: p.name + ": until all is quiet", Value: quiet.Sub(p.began).Seconds(), Unit: figures.Seconds},
		figures.Measure{
			Name: p.name + ": agent's processor time per release", Unit: figures.Milliseconds,
			Value: 1000 * (usage.CPU - p.cpu) / float64(max(r.Releases, 1)),
		},
	)
	r.requests(p.name, after.minus(p.before))
	if r.ProfileDir == "" {
		return nil
	}
	return r.agent.HeapProfile(ctx, filepath.Join(r.ProfileDir, p.name+".agent.heap.pprof"))
}

// requests reports what was asked for.
func (r *run) requests(phase string, c count) {
	r.list(phase+": requests to the hub", c.hub, 0)
	r.list(phase+": requests downstream", c.downstream, c.discoveries)
}

func (r *run) list(name string, requests counters.Requests, discoveries int) {
	counts := figures.Counts{Name: name, Objects: r.Releases, Each: "release"}
	for _, request := range requests.Sorted() {
		counts.Counts = append(counts.Counts, figures.Count{Name: request.String(), Count: requests[request]})
	}
	if discoveries > 0 {
		counts.Counts = append(counts.Counts, figures.Count{Name: "discovery", Count: discoveries})
	}
	r.report.Counts = append(r.report.Counts, counts)
}

// idle watches the agent while nothing changes.
func (r *run) idle(ctx context.Context) error {
	p, err := r.begin(ctx, "idle")
	if err != nil {
		return err
	}
	if err := r.progress.Watch(ctx, "idle", r.IdleFor); err != nil {
		return err
	}
	after, usage, err := r.soFar(ctx)
	if err != nil {
		return err
	}
	took := time.Since(p.began)
	since := after.minus(p.before)
	r.report.Add(
		figures.Measure{Name: "idle: agent's processor time, % of one CPU", Value: 100 * (usage.CPU - p.cpu) / took.Seconds()},
		figures.Measure{
			Name: "idle: requests to both, API servers' own included", Unit: figures.PerMinute, Target: "heartbeats only",
			Value: float64(since.hub.Total()+since.downstream.Total()+max(since.discoveries, 0)) / took.Minutes(),
		},
	)
	r.list("idle: requests to the hub", since.hub, 0)
	r.list("idle: requests downstream", since.downstream, since.discoveries)
	return nil
}

// restart stops the agent and starts it again, with nothing changed meanwhile.
func (r *run) restart(ctx context.Context) error {
	if err := r.agent.Stop(ctx); err != nil {
		return err
	}
	if _, err := r.quiet(ctx); err != nil {
		return err
	}
	before, err := r.count(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	synced, err := r.startAgent(ctx)
	if err != nil {
		return err
	}
	if err := r.profile(ctx, "restart"); err != nil {
		return err
	}
	quiet, err := r.quiet(ctx)
	if err != nil {
		return err
	}
	after, usage, err := r.soFar(ctx)
	if err != nil {
		return err
	}
	since := after.minus(before)
	writes := 0
	for request, n := range since.hub.Writes() {
		// The heartbeat says in the Cluster's status that the agent is back.
		if request.Resource != "clusters" && request.Resource != "clusters/status" {
			writes += n
		}
	}
	r.report.Add(
		figures.Measure{Name: "restart: synced", Value: synced.Seconds(), Unit: figures.Seconds},
		figures.Measure{Name: "restart: all looked at", Value: quiet.Sub(began).Seconds(), Unit: figures.Seconds},
		figures.Measure{Name: "restart: writes but for the heartbeat", Value: float64(writes + since.downstream.Writes().Total()), Target: "0"},
		figures.Measure{Name: "restart: processor time", Value: usage.CPU, Unit: figures.Seconds},
		figures.Measure{Name: "restart: resident at its peak", Value: usage.Peak, Unit: figures.Bytes},
	)
	r.requests("restart", since)
	return nil
}
