package measures

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/bench/hub"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Names of measures that are compared with the ceiling.
const (
	nameFanout   = "fan-out: deployments created"
	nameUntarget = "untarget: deployments gone"
	nameCreates  = "API server alone: creates"
	nameDeletes  = "API server alone: deletes"

	targetShare = "≥ 75 % of the ceiling"
)

// Fanout measures how fast new bundles reach all clusters.
func (r *Run) Fanout(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.fanout(ctx); err != nil {
		return err
	}
	return r.ceiling(ctx)
}

// Untarget measures how fast deployments go when half of the clusters drop out of the targets, and the fan-out before.
func (r *Run) Untarget(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.fanout(ctx); err != nil {
		return err
	}
	if err := r.untarget(ctx); err != nil {
		return err
	}
	return r.ceiling(ctx)
}

// prepare starts the manager and makes the clusters.
func (r *Run) prepare(ctx context.Context) error {
	r.report.Fact("fleet", fmt.Sprintf("%d clusters × %d bundles", r.Clusters, r.Bundles))
	if err := r.startManager(ctx); err != nil {
		return err
	}
	return r.makeClusters(ctx, 0, r.Clusters)
}

// fanout creates all bundles at once, and remembers what became of them.
func (r *Run) fanout(ctx context.Context) error {
	err := r.change(ctx, change{
		phase: "fan-out", measure: nameFanout, target: targetShare, from: 0, to: r.Clusters * r.Bundles,
		do: func(ctx context.Context, i int) error {
			_, err := r.hub.Bundles.Create(ctx, bundle(bundleName(i), "1", everywhere()))
			return err
		},
	})
	if err != nil {
		return err
	}
	list, err := r.hub.BundleDeployments.List(ctx, "", nil)
	if err != nil {
		return fmt.Errorf("reading deployments: %w", err)
	}
	r.fanned = nil
	for i := range list.Items {
		r.fanned = append(r.fanned, fresh(&list.Items[i]))
	}
	return nil
}

// untarget edits the targets of all bundles at once so that they match half of the clusters.
func (r *Run) untarget(ctx context.Context) error {
	staying := (r.Clusters + 1) / 2 * r.Bundles
	return r.change(ctx, change{
		phase: "untarget", measure: nameUntarget, target: targetShare, from: r.Clusters * r.Bundles, to: staying,
		do: func(ctx context.Context, i int) error {
			return r.retarget(ctx, bundleName(i), labelled(labelHalf, one))
		},
	})
}

// change is a change of every bundle at once that makes deployments come or go.
type change struct {
	phase, measure, target string
	// from and to are how many deployments there are before and after.
	from, to int
	// do changes the i-th bundle.
	do func(ctx context.Context, i int) error
}

// change measures the time from the first bundle's change until the last deployment is there, or gone.
func (r *Run) change(ctx context.Context, c change) error {
	deployments, err := r.countDeployments(ctx, c.from)
	if err != nil {
		return err
	}
	defer deployments.Close()
	p, err := r.begin(ctx, c.phase)
	if err != nil {
		return err
	}
	var took time.Duration
	n := max(c.to-c.from, c.from-c.to)
	before, err := r.hub.Spent()
	if err != nil {
		return err
	}
	err = r.progress.Do(c.phase, func(task *progress.Task) (string, error) {
		if err := r.each(ctx, r.Bundles, c.do); err != nil {
			return "", err
		}
		last, err := deployments.Await(ctx, c.to, task.Update)
		took = last.Sub(p.began)
		return fmt.Sprintf("%d deployments, %.0f/s", n, figures.Rate(n, took)), err
	})
	if err != nil {
		return err
	}
	after, err := r.hub.Spent()
	if err != nil {
		return err
	}
	r.spent[c.measure] = perObject(after.Minus(before), n)
	r.report.Add(figures.Measure{Name: c.measure, Value: figures.Rate(n, took), Unit: figures.PerSecond, Target: c.target})
	_, err = r.end(ctx, p, n, "deployment")
	return err
}

// perObject returns the processor time for one of n objects.
func perObject(spent hub.Spent, n int) hub.Spent {
	each := hub.Spent{}
	for name, all := range spent {
		each[name] = all / time.Duration(max(n, 1))
	}
	return each
}

// retarget edits the targets of a bundle and nothing else.
func (r *Run) retarget(ctx context.Context, name string, selector metav1.LabelSelector) error {
	return r.edit(ctx, name, func(b *fleet.Bundle) { b.Spec.Targets = targets(selector) })
}

// edit changes a bundle.
func (r *Run) edit(ctx context.Context, name string, edit func(*fleet.Bundle)) error {
	return untilNoConflict(func() error {
		before, err := r.hub.Bundles.Get(ctx, workspace, name)
		if err != nil {
			return fmt.Errorf("editing bundle: %w", err)
		}
		after := before.DeepCopy()
		edit(after)
		if _, err := r.hub.Bundles.Patch(ctx, before, after); err != nil {
			return fmt.Errorf("editing bundle: %w", err)
		}
		return nil
	})
}

// untilNoConflict does something that reads an object before it writes it, again if somebody else wrote it in between.
func untilNoConflict(do func() error) error {
	for {
		if err := do(); !apierrors.IsConflict(err) {
			return err
		}
	}
}
