// Package measures finds out what the hub can do: how fast deployments fan out and go again, beside what its API server can do at all, how
// the time of an edit grows with the fleet, what a restart and idling cost, and how much memory deployments take.
//
// Clusters are simulated: each is a Cluster on the hub, for which the manager makes what it makes for any other. Nobody plays
// their agents, unless a measure is about them. What each figure means stands in dev/bench/README.md.
package measures

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/bench/hub"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Settings of a run.
type Settings struct {
	// Clusters and Bundles: every bundle is deployed to every cluster.
	Clusters, Bundles int
	// Sizes are the fleets that Edit compares, in rising order.
	Sizes []int
	// Rounds is how often an edit is made, and how often the API server's ceiling is taken with each number of workers.
	Rounds int
	// Agents plays the agents of the clusters that Edit measures.
	Agents bool
	// IdleFor is how long Idle looks on.
	IdleFor time.Duration
	// ProfileDir takes profiles of the manager and the API server; empty takes none.
	ProfileDir string
	// ProfileFor is how long the CPU profile of each phase is.
	ProfileFor time.Duration
	// ManagerArgs are added to the manager's flags.
	ManagerArgs []string
	// LogDir is where logs are kept; empty keeps them only after a failure.
	LogDir string
}

// Run is a run on a hub of its own.
type Run struct {
	Settings

	hub      *hub.Hub
	progress *progress.Printer
	report   *figures.Report
	profiles []*profile
	// fanned are the deployments of the fan-out, as they were created.
	fanned []*fleet.BundleDeployment
	// spent is, by measure, the processor time per deployment.
	spent map[string]hub.Spent
}

// Measure starts a hub, has it measured, and takes it away again, also after an interrupt.
func Measure(ctx context.Context, settings Settings, show *progress.Printer, measure func(*Run, context.Context) error) (*figures.Report, error) {
	h, err := hub.Start(ctx, hub.Options{Progress: show, ManagerArgs: settings.ManagerArgs, LogDir: settings.LogDir})
	if err != nil {
		return nil, err
	}
	r := &Run{Settings: settings, hub: h, progress: show, report: &figures.Report{}, spent: map[string]hub.Spent{}}
	r.facts(ctx)
	err = measure(r, ctx)
	err = errors.Join(err, r.endProfiles())
	return r.report, errors.Join(err, h.Stop(err)) //nolint:contextcheck // also after an interrupt
}

// facts notes what every figure depends on.
func (r *Run) facts(ctx context.Context) {
	r.report.Fact("machine", fmt.Sprintf("%d CPUs, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()))
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.report.Fact("load before", strings.Join(strings.Fields(string(load))[:3], " "))
	}
	if commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		r.report.Fact("commit", strings.TrimSpace(string(commit)))
	}
}

// phase is a part of the run whose writes are counted.
type phase struct {
	name string
	// others is what everybody but the bench had asked for before, own what the bench had.
	others, own counters.Requests
	began       time.Time
}

// begin waits for quiet and starts a phase.
func (r *Run) begin(ctx context.Context, name string) (*phase, error) {
	if _, err := r.hub.AwaitQuiet(ctx); err != nil {
		return nil, err
	}
	others, err := r.hub.Requests(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.startProfile(ctx, name); err != nil {
		return nil, err
	}
	return &phase{name: name, others: others, own: r.hub.Own(), began: time.Now()}, nil
}

// end waits for quiet, and reports and returns the hub's writes since the phase began, per each of the objects that it was about.
// Those of agents that are played are the bench's own.
func (r *Run) end(ctx context.Context, p *phase, objects int, each string) (counters.Requests, error) {
	quiet, err := r.hub.AwaitQuiet(ctx)
	if err != nil {
		return nil, err
	}
	others, err := r.hub.Requests(ctx)
	if err != nil {
		return nil, err
	}
	requests := others.Minus(p.others)
	writes := requests.Writes()
	r.report.Add(figures.Measure{Name: p.name + ": until the hub is quiet", Value: quiet.Sub(p.began).Seconds(), Unit: figures.Seconds})
	r.count("writes of the hub: "+p.name, writes, objects, each)
	r.count("reads of the hub: "+p.name, requests.Reads(), objects, each)
	return writes, nil
}

// count reports counts of requests.
func (r *Run) count(name string, requests counters.Requests, objects int, each string) {
	counts := figures.Counts{Name: name, Objects: objects, Each: each}
	for _, request := range requests.Sorted() {
		counts.Counts = append(counts.Counts, figures.Count{Name: request.String(), Count: requests[request]})
	}
	r.report.Counts = append(r.report.Counts, counts)
}

// profile is a CPU profile that is being taken.
type profile struct {
	done chan error
}

// startProfile takes CPU profiles from now on, if that is asked for. It waits for the ones before: a process takes one at a time.
func (r *Run) startProfile(ctx context.Context, name string) error {
	if r.ProfileDir == "" {
		return nil
	}
	if err := r.endProfiles(); err != nil {
		return err
	}
	p := &profile{done: make(chan error, 1)}
	r.profiles = append(r.profiles, p)
	path := filepath.Join(r.ProfileDir, fileName(name))
	go func() { p.done <- r.hub.Profile(ctx, path, r.ProfileFor) }()
	return nil
}

// endProfiles returns when all profiles are written.
func (r *Run) endProfiles() error {
	var errs []error
	for _, p := range r.profiles {
		errs = append(errs, <-p.done)
	}
	r.profiles = nil
	return errors.Join(errs...)
}

// heapProfile writes a profile of the manager's memory, if that is asked for.
func (r *Run) heapProfile(ctx context.Context, name string) error {
	if r.ProfileDir == "" {
		return nil
	}
	return r.hub.HeapProfile(ctx, filepath.Join(r.ProfileDir, fileName(name)+".manager.heap.pprof"))
}

// fileName makes a name one of a file.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// startManager starts the manager.
func (r *Run) startManager(ctx context.Context) error {
	return r.progress.Do("manager", func(*progress.Task) (string, error) {
		_, err := r.hub.StartManager(ctx)
		return "", err
	})
}
