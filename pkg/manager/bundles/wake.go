package bundles

import (
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"

	corev1 "k8s.io/api/core/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// wake says which event wakes which bundle.
func (c *controller) wake() {
	c.Hub.Bundles.OnEvent(c.onBundle)
	c.Hub.BundleDeployments.OnEvent(c.onDeployment)
	c.Hub.Clusters.OnEvent(c.onCluster)
	c.Hub.ClusterGroups.OnEvent(func(e kube.Event[*fleet.ClusterGroup]) {
		if e.Old == nil || e.New == nil || e.Old.Generation != e.New.Generation || !maps.Equal(e.Old.Labels, e.New.Labels) {
			c.wakeReaching(e.Object().Namespace)
		}
	})
	c.Hub.BundleNamespaceMappings.OnEvent(func(e kube.Event[*fleet.BundleNamespaceMapping]) {
		c.wakeNamespace(e.Object().Namespace)
	})
	c.Hub.Namespaces.OnEvent(func(e kube.Event[*corev1.Namespace]) {
		if e.Old == nil || e.New == nil || !maps.Equal(e.Old.Labels, e.New.Labels) {
			c.wakeMapped()
		}
	})
	c.Hub.Secrets.OnEvent(c.onSecret)
}

func (c *controller) onBundle(e kube.Event[*fleet.Bundle]) {
	key := kube.KeyOf(e.Object())
	if e.Old == nil || e.New == nil || e.Old.Generation != e.New.Generation ||
		!maps.Equal(e.Old.Labels, e.New.Labels) || (e.New.DeletionTimestamp != nil) != (e.Old.DeletionTimestamp != nil) {
		c.targets.Wake(key)
	}
}

// onDeployment wakes the targets of the bundle only where somebody else has
// changed what the bundle decides; what an agent reports concerns the status.
func (c *controller) onDeployment(e kube.Event[*fleet.BundleDeployment]) {
	key := kube.BundleOf(e.Object())
	if key.Name == "" {
		return
	}
	c.status.Coalesce(key)
	if e.New == nil || (e.Old != nil && e.Old.Generation != e.New.Generation) {
		c.targets.Wake(key)
	}
}

func (c *controller) onCluster(e kube.Event[*fleet.Cluster]) {
	if e.Old != nil && e.New != nil && sameForTargets(e.Old, e.New) {
		return
	}
	c.wakeReaching(e.Object().Namespace)
}

// sameForTargets says whether two states of a cluster lead to the same
// deployments.
func sameForTargets(a, b *fleet.Cluster) bool {
	return maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations) &&
		a.Spec.Paused == b.Spec.Paused &&
		equality.Semantic.DeepEqual(a.Spec.TemplateValues, b.Spec.TemplateValues) &&
		a.Status.Namespace == b.Status.Namespace &&
		a.Status.Agent.LastSeen.IsZero() == b.Status.Agent.LastSeen.IsZero() &&
		(a.DeletionTimestamp != nil) == (b.DeletionTimestamp != nil)
}

// onSecret wakes the bundle whose values a Secret holds, or whose deployment's.
func (c *controller) onSecret(e kube.Event[*corev1.Secret]) {
	secret := e.Object()
	key := kube.Key{Namespace: secret.Labels[names.LabelBundleNamespace], Name: secret.Labels[names.LabelBundleName]}
	if key.Name != "" {
		c.targets.Wake(key)
	}
}

// wakeReaching wakes every bundle that may be deployed to clusters of the
// namespace.
func (c *controller) wakeReaching(namespace string) {
	c.wakeNamespace(namespace)
	c.wakeMapped()
}

// wakeMapped wakes the bundles that reach beyond their own namespace.
func (c *controller) wakeMapped() {
	mappings, err := c.mappings.List("", labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing bundle namespace mappings failed")
		return
	}
	seen := map[string]bool{}
	for _, m := range mappings {
		if !seen[m.Namespace] {
			seen[m.Namespace] = true
			c.wakeNamespace(m.Namespace)
		}
	}
}

func (c *controller) wakeNamespace(namespace string) {
	bundles, err := c.bundles.List(namespace, labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing bundles failed")
		return
	}
	for _, b := range bundles {
		c.targets.Wake(kube.KeyOf(b))
	}
}
