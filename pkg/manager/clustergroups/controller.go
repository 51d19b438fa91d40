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
	// Account, if set, is given how to count the status of groups anew.
	Account func(kube.Account)
}

// maxStatusWindow is how long the status of a group may collect changes while many of its clusters keep changing. A lone
// change shows at once.
const maxStatusWindow = time.Second

type controller struct {
	Deps
	groups   generic.CacheInterface[*fleet.ClusterGroup]
	clusters generic.CacheInterface[*fleet.Cluster]
	queue    *kube.Queue
	rollups  *rollups
	told     kube.Echoes[fleet.ClusterGroupStatus]
}

// Register prepares the controller; it works until ctx ends once the returned function is called. That must not be
// before every cache is synced.
func Register(deps Deps) (run func(ctx context.Context)) {
	c := &controller{
		Deps: deps, groups: deps.Hub.ClusterGroups.Cache(), clusters: deps.Hub.Clusters.Cache(), rollups: newRollups(),
	}
	c.queue = kube.NewQueue(kube.QueueOptions{
		Name: "clustergroups", Reconcile: c.report, Log: deps.Log, Observe: deps.Observe("clustergroups"), MaxWindow: maxStatusWindow, Workers: 1,
		YieldTo: &deps.Hub.Load,
	})
	deps.Hub.ClusterGroups.OnEvent(c.onGroup)
	deps.Hub.Clusters.OnEvent(func(e kube.Event[*fleet.Cluster]) {
		for _, group := range c.rollups.cluster(e) {
			c.queue.Coalesce(group)
		}
	})
	if deps.Account != nil {
		deps.Account(c.account())
	}
	return c.queue.Run
}

func (c *controller) onGroup(e kube.Event[*fleet.ClusterGroup]) {
	c.rollups.group(e)
	if e.New != nil && !c.told.Is(kube.KeyOf(e.New), e.New.Status) {
		c.queue.Coalesce(kube.KeyOf(e.New))
	}
}

// report writes the status of the group where it says something else than it should.
func (c *controller) report(ctx context.Context, key kube.Key) (time.Duration, error) {
	behind := c.told.Begin(key)
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
	now := c.rollups.status(status.ClusterGroupFacts{Group: group, Now: metav1.NewTime(c.Clock.Now())})
	if equality.Semantic.DeepEqual(group.Status, now) {
		return 0, kube.LookAgain(behind)
	}
	after := &fleet.ClusterGroup{TypeMeta: group.TypeMeta, ObjectMeta: group.ObjectMeta, Spec: group.Spec, Status: now}
	err = c.told.Send(key, now, func() error {
		_, err := c.Hub.ClusterGroups.PatchStatus(ctx, group, after)
		return err
	})
	// After a conflict, the event of what became of the group brings the status up again.
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return 0, fmt.Errorf("writing status of cluster group: %w", err)
	}
	return 0, nil
}

// shows says whether a change of a cluster concerns the groups it belongs to. Heartbeats do not.
func shows(before, after *fleet.Cluster) bool {
	a, b := before.Status, after.Status
	return !maps.Equal(before.Labels, after.Labels) ||
		status.IsTrue(a.Conditions, fleet.ConditionReady) != status.IsTrue(b.Conditions, fleet.ConditionReady) ||
		status.OfflineSince(before) != status.OfflineSince(after) || a.Display.State != b.Display.State ||
		!equality.Semantic.DeepEqual(a.Summary, b.Summary) || a.ResourceCounts != b.ResourceCounts
}
