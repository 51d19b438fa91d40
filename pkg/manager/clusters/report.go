package clusters

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// report rolls up the status of the cluster from its deployments and from what acting on it came to.
func (c *controller) report(ctx context.Context, key kube.Key) (time.Duration, error) {
	cluster, err := c.cluster(key)
	if err != nil || cluster == nil {
		return 0, err
	}
	if cluster.DeletionTimestamp == nil && !held(cluster) {
		// The cache is behind: the finalizer comes before everything else, and its event wakes the cluster again.
		return 0, nil
	}
	deployments, err := c.deployments.List(names.ClusterNamespace(key.Namespace, key.Name), labels.Everything())
	if err != nil {
		return 0, fmt.Errorf("listing deployments: %w", err)
	}
	o := c.outcomeOf(key)
	after := cluster.DeepCopy()
	if cluster.Spec.KubeConfigSecret == "" {
		// Not to be imported (any more).
		status.Remove(&after.Status.Conditions, fleet.ConditionImported)
		o.imported = nil
	}
	after.Status = status.ForCluster(status.ClusterFacts{
		Cluster: after, Deployments: deployments, Namespace: o.namespaceOf(cluster),
		Processed: o.processed, Imported: o.imported, Now: metav1.NewTime(c.Clock.Now()),
	})
	if o.homeless() {
		after.Status.Namespace = ""
	}
	if o.installed != nil {
		o.installed.writeTo(&after.Status)
	}
	life := signs{
		announced: !cluster.Status.Agent.LastSeen.IsZero() && cluster.DeletionTimestamp == nil, givenUp: givenUp(cluster),
		last: c.beats.of(names.ClusterNamespace(key.Namespace, key.Name)), watching: c.watching, now: c.Clock.Now(),
	}
	reached := life.reach()
	reached.report(&after.Status, cluster.Status.Conditions, life)
	if _, err := c.Hub.Clusters.PatchStatus(ctx, cluster, after); err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("writing status of cluster: %w", err)
	}
	return reached.recheck, nil
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
