// Package releases measures what many small releases on one cluster cost the real agent and the two API servers that it talks to.
// There is no manager: the bench writes the deployments itself, so that everything it has not asked for is the agent's.
package releases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-gitops/flotilla/dev/bench/apiserver"
	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/bench/gauge"
	"github.com/flotilla-gitops/flotilla/dev/bench/program"
	"github.com/flotilla-gitops/flotilla/dev/bench/stream"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// Settings of a run.
type Settings struct {
	// Releases is how many there are.
	Releases int
	// IdleFor is how long idling is watched.
	IdleFor time.Duration
	// ProfileDir takes profiles of the agent and the API server downstream; empty takes none. ProfileFor is the length of each.
	ProfileDir string
	ProfileFor time.Duration
	// AgentArgs are added to the agent's flags.
	AgentArgs []string
	// LogDir is where logs are kept; empty keeps them only after a failure.
	LogDir string
}

// run is a run on control planes of its own.
type run struct {
	Settings
	world

	progress *progress.Printer
	report   *figures.Report
	profiles errgroup.Group
	// ready counts deployments that run what they are asked for, and are ready.
	ready *gauge.Gauge
}

// Measure starts two API servers and an agent, measures, and takes everything away again, also after an interrupt.
func Measure(ctx context.Context, settings Settings, show *progress.Printer) (*figures.Report, error) {
	r := &run{Settings: settings, progress: show, report: &figures.Report{}}
	err := r.progress.Do("hub and cluster", func(*progress.Task) (string, error) { return "", r.start(ctx, settings) })
	if err == nil {
		r.facts(ctx)
		err = r.measure(ctx)
	}
	err = errors.Join(err, r.profiles.Wait())
	logs, stopErr := r.stop(err) //nolint:contextcheck // also after an interrupt
	if logs != "" {
		show.Println("Logs are in " + logs)
	}
	return r.report, errors.Join(err, stopErr)
}

func (r *run) facts(ctx context.Context) {
	r.report.Fact("machine", fmt.Sprintf("%d CPUs, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()))
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.report.Fact("load before", strings.Join(strings.Fields(string(load))[:3], " "))
	}
	if commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		r.report.Fact("commit", strings.TrimSpace(string(commit)))
	}
	r.report.Fact("releases", fmt.Sprintf("%d, of two objects each, in %d namespaces", r.Releases, targets))
}

func (r *run) measure(ctx context.Context) error {
	if _, err := r.startAgent(ctx); err != nil {
		return err
	}
	r.ready = r.countReady(ctx)
	defer r.ready.Close()
	before, err := r.resting(ctx)
	if err != nil {
		return err
	}
	if err := r.deploy(ctx, "new", "1"); err != nil {
		return err
	}
	after, err := r.resting(ctx)
	if err != nil {
		return err
	}
	r.memory(before, after)
	for _, measure := range []func(context.Context) error{
		r.idle, r.restart,
		func(ctx context.Context) error { return r.deploy(ctx, "change", "2") },
	} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) memory(before, after program.Usage) {
	bytes := func(name string, value float64) figures.Measure {
		return figures.Measure{Name: "memory: " + name, Value: value, Unit: figures.Bytes}
	}
	r.report.Add(
		bytes("live heap without releases", before.Heap),
		bytes(fmt.Sprintf("live heap with %d", r.Releases), after.Heap),
		bytes("live heap per release", (after.Heap-before.Heap)/float64(max(r.Releases, 1))),
		bytes("resident without releases", before.Resident),
		bytes(fmt.Sprintf("resident with %d", r.Releases), after.Resident),
		bytes("resident at its peak", after.Peak),
		figures.Measure{Name: "goroutines without releases", Value: before.Goroutines},
		figures.Measure{Name: fmt.Sprintf("goroutines with %d", r.Releases), Value: after.Goroutines},
	)
}

// deploy has every release made, or made anew, and waits until all are ready.
func (r *run) deploy(ctx context.Context, phase, round string) error {
	specs := make([]fleet.BundleDeploymentSpec, r.Releases)
	if err := r.each(ctx, func(ctx context.Context, i int) error {
		made, err := content(i, round)
		if err != nil {
			return err
		}
		if _, err := r.objects.Contents.Create(ctx, made); err != nil {
			return fmt.Errorf("creating content: %w", err)
		}
		specs[i], err = spec(i, made)
		return err
	}); err != nil {
		return err
	}
	p, err := r.begin(ctx, phase)
	if err != nil {
		return err
	}
	var last time.Time
	err = r.progress.Do(phase, func(task *progress.Task) (_ string, err error) {
		if err := r.each(ctx, func(ctx context.Context, i int) error { return r.ask(ctx, i, specs[i]) }); err != nil {
			return "", fmt.Errorf("writing deployments: %w", err)
		}
		// All were asked for something new before this, so none of those that count was ready with what it had.
		last, err = r.ready.Await(ctx, r.Releases, task.Update)
		return "", err
	})
	if err != nil {
		return err
	}
	took := last.Sub(p.began)
	r.report.Add(
		figures.Measure{Name: fmt.Sprintf("%s: all %d ready", phase, r.Releases), Value: took.Seconds(), Unit: figures.Seconds},
		figures.Measure{Name: phase + ": releases", Value: figures.Rate(r.Releases, took), Unit: figures.PerSecond},
	)
	return r.end(ctx, p)
}

// ask writes the i-th deployment.
func (r *run) ask(ctx context.Context, i int, spec fleet.BundleDeploymentSpec) error {
	before, err := r.objects.BundleDeployments.Get(ctx, namespace(), name(i))
	if err != nil {
		_, err = r.objects.BundleDeployments.Create(ctx, deployment(i, spec))
		return err
	}
	after := before.DeepCopy()
	after.Spec = spec
	_, err = r.objects.BundleDeployments.Patch(ctx, before, after)
	return err
}

// countReady counts the deployments that the hub would say are ready.
func (r *run) countReady(ctx context.Context) *gauge.Gauge {
	ready := map[string]bool{}
	resource := fleet.SchemeGroupVersion.WithResource("bundledeployments")
	return gauge.Follow(ctx, r.hub.REST(), resource, func(g *gauge.Gauge, e stream.Event) {
		var bd fleet.BundleDeployment
		if err := json.Unmarshal(e.Object, &bd); err != nil {
			g.Fail(fmt.Errorf("decoding deployment: %w", err))
			return
		}
		is := e.Type != stream.Deleted && status.DeploymentState(&bd) == fleet.Ready
		switch was := ready[bd.Name]; {
		case is && !was:
			g.Add(1)
		case was && !is:
			g.Add(-1)
		}
		ready[bd.Name] = is
	})
}

func (r *run) each(ctx context.Context, do func(ctx context.Context, i int) error) error {
	return apiserver.Each(ctx, apiserver.AtOnce, r.Releases, do)
}

func (r *run) startAgent(ctx context.Context) (synced time.Duration, err error) {
	err = r.progress.Do("agent", func(*progress.Task) (_ string, err error) {
		synced, err = r.agent.Start(ctx)
		return "", err
	})
	return synced, err
}

// profile takes profiles from now on, if that is asked for. One of the phase before is waited for.
func (r *run) profile(ctx context.Context, phase string) error {
	if r.ProfileDir == "" {
		return nil
	}
	if err := r.profiles.Wait(); err != nil {
		return err
	}
	path := filepath.Join(r.ProfileDir, strings.ReplaceAll(phase, " ", "-"))
	var both sync.WaitGroup
	r.profiles.Go(func() (err error) {
		both.Go(func() { err = r.downstream.Profile(ctx, path+".apiserver.cpu.pprof", r.ProfileFor) })
		agentErr := r.agent.Profile(ctx, path+".agent.cpu.pprof", r.ProfileFor)
		both.Wait()
		return errors.Join(err, agentErr)
	})
	return nil
}
