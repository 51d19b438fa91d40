package clusters

import (
	"errors"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/delivery"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// wake says which event wakes which cluster.
func (c *controller) wake() {
	c.Hub.Clusters.OnEvent(c.onCluster)
	c.Hub.BundleDeployments.OnEvent(func(e kube.Event[*fleet.BundleDeployment]) {
		if delivery.Is(e.Object()) {
			c.onDelivery(e)
			return
		}
		shows := c.rollups.deployment(e)
		if key := kube.ClusterOf(e.Object()); shows && key.Name != "" {
			c.status.Coalesce(key)
		}
	})
	c.Hub.Namespaces.OnEvent(c.onNamespace)
	c.Hub.Leases.OnEvent(c.onLease)
	c.Secrets.OnChange(c.onSecret)
}

// onSecret has the clusters imported at once whose kubeconfig has changed.
func (c *controller) onSecret(key kube.Key) {
	clusters, err := c.clusters.List(key.Namespace, labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing clusters failed")
		return
	}
	for _, cluster := range clusters {
		if cluster.Spec.KubeConfigSecret == key.Name {
			c.imports.Wake(kube.KeyOf(cluster))
		}
	}
}

func (c *controller) onCluster(e kube.Event[*fleet.Cluster]) {
	key := kube.KeyOf(e.Object())
	if e.Old != nil && e.New != nil {
		c.beats.announced(e.Old, e.New, c.Clock.Now())
	}
	switch {
	case e.New == nil:
		c.forget(key)
	case e.Old == nil, e.Old.UID != e.New.UID:
		// What comes of it is reported.
		c.access.Wake(key)
	case e.Old.Generation != e.New.Generation, held(e.Old) && !held(e.New), hasAgent(e.Old) != hasAgent(e.New):
		c.access.Wake(key)
		c.status.Coalesce(key)
	case e.Old.Status.Agent.Managed != e.New.Status.Agent.Managed, e.Old.Status.Agent.Namespace != e.New.Status.Agent.Namespace,
		e.Old.Labels[names.LabelNonManagedAgent] != e.New.Labels[names.LabelNonManagedAgent]:
		c.imports.Wake(key)
		c.status.Coalesce(key)
	case reports(e.Old, e.New) && !c.told.Is(key, e.New.Status):
		c.status.Coalesce(key)
	}
}

// reports says whether a change of the cluster concerns its roll-up. A heartbeat does not, but for the first.
func reports(before, after *fleet.Cluster) bool {
	if held(before) != held(after) || before.Status.Agent.LastSeen.IsZero() != after.Status.Agent.LastSeen.IsZero() ||
		(before.DeletionTimestamp == nil) != (after.DeletionTimestamp == nil) {
		return true
	}
	a, b := before.Status, after.Status
	a.Agent, b.Agent = fleet.AgentStatus{}, fleet.AgentStatus{}
	return !equality.Semantic.DeepEqual(a, b)
}

// held says whether the cluster has our finalizer.
func held(cluster *fleet.Cluster) bool {
	return slices.Contains(cluster.Finalizers, names.FinalizerCluster)
}

// onNamespace wakes the cluster that needs the namespace when it goes or was changed by somebody. A new one is ours, or
// is met when we make ours.
func (c *controller) onNamespace(e kube.Event[*corev1.Namespace]) {
	if e.Old == nil {
		return
	}
	if e.New != nil && (e.New.DeletionTimestamp != nil) == (e.Old.DeletionTimestamp != nil) &&
		maps.Equal(e.New.Labels, e.Old.Labels) && maps.Equal(e.New.Annotations, e.Old.Annotations) {
		return
	}
	if key, ok := c.ownerOf(e.Object().Name); ok {
		c.access.Wake(key)
	}
}

// ownerOf returns the cluster that needs the namespace.
func (c *controller) ownerOf(namespace string) (kube.Key, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, ok := c.owners[namespace]
	return key, ok
}

// own has events of the namespace that the cluster needs wake the cluster. It comes before the namespace is looked at,
// so that no event is missed.
func (c *controller) own(cluster *fleet.Cluster) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owners[names.ClusterNamespace(cluster.Namespace, cluster.Name)] = kube.KeyOf(cluster)
}

func (c *controller) forget(key kube.Key) {
	namespace := names.ClusterNamespace(key.Namespace, key.Name)
	c.beats.forget(namespace)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.outcomes, key)
	delete(c.owners, namespace)
}

// settled marks the problems of a cluster's place as permanent: each of them ends with an event that wakes the cluster.
func settled(err error) error {
	var told *problem
	if errors.As(err, &told) {
		return kube.Permanent(err)
	}
	return err
}
