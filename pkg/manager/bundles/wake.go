package bundles

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"

	corev1 "k8s.io/api/core/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/copies"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
)

// wake says which event has which part of which bundle looked at again.
func (c *controller) wake() {
	c.Hub.Bundles.OnEvent(c.onBundle)
	c.Hub.BundleDeployments.OnEvent(c.onDeployment)
	c.Hub.Clusters.OnEvent(c.onCluster)
	c.Hub.ClusterGroups.OnEvent(func(e kube.Event[*fleet.ClusterGroup]) {
		if e.Old == nil || e.New == nil || e.Old.Generation != e.New.Generation || !maps.Equal(e.Old.Labels, e.New.Labels) {
			c.eachReaching(e.Object().Namespace, func(key kube.Key) {
				if c.mayUseGroups(key) {
					c.wakeWhole(key)
				}
			})
		}
	})
	c.Hub.BundleNamespaceMappings.OnEvent(func(e kube.Event[*fleet.BundleNamespaceMapping]) {
		c.eachBundleIn(e.Object().Namespace, c.wakeWhole)
	})
	c.Hub.GitRepoRestrictions.OnEvent(func(e kube.Event[*fleet.GitRepoRestriction]) {
		c.eachBundleIn(e.Object().Namespace, c.wakeWhole)
	})
	c.Hub.Policies.OnEvent(func(e kube.Event[*fleet.Policy]) { c.eachBundleIn(e.Object().Namespace, c.wakeWhole) })
	c.Hub.Namespaces.OnEvent(c.onNamespace)
	c.Hub.Secrets.OnEvent(c.onSecret)
	c.Hub.GitRepos.OnEvent(used(c, copies.NamedByGitRepo))
	c.Hub.HelmOps.OnEvent(used(c, copies.NamedByHelmOp))
	c.Hub.Clusters.OnEvent(used(c, copies.NamedByCluster))
	c.Secrets.OnChange(c.onSource(copies.KindSecret))
	c.ConfigMaps.OnChange(c.onSource(copies.KindConfigMap))
}

// wakeWhole has everything of a bundle looked at again.
func (c *controller) wakeWhole(key kube.Key) {
	c.marks.AddAll(key)
	c.targets.Wake(key)
}

func (c *controller) onBundle(e kube.Event[*fleet.Bundle]) {
	if e.New != nil && !c.told.Is(kube.KeyOf(e.New), e.New.Status) {
		// Also where somebody else wrote the status, or where ours came too late.
		c.status.Coalesce(kube.KeyOf(e.New))
	}
	// What differs is found by comparing the bundle with its book.
	if e.Old == nil || e.New == nil || e.Old.UID != e.New.UID || e.Old.Generation != e.New.Generation ||
		!maps.Equal(e.Old.Labels, e.New.Labels) || (e.New.DeletionTimestamp != nil) != (e.Old.DeletionTimestamp != nil) {
		c.targets.Wake(kube.KeyOf(e.Object()))
	}
}

// onDeployment wakes the targets of the bundle where something has changed
// that the bundle decides, or that its roll-out waits for. The rest of what an
// agent reports concerns the status alone.
func (c *controller) onDeployment(e kube.Event[*fleet.BundleDeployment]) {
	c.rollUp(e)
	bd := e.Object()
	key := kube.BundleOf(bd)
	if key.Name == "" {
		return
	}
	cluster := kube.ClusterOf(bd)
	switch {
	case e.New == nil:
		c.marks.Add(key, part{cluster: cluster, gone: bd.UID, succeeds: ownership.Succession(bd)})
		c.targets.Coalesce(key)
	case e.Old == nil || e.Old.UID != e.New.UID || e.Old.Generation != e.New.Generation ||
		!maps.Equal(e.Old.Labels, e.New.Labels) || !slices.Equal(e.Old.Finalizers, e.New.Finalizers):
		// Mostly the echo of what was just written.
		c.marks.Add(key, part{cluster: cluster})
		c.targets.Coalesce(key)
	case rollout.News(e.Old, e.New):
		c.marks.Add(key, part{cluster: cluster})
		c.targets.Coalesce(key)
	}
}

func (c *controller) onCluster(e kube.Event[*fleet.Cluster]) {
	key := kube.KeyOf(e.Object())
	c.mu.Lock()
	if e.New == nil {
		c.index.Delete(key.Namespace, key.Name)
	} else {
		c.index.Set(e.New)
	}
	c.mu.Unlock()
	c.rollUpReach(e)
	mark := func(bundle kube.Key) {
		c.marks.Add(bundle, part{cluster: key})
		c.targets.Coalesce(bundle)
	}
	switch {
	case e.Old == nil || e.New == nil || !sameForTargets(e.Old, e.New):
		c.eachReaching(key.Namespace, mark)
	case offline(e.Old) != offline(e.New):
		c.eachOn(key, mark)
	}
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

// onNamespace wakes the bundles that a mapping may lead to the namespace. The
// namespaces that are made for clusters hold no clusters.
func (c *controller) onNamespace(e kube.Event[*corev1.Namespace]) {
	if e.Object().Labels[names.LabelManaged] == "true" {
		return
	}
	if e.Old == nil || e.New == nil || !maps.Equal(e.Old.Labels, e.New.Labels) {
		c.eachMapped(c.wakeWhole)
	}
}

// onSecret wakes the bundle whose values a Secret holds, or whose deployment's.
func (c *controller) onSecret(e kube.Event[*corev1.Secret]) {
	secret := e.Object()
	key := kube.Key{Namespace: secret.Labels[names.LabelBundleNamespace], Name: secret.Labels[names.LabelBundleName]}
	switch {
	case key.Name == "":
	case secret.Type != names.SecretTypeDeployment:
		c.wakeWhole(key)
	case e.New == nil:
		if bd, err := c.deployments.Get(secret.Namespace, secret.Name); err == nil {
			c.marks.Add(key, part{cluster: kube.ClusterOf(bd)})
			c.targets.Wake(key)
		}
	}
}

// eachOn calls f for every bundle that has a deployment on the cluster.
func (c *controller) eachOn(cluster kube.Key, f func(kube.Key)) {
	deployments, err := c.deployments.List(names.ClusterNamespace(cluster.Namespace, cluster.Name), labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing deployments failed")
		return
	}
	for _, bd := range deployments {
		if key := kube.BundleOf(bd); key.Name != "" {
			f(key)
		}
	}
}

// eachReaching calls f for every bundle that may be deployed to clusters of
// the namespace.
func (c *controller) eachReaching(namespace string, f func(kube.Key)) {
	c.eachBundleIn(namespace, f)
	c.eachMapped(func(key kube.Key) {
		if key.Namespace != namespace {
			f(key)
		}
	})
}

// eachMapped calls f for every bundle that may reach beyond its own namespace.
func (c *controller) eachMapped(f func(kube.Key)) {
	mappings, err := c.mappings.List("", labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing bundle namespace mappings failed")
		return
	}
	seen := map[string]bool{}
	for _, m := range mappings {
		if !seen[m.Namespace] {
			seen[m.Namespace] = true
			c.eachBundleIn(m.Namespace, f)
		}
	}
}

func (c *controller) eachBundleIn(namespace string, f func(kube.Key)) {
	bundles, err := c.bundles.List(namespace, labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing bundles failed")
		return
	}
	for _, b := range bundles {
		f(kube.KeyOf(b))
	}
}
