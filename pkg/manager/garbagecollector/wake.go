package garbagecollector

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// wake says which event wakes which owner. Every event that can turn a
// decision is here; none of them is a timer.
func (c *controller) wake() {
	hub := c.Hub
	hub.GitRepos.OnEvent(func(e kube.Event[*fleet.GitRepo]) {
		if e.New != nil && e.New.DeletionTimestamp != nil {
			c.repoQueue.Wake(kube.KeyOf(e.New))
		}
	})
	hub.Bundles.OnEvent(c.onBundle)
	hub.BundleDeployments.OnEvent(c.onDeployment)
	hub.Clusters.OnEvent(c.onCluster)
	hub.ClusterGroups.OnEvent(func(e kube.Event[*fleet.ClusterGroup]) {
		if e.Old == nil || e.New == nil || e.Old.Generation != e.New.Generation || !maps.Equal(e.Old.Labels, e.New.Labels) {
			c.wakeClustersIn(e.Object().Namespace)
		}
	})
	hub.BundleNamespaceMappings.OnEvent(func(e kube.Event[*fleet.BundleNamespaceMapping]) {
		c.wakeBundlesIn(e.Object().Namespace)
	})
	hub.Namespaces.OnEvent(c.onNamespace)
	hub.Contents.OnEvent(func(e kube.Event[*fleet.Content]) {
		if e.New != nil {
			c.contentQueue.Wake(kube.KeyOf(e.New))
		}
	})
	hub.Secrets.OnEvent(func(e kube.Event[*corev1.Secret]) {
		if e.New != nil {
			c.secretQueue.Wake(kube.KeyOf(e.New))
		}
	})
}

func (c *controller) onBundle(e kube.Event[*fleet.Bundle]) {
	b := e.Object()
	key := kube.KeyOf(b)
	if repo := kube.RepoOf(b); repo.Name != "" &&
		(e.Old == nil || e.New == nil || e.Old.Annotations[names.AnnotationGone] != e.New.Annotations[names.AnnotationGone] || e.New.DeletionTimestamp != nil) {
		c.repoQueue.Wake(repo)
	}
	if e.New == nil {
		c.secretQueue.Wake(key)
		return
	}
	if e.Old == nil || e.Old.Generation != e.New.Generation || e.New.DeletionTimestamp != nil ||
		!maps.Equal(e.Old.Labels, e.New.Labels) {
		c.bundleQueue.Wake(key)
	}
}

func (c *controller) onDeployment(e kube.Event[*fleet.BundleDeployment]) {
	bd := e.Object()
	c.wakeContents(e)
	key := kube.BundleOf(bd)
	switch {
	case e.New == nil:
		c.secretQueue.Wake(kube.KeyOf(bd))
		c.bundleQueue.Wake(key)
	case e.New.DeletionTimestamp != nil:
		c.releaseQueue.Wake(kube.KeyOf(bd))
		if e.Old == nil || e.Old.DeletionTimestamp == nil {
			c.bundleQueue.Wake(key)
		}
	case e.Old == nil || !maps.Equal(e.Old.Labels, e.New.Labels):
		// A deployment that a late write has made is looked at like any other.
		c.bundleQueue.Wake(key)
	}
}

// wakeContents has the Contents looked at that the deployment no longer uses,
// and those that it uses now: one may have been marked as unused meanwhile.
func (c *controller) wakeContents(e kube.Event[*fleet.BundleDeployment]) {
	var before, after []string
	if e.Old != nil {
		before = kube.ContentsOf(e.Old)
	}
	if e.New != nil {
		after = kube.ContentsOf(e.New)
	}
	if slices.Equal(before, after) {
		return
	}
	for _, content := range slices.Concat(before, after) {
		c.contentQueue.Wake(kube.Key{Name: content})
	}
}

func (c *controller) onCluster(e kube.Event[*fleet.Cluster]) {
	cluster := e.Object()
	key := kube.KeyOf(cluster)
	leaving := e.New == nil || e.New.DeletionTimestamp != nil
	if leaving {
		c.clusterQueue.Wake(key)
	}
	if leaving || e.Old == nil || !maps.Equal(e.Old.Labels, e.New.Labels) {
		c.wakeDeploymentsOf(names.ClusterNamespace(key.Namespace, key.Name))
	}
}

func (c *controller) onNamespace(e kube.Event[*corev1.Namespace]) {
	ns := e.Object()
	if e.New != nil && e.New.DeletionTimestamp != nil && ns.Labels[names.LabelManaged] == "true" {
		c.wakeDeploymentsOf(ns.Name)
	}
	if e.Old != nil && e.New != nil && !maps.Equal(e.Old.Labels, e.New.Labels) {
		c.wakeMapped()
	}
}

// wakeDeploymentsOf has every deployment of a cluster namespace looked at.
func (c *controller) wakeDeploymentsOf(namespace string) {
	deployments, err := c.deployments.List(namespace, labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing deployments failed")
		return
	}
	for _, bd := range deployments {
		if bd.DeletionTimestamp != nil {
			c.releaseQueue.Wake(kube.KeyOf(bd))
		}
		c.bundleQueue.Wake(kube.BundleOf(bd))
	}
}

// wakeClustersIn has the deployments of every cluster of a namespace looked at.
func (c *controller) wakeClustersIn(namespace string) {
	clusters, err := c.clusters.List(namespace, labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing clusters failed")
		return
	}
	for _, cluster := range clusters {
		c.wakeDeploymentsOf(names.ClusterNamespace(cluster.Namespace, cluster.Name))
	}
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
			c.wakeBundlesIn(m.Namespace)
		}
	}
}

func (c *controller) wakeBundlesIn(namespace string) {
	bundles, err := c.bundles.List(namespace, labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing bundles failed")
		return
	}
	for _, b := range bundles {
		c.bundleQueue.Wake(kube.KeyOf(b))
	}
}
