package bundles

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// maxStatusWindow is how long the status of a bundle may collect changes while
// many of its deployments keep changing. A lone change shows at once.
const maxStatusWindow = time.Second

// statusWorkers is how many statuses are written at once. They are few, so that
// deployments come first where there is much to write.
const statusWorkers = 2

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

// facts returns what the bundle's status follows from, beside its deployments
// and targets.
func (o *outcome) facts(b *fleet.Bundle, now metav1.Time) status.BundleFacts {
	facts := status.BundleFacts{
		Bundle: b, Known: o.known, Generation: o.generation, Problems: o.problems, Err: o.err,
		ResourcesSHA256: o.resources, Now: now,
	}
	if o.partitions != nil {
		facts.Rollout = &status.Rollout{
			Partitions: o.partitions, Unavailable: o.unavailable, MaxUnavailable: o.maxUnavailable,
			UnavailablePartitions: o.unavailablePartitions, MaxUnavailablePartitions: o.maxUnavailablePartitions,
			NewlyCreated: o.newlyCreated,
		}
	}
	return facts
}

// fail remembers why the bundle could not be looked at. What was known of its
// targets stands.
func (c *controller) fail(key kube.Key, err error) {
	o := c.rollups.get(key)
	if o.known = true; kube.IsPermanent(err) {
		o.problems = []string{err.Error()}
	} else {
		o.err = err.Error()
	}
	c.rollups.conclude(key, o)
	c.status.Coalesce(key)
}

// rollUp has the status show what a deployment says.
func (c *controller) rollUp(e kube.Event[*fleet.BundleDeployment]) {
	for _, bundle := range c.rollups.deployment(e) {
		c.status.Coalesce(bundle)
	}
}

// rollUpReach has the status show whether a cluster's agent is there.
func (c *controller) rollUpReach(e kube.Event[*fleet.Cluster]) {
	for _, bundle := range c.rollups.cluster(e, c.eachOn) {
		c.status.Coalesce(bundle)
	}
}

// report writes the status of the bundle where it says something else than it
// should.
func (c *controller) report(ctx context.Context, key kube.Key) (time.Duration, error) {
	behind := c.told.Begin(key)
	b, err := c.bundles.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading bundle: %w", err)
	}
	now := c.rollups.status(b, metav1.NewTime(c.Clock.Now()))
	if equality.Semantic.DeepEqual(b.Status, now) {
		return 0, kube.LookAgain(behind)
	}
	// Without the spec, which is large and none of the status' business.
	before := &fleet.Bundle{TypeMeta: b.TypeMeta, ObjectMeta: b.ObjectMeta, Status: b.Status}
	after := &fleet.Bundle{TypeMeta: b.TypeMeta, ObjectMeta: b.ObjectMeta, Status: now}
	err = c.told.Send(key, now, func() error {
		_, err := c.Hub.Bundles.PatchStatus(ctx, before, after)
		return err
	})
	switch {
	case err == nil:
		c.announce(before, after)
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		// The event of what became of it brings the status up again.
	default:
		return 0, fmt.Errorf("writing status: %w", err)
	}
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
