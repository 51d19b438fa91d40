package bundles

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// outcome is what the last reconcile of a bundle's targets came to, for its
// status to tell.
type outcome struct {
	known      bool
	generation int64
	problems   []string
	err        string
	resources  string
	// partitions of the roll-out, and what it allows.
	partitions                                      []fleet.PartitionStatus
	unavailable, maxUnavailable                     int
	unavailablePartitions, maxUnavailablePartitions int
	newlyCreated                                    int
}

// fail remembers why the bundle could not be looked at. What was known of its
// targets stands.
func (c *controller) fail(key kube.Key, err error) {
	o, _ := c.rollups.get(key)
	if o.known = true; kube.IsPermanent(err) {
		o.problems = []string{err.Error()}
	} else {
		o.err = err.Error()
	}
	c.rollups.conclude(key, o)
	c.status.Coalesce(key)
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
	o, targets := c.rollups.get(key)
	after := b.DeepCopy()
	after.Status = status.ForBundle(status.BundleFacts{
		Bundle: b, Deployments: deployments,
		Known: o.known, Generation: o.generation, Targets: targets, Problems: o.problems, Err: o.err,
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
