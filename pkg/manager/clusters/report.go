package clusters

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// Status of clusters: there may be thousands of them, and a roll-out changes every one of them many times.
const (
	// maxStatusWindow is how long the status of a cluster may collect changes while many of its deployments keep changing.
	// A lone change shows at once.
	maxStatusWindow = time.Second
	// statusRate is how many a second are written while very many change: less than a tenth of what an API server can do.
	statusRate = 100
	// conflictWait is how long the watch may take to show what somebody else has written.
	conflictWait = 50 * time.Millisecond
)

// report writes the status of the cluster where it says something else than it should.
func (c *controller) report(ctx context.Context, key kube.Key) (time.Duration, error) {
	behind := c.told.Begin(key)
	cluster, err := c.cluster(key)
	if err != nil || cluster == nil || !c.reportable(cluster) {
		return 0, err
	}
	now, recheck := c.statusOf(cluster, c.rolledUp(key))
	if equality.Semantic.DeepEqual(cluster.Status, now) {
		return recheck, kube.LookAgain(behind)
	}
	after := &fleet.Cluster{TypeMeta: cluster.TypeMeta, ObjectMeta: cluster.ObjectMeta, Spec: cluster.Spec, Status: now}
	err = c.told.Send(key, now, func() error {
		_, err := c.Hub.Clusters.PatchStatus(ctx, cluster, after)
		return err
	})
	switch {
	case apierrors.IsConflict(err):
		// It may have been a heartbeat, whose event wakes nothing.
		return 0, &kube.WaitError{After: conflictWait, Reason: "somebody else has just written the cluster"}
	case err != nil && !apierrors.IsNotFound(err):
		return 0, fmt.Errorf("writing status of cluster: %w", err)
	}
	return recheck, nil
}

// reportable says whether the cluster is ready to have a status. Where it is not, the cache is behind: the finalizer comes
// before everything else, and its event wakes the cluster again.
func (c *controller) reportable(cluster *fleet.Cluster) bool {
	return cluster.DeletionTimestamp != nil || held(cluster)
}

// rolledUp returns what adds the deployments of a cluster up: what was told of them.
func (c *controller) rolledUp(key kube.Key) func(status.ClusterFacts) fleet.ClusterStatus {
	return func(facts status.ClusterFacts) fleet.ClusterStatus {
		return c.rollups.status(names.ClusterNamespace(key.Namespace, key.Name), facts)
	}
}

// statusOf returns the status that the cluster should have, and when to look again: zero if only an event can change it.
func (c *controller) statusOf(cluster *fleet.Cluster, sum func(status.ClusterFacts) fleet.ClusterStatus) (fleet.ClusterStatus, time.Duration) {
	key := kube.KeyOf(cluster)
	o := c.outcomeOf(key)
	before := cluster
	if !hasAgent(cluster) {
		// Not to be imported (any more).
		before = cluster.DeepCopy()
		status.Remove(&before.Status.Conditions, fleet.ConditionImported)
		o.imported = nil
	}
	now := sum(status.ClusterFacts{
		Cluster: before, Namespace: o.namespaceOf(cluster),
		Processed: o.processed, Imported: o.imported, Now: metav1.NewTime(c.Clock.Now()),
	})
	if o.homeless() {
		now.Namespace = ""
	}
	if o.installed != nil {
		o.installed.writeTo(&now)
	}
	c.reportDelivery(cluster, &now)
	life := c.signsOf(cluster)
	reached := life.reach()
	reached.report(&now, cluster.Status.Conditions, life)
	return now, reached.recheck
}

// signsOf returns what is known of the signs of life of the cluster's agent.
func (c *controller) signsOf(cluster *fleet.Cluster) signs {
	last, met := c.beats.of(names.ClusterNamespace(cluster.Namespace, cluster.Name))
	return signs{
		announced: !cluster.Status.Agent.LastSeen.IsZero() && cluster.DeletionTimestamp == nil, givenUp: givenUp(cluster),
		last: last, watching: c.watching, created: cluster.CreationTimestamp.Time, met: met, now: c.Clock.Now(),
	}
}

// conclude notes what an attempt came to, has it reported if it is news, and tells of it.
func (c *controller) conclude(ctx context.Context, cluster *fleet.Cluster, err error, next func(outcome) outcome) {
	if apierrors.IsConflict(err) || ctx.Err() != nil {
		// Tried again at once, or stopping: it came to nothing.
		return
	}
	key := kube.KeyOf(cluster)
	c.mu.Lock()
	before := c.outcomes[key]
	after := next(before)
	c.outcomes[key] = after
	c.mu.Unlock()
	if !before.differs(after) {
		return
	}
	c.status.Wake(key)
	c.tell(cluster, fleet.ConditionProcessed, before.processed, after.processed)
	c.tell(cluster, fleet.ConditionImported, before.imported, after.imported)
}

// tell writes an event where a result is new. After a restart it is compared with the condition.
func (c *controller) tell(cluster *fleet.Cluster, kind string, before, after *status.Result) {
	if before == nil {
		before = told(cluster, kind)
	}
	if after == nil || before != nil && before.OK == after.OK && before.Reason == after.Reason {
		return
	}
	severity, note := corev1.EventTypeNormal, "the agent is installed"
	switch {
	case after.OK && after.Reason == ReasonRegistered:
		note = "the agent has registered itself"
	case !after.OK:
		severity, note = corev1.EventTypeWarning, after.Message
	case kind == fleet.ConditionProcessed:
		note = "the cluster has its namespace " + names.ClusterNamespace(cluster.Namespace, cluster.Name)
	}
	// The API server refuses longer notes.
	const maxNote = 1000
	c.Recorder.Eventf(cluster, nil, severity, after.Reason, kind, "%s", strings.ToValidUTF8(note[:min(len(note), maxNote)], ""))
}

func (c *controller) outcomeOf(key kube.Key) outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outcomes[key]
}
