package measures

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/bench/agents"
	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/bench/gauge"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

const (
	// edited is the bundle that is edited: the first of those that are on all clusters.
	edited = "bench-00"
	// added is a bundle that comes and goes.
	added = "bench-new"
	// settled is for how long nothing may happen on the hub before the next edit.
	settled = 400 * time.Millisecond
)

// What is changed, and what is measured of it.
const (
	takenOutGone   = "targets edited, 10 clusters out → deployments gone"
	takenOutStatus = "targets edited, 10 clusters out → status right"
	putBackThere   = "targets edited, 10 clusters in → deployments there"
	putBackStatus  = "targets edited, 10 clusters in → status right"
	relabelGone    = "1 cluster relabelled → deployment gone"
	relabelStatus  = "1 cluster relabelled → status right"
	newThere       = "new bundle on 10 clusters → deployments there"
	newStatus      = "new bundle on 10 clusters → status right"
	deletedGone    = "bundle on 10 clusters deleted → deployments gone"
)

// Edit measures how long an edit that touches ten clusters takes in fleets of several sizes, with all bundles on all clusters.
func (r *Run) Edit(ctx context.Context) error {
	r.report.Fact("fleet", fmt.Sprintf("%v clusters × %d bundles, agents played: %t", r.Sizes, r.Bundles, r.Agents))
	if err := r.startManager(ctx); err != nil {
		return err
	}
	e := &editing{run: r, took: map[string]map[int]*figures.Samples{}}
	if r.Agents {
		e.agents = agents.New(r.hub.Hub)
	}
	return e.playing(ctx, func(ctx context.Context) error {
		from := 0
		for _, size := range r.Sizes {
			if err := e.grow(ctx, from, size); err != nil {
				return err
			}
			if err := e.measure(ctx, size); err != nil {
				return err
			}
			from = size
		}
		e.report()
		return nil
	})
}

// editing is a measurement of edits.
type editing struct {
	run *Run
	// agents are played if they are not nil.
	agents *agents.Agents
	// took holds the figures, by what was measured and the size of the fleet.
	took map[string]map[int]*figures.Samples
	// picture is the hub as it is seen while the fleet has one size.
	picture *picture
}

// playing plays the agents, if there are any, as long as do runs.
func (e *editing) playing(ctx context.Context, do func(context.Context) error) error {
	if e.agents == nil {
		return do(ctx)
	}
	return playing(ctx, e.agents, do)
}

// grow makes the fleet larger, with all bundles on all clusters.
func (e *editing) grow(ctx context.Context, from, to int) error {
	r := e.run
	if err := r.makeClusters(ctx, from, to); err != nil {
		return err
	}
	if e.agents != nil {
		if err := e.agents.Announce(ctx, clusterKeys(from, to)); err != nil {
			return err
		}
	}
	deployments := gauge.Follow(ctx, r.hub.REST(), fleet.SchemeGroupVersion.WithResource("bundledeployments"), count)
	defer deployments.Close()
	err := r.progress.Do(fmt.Sprintf("deployments on %d", to), func(task *progress.Task) (string, error) {
		if err := r.each(ctx, r.Bundles, func(ctx context.Context, i int) error {
			_, err := r.hub.Bundles.Create(ctx, bundle(bundleName(i), "1", e.targets(i)))
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		}); err != nil {
			return "", fmt.Errorf("creating bundles: %w", err)
		}
		_, err := deployments.Await(ctx, to*r.Bundles, task.Update)
		return "", err
	})
	if err != nil {
		return err
	}
	_, err = r.hub.AwaitQuiet(ctx)
	return err
}

// targets are those of the i-th bundle before it is edited. Only the edited one minds the label that a cluster gets.
func (e *editing) targets(i int) metav1.LabelSelector {
	if bundleName(i) == edited {
		return without(labelLeft)
	}
	return everywhere()
}

// measure makes every edit several times.
func (e *editing) measure(ctx context.Context, size int) error {
	e.picture = e.run.watch(ctx)
	defer e.picture.close()
	started := e.picture.expect(func(f *facts) bool {
		return len(f.clusters) == size && f.deployments[edited] == size && f.says(edited, size, e.ready(size))
	})
	if _, err := e.picture.when(ctx, started); err != nil {
		return err
	}
	if err := e.run.startProfile(ctx, fmt.Sprintf("edit at %d", size)); err != nil {
		return err
	}
	return e.run.progress.Do(fmt.Sprintf("edits at %d clusters", size), func(task *progress.Task) (string, error) {
		for round := range e.run.Rounds {
			task.Update(fmt.Sprintf("round %d of %d", round+1, e.run.Rounds))
			if err := e.round(ctx, size); err != nil {
				return "", err
			}
		}
		return "", nil
	})
}

// ready is how many deployments are ready of those that should be: all if agents are played, else none.
func (e *editing) ready(desired int) int {
	if e.agents == nil {
		return 0
	}
	return desired
}

// round makes every edit once and ends where it began.
func (e *editing) round(ctx context.Context, size int) error {
	target := func(selector metav1.LabelSelector) func(context.Context) error {
		return func(ctx context.Context) error { return e.run.retarget(ctx, edited, selector) }
	}
	for _, edit := range []edit{
		{
			do: target(without(labelLeft, labelTouched)), bundle: edited, deployments: size - touched,
			moved: takenOutGone, said: takenOutStatus,
		},
		{
			do: target(without(labelLeft)), bundle: edited, deployments: size,
			moved: putBackThere, said: putBackStatus,
		},
		{
			do: e.relabel(size-1, "true"), bundle: edited, deployments: size - 1, sameGeneration: true,
			moved: relabelGone, said: relabelStatus,
		},
		{do: e.relabel(size-1, ""), bundle: edited, deployments: size, sameGeneration: true},
		{
			do: func(ctx context.Context) error {
				_, err := e.run.hub.Bundles.Create(ctx, bundle(added, "1", labelled(labelTouched, "true")))
				return err
			},
			bundle: added, deployments: touched, moved: newThere, said: newStatus,
		},
		{do: e.remove, bundle: added, deployments: 0, moved: deletedGone, gone: true},
	} {
		if err := e.edit(ctx, size, edit); err != nil {
			return fmt.Errorf("editing until %s has %d deployments: %w", edit.bundle, edit.deployments, err)
		}
	}
	return nil
}

// edit is one change, and what should come of it.
type edit struct {
	do func(context.Context) error
	// bundle is what it concerns; deployments is how many it should have then.
	bundle      string
	deployments int
	// sameGeneration says that the bundle itself is not changed, gone that it goes.
	sameGeneration, gone bool
	// moved and said are what is measured: until the deployments are there or gone, and until the status says so. Empty is not
	// measured.
	moved, said string
}

// edit makes a change and measures how long what follows from it takes.
func (e *editing) edit(ctx context.Context, size int, c edit) error {
	if err := e.picture.settle(ctx, settled); err != nil {
		return err
	}
	generation := e.generationOf(c.bundle)
	if !c.sameGeneration {
		generation++
	}
	moved := e.picture.expect(func(f *facts) bool { return f.deployments[c.bundle] == c.deployments })
	said := e.picture.expect(func(f *facts) bool {
		if c.gone {
			return f.bundles[c.bundle] == nil
		}
		return f.generation(c.bundle, generation) && f.says(c.bundle, c.deployments, e.ready(c.deployments))
	})
	began := time.Now()
	if err := c.do(ctx); err != nil {
		return err
	}
	for name, await := range map[string]*await{c.moved: moved, c.said: said} {
		at, err := e.picture.when(ctx, await)
		if err != nil {
			return err
		}
		if name != "" {
			e.samples(name, size).Add(max(at.Sub(began), 0))
		}
	}
	return nil
}

// generationOf returns the generation of a bundle, 0 if there is none.
func (e *editing) generationOf(bundle string) int64 {
	e.picture.mu.Lock()
	defer e.picture.mu.Unlock()
	if b := e.picture.facts.bundles[bundle]; b != nil {
		return b.Generation
	}
	return 0
}

// relabel gives the i-th cluster the label that takes it out of the edited bundle's targets, or takes the label off.
func (e *editing) relabel(i int, value string) func(context.Context) error {
	return func(ctx context.Context) error {
		return untilNoConflict(func() error {
			before, err := e.run.hub.Clusters.Get(ctx, workspace, clusterName(i))
			if err != nil {
				return fmt.Errorf("relabelling cluster: %w", err)
			}
			after := before.DeepCopy()
			if value == "" {
				delete(after.Labels, labelLeft)
			} else {
				after.Labels[labelLeft] = value
			}
			if _, err := e.run.hub.Clusters.Patch(ctx, before, after); err != nil {
				return fmt.Errorf("relabelling cluster: %w", err)
			}
			return nil
		})
	}
}

// remove deletes the bundle that was added.
func (e *editing) remove(ctx context.Context) error {
	return untilNoConflict(func() error {
		b, err := e.run.hub.Bundles.Get(ctx, workspace, added)
		if err != nil {
			return fmt.Errorf("deleting bundle: %w", err)
		}
		return e.run.hub.Bundles.Delete(ctx, b)
	})
}

func (e *editing) samples(name string, size int) *figures.Samples {
	if e.took[name] == nil {
		e.took[name] = map[int]*figures.Samples{}
	}
	if e.took[name][size] == nil {
		e.took[name][size] = &figures.Samples{}
	}
	return e.took[name][size]
}

// report adds a measure per edit and size, and how much the largest fleet is slower than the smallest.
func (e *editing) report() {
	sizes := e.run.Sizes
	for _, name := range []string{
		takenOutGone, takenOutStatus, putBackThere, putBackStatus, relabelGone, relabelStatus, newThere, newStatus, deletedGone,
	} {
		for _, size := range sizes {
			e.run.report.Add(figures.Of(fmt.Sprintf("%s, fleet of %d", name, size), *e.samples(name, size), figures.Milliseconds))
		}
		if len(sizes) > 1 {
			first, last := e.samples(name, sizes[0]).Median(), e.samples(name, sizes[len(sizes)-1]).Median()
			e.run.report.Add(figures.Measure{Name: "    the largest fleet against the smallest", Value: ratio(last, first), Unit: figures.Times, Target: "≤ 2 from 100 to 10,000"})
		}
	}
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// playing plays agents as long as do runs. When they fail, so does do.
func playing(ctx context.Context, played *agents.Agents, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := played.Run(ctx); err != nil {
			cancel(fmt.Errorf("playing agents: %w", err))
		}
	}()
	err := do(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	<-ended
	return err
}

// Sizes returns sizes of fleets in rising order, each once.
func Sizes(sizes []int) ([]int, error) {
	sizes = slices.Clone(sizes)
	slices.Sort(sizes)
	sizes = slices.Compact(sizes)
	if len(sizes) == 0 || sizes[0] <= touched {
		return nil, fmt.Errorf("a fleet must have more than %d clusters, the number that an edit touches", touched)
	}
	return sizes, nil
}
