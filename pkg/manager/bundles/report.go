package bundles

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// outcome is what the last reconcile of a bundle's targets came to, for its
// status to tell.
type outcome struct {
	known      bool
	generation int64
	targets    []status.Target
	problems   []string
	err        string
	resources  string
}

// fail remembers why the bundle could not be looked at. What was known of its
// targets stands.
func (c *controller) fail(key kube.Key, err error) {
	c.mu.Lock()
	o := c.outcomes[key]
	if o.known = true; kube.IsPermanent(err) {
		o.problems = []string{err.Error()}
	} else {
		o.err = err.Error()
	}
	c.outcomes[key] = o
	c.mu.Unlock()
	c.status.Coalesce(key)
}

func (c *controller) forget(key kube.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.outcomes, key)
	delete(c.contentOf, key)
}

// conclude remembers what the reconcile came to and has the status say it.
func (c *controller) conclude(key kube.Key, w *world, plan rollout.Plan, err error) {
	o := outcome{known: true, generation: w.Bundle.Generation, resources: w.resources}
	held := map[*fleet.Cluster]rollout.Step{}
	for _, step := range plan.Hold {
		held[step.Target.Cluster] = step
	}
	for _, t := range w.Targets {
		step, isHeld := held[t.Cluster]
		target := status.Target{Cluster: kube.KeyOf(t.Cluster).String(), DeploymentID: t.DeploymentID}
		if isHeld {
			target.Held, target.Invalid = step.Message, step.Reason == rollout.ReasonInvalidOptions || step.Reason == rollout.ReasonNameConflict
		}
		o.targets = append(o.targets, target)
	}
	for _, u := range w.undecided {
		o.targets = append(o.targets, status.Target{Cluster: kube.KeyOf(u.cluster).String(), Held: u.message})
	}
	for _, p := range w.problems {
		o.problems = append(o.problems, p.Field+": "+p.Message)
	}
	if err != nil && !isConflict(err) {
		o.err = err.Error()
	}
	c.mu.Lock()
	c.outcomes[key] = o
	c.mu.Unlock()
	c.status.Coalesce(key)
}

// isConflict says whether a write found an object changed: the retry that is
// on its way settles it, nobody needs to know.
func isConflict(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || errors.Is(err, context.Canceled)
}

// report rolls the bundle's deployments up into its status.
func (c *controller) report(ctx context.Context, key kube.Key) (time.Duration, error) {
	b, err := c.bundles.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading bundle: %w", err)
	}
	deployments, err := c.deployments.GetByIndex(kube.DeploymentsByBundle, key.String())
	if err != nil {
		return 0, fmt.Errorf("listing deployments: %w", err)
	}
	c.mu.Lock()
	o := c.outcomes[key]
	c.mu.Unlock()
	after := b.DeepCopy()
	after.Status = status.ForBundle(status.BundleFacts{
		Bundle: b, Deployments: deployments,
		Known: o.known, Generation: o.generation, Targets: o.targets, Problems: o.problems, Err: o.err,
		ResourcesSHA256: o.resources, Now: metav1.NewTime(c.Clock.Now()),
	})
	if _, err := c.Hub.Bundles.PatchStatus(ctx, b, after); err != nil {
		if apierrors.IsNotFound(err) {
			return 0, nil
		}
		return 0, fmt.Errorf("writing status: %w", err)
	}
	c.announce(b, after)
	return 0, nil
}

// announce records an Event where the bundle starts to need a user, or stops.
func (c *controller) announce(before, after *fleet.Bundle) {
	was, is := status.Get(before.Status.Conditions, fleet.ConditionStalled), status.Get(after.Status.Conditions, fleet.ConditionStalled)
	switch {
	case is != nil && (was == nil || was.Reason != is.Reason):
		c.Recorder.Eventf(after, nil, corev1.EventTypeWarning, is.Reason, "Deploy", "%s", is.Message)
	case is == nil && was != nil:
		c.Recorder.Eventf(after, nil, corev1.EventTypeNormal, "Recovered", "Deploy", "The bundle goes on")
	}
}
