// Package clustergroups rolls the status of ClusterGroups up from that of the clusters that their selectors match.
package clustergroups

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// Deps is what the controller needs.
type Deps struct {
	Hub   *kube.Hub
	Log   logrus.FieldLogger
	Clock clock.PassiveClock
	// Observe is told of every reconcile.
	Observe func(controller string) func(time.Duration, error)
}

type controller struct {
	Deps
	groups   generic.CacheInterface[*fleet.ClusterGroup]
	clusters generic.CacheInterface[*fleet.Cluster]
	queue    *kube.Queue
}

// Register prepares the controller; it works until ctx ends once the returned function is called. That must not be
// before every cache is synced.
func Register(deps Deps) (run func(ctx context.Context)) {
	c := &controller{Deps: deps, groups: deps.Hub.ClusterGroups.Cache(), clusters: deps.Hub.Clusters.Cache()}
	c.queue = kube.NewQueue(kube.QueueOptions{
		Name: "clustergroups", Reconcile: c.report, Log: deps.Log, Observe: deps.Observe("clustergroups"),
	})
	deps.Hub.ClusterGroups.OnEvent(func(e kube.Event[*fleet.ClusterGroup]) { c.queue.Coalesce(kube.KeyOf(e.Object())) })
	deps.Hub.Clusters.OnEvent(c.onCluster)
	return c.queue.Run
}

// report rolls up the status of the group.
func (c *controller) report(ctx context.Context, key kube.Key) (time.Duration, error) {
	group, err := c.groups.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading cluster group: %w", err)
	}
	if group.DeletionTimestamp != nil {
		return 0, nil
	}
	facts := status.ClusterGroupFacts{Group: group, Now: metav1.NewTime(c.Clock.Now())}
	selector, err := selectorOf(group)
	if err != nil {
		facts.Problem = fmt.Sprintf("spec.selector: %v", err)
	} else if facts.Clusters, err = c.clusters.List(group.Namespace, selector); err != nil {
		return 0, fmt.Errorf("listing clusters: %w", err)
	}
	after := group.DeepCopy()
	after.Status = status.ForClusterGroup(facts)
	if _, err := c.Hub.ClusterGroups.PatchStatus(ctx, group, after); err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("writing status of cluster group: %w", err)
	}
	return 0, nil
}

// selectorOf returns what the group selects: nothing without a selector, everything with an empty one.
func selectorOf(group *fleet.ClusterGroup) (labels.Selector, error) {
	return metav1.LabelSelectorAsSelector(group.Spec.Selector)
}

// onCluster wakes the groups that the cluster belongs to, or belonged to, if it changed in something that they show.
func (c *controller) onCluster(e kube.Event[*fleet.Cluster]) {
	if e.Old != nil && e.New != nil && !shows(e.Old, e.New) {
		return
	}
	groups, err := c.groups.List(e.Object().Namespace, labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing cluster groups failed")
		return
	}
	for _, group := range groups {
		selector, err := selectorOf(group)
		if err != nil {
			// The group's own event has reported that.
			continue
		}
		if e.Old != nil && selector.Matches(labels.Set(e.Old.Labels)) || e.New != nil && selector.Matches(labels.Set(e.New.Labels)) {
			c.queue.Coalesce(kube.KeyOf(group))
		}
	}
}

// shows says whether a change of a cluster concerns the groups it belongs to. Heartbeats do not.
func shows(before, after *fleet.Cluster) bool {
	a, b := before.Status, after.Status
	return !maps.Equal(before.Labels, after.Labels) ||
		status.IsTrue(a.Conditions, fleet.ConditionReady) != status.IsTrue(b.Conditions, fleet.ConditionReady) ||
		a.Display.State != b.Display.State ||
		!equality.Semantic.DeepEqual(a.Summary, b.Summary) || a.ResourceCounts != b.ResourceCounts
}
