package kube

import (
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Indexes of the hub's caches. The values are what Key.String returns, or the
// name of a Content.
const (
	// DeploymentsByBundle finds the deployments of a bundle.
	DeploymentsByBundle = "bundle"
	// DeploymentsByContent finds the deployments that run or are to run a Content.
	DeploymentsByContent = "content"
	// DeploymentsByRepo finds the deployments of a GitRepo's bundles.
	DeploymentsByRepo = "repo"
	// BundlesByRepo finds the bundles of a GitRepo.
	BundlesByRepo = "repo"
	// ByClientID finds the Clusters and the ClusterRegistrations of a workspace
	// with a clientID.
	ByClientID = "clientID"
)

// AddIndexes adds the indexes that the manager's controllers share. It must be
// called once, before Start.
func (h *Hub) AddIndexes() {
	h.BundleDeployments.AddIndex(DeploymentsByBundle, func(bd *fleet.BundleDeployment) []string {
		return keyValues(BundleOf(bd))
	})
	h.BundleDeployments.AddIndex(DeploymentsByContent, ContentsOf)
	h.BundleDeployments.AddIndex(DeploymentsByRepo, func(bd *fleet.BundleDeployment) []string {
		return keyValues(Key{Namespace: bd.Labels[names.LabelBundleNamespace], Name: bd.Labels[names.LabelRepoName]})
	})
	h.Clusters.AddIndex(ByClientID, func(c *fleet.Cluster) []string {
		return keyValues(Key{Namespace: c.Namespace, Name: c.Spec.ClientID})
	})
	h.ClusterRegistrations.AddIndex(ByClientID, func(r *fleet.ClusterRegistration) []string {
		return keyValues(Key{Namespace: r.Namespace, Name: r.Spec.ClientID})
	})
	h.Bundles.AddIndex(BundlesByRepo, func(b *fleet.Bundle) []string {
		return keyValues(RepoOf(b))
	})
}

func keyValues(key Key) []string {
	if key.Name == "" {
		return nil
	}
	return []string{key.String()}
}

// KeyOf returns the key of an object.
func KeyOf(obj Named) Key { return Key{Namespace: obj.GetNamespace(), Name: obj.GetName()} }

// Named is the part of an object that names it.
type Named interface {
	GetNamespace() string
	GetName() string
}

// BundleOf returns the key of the bundle that a deployment belongs to; its
// name is empty if the labels do not say.
func BundleOf(bd *fleet.BundleDeployment) Key {
	return Key{Namespace: bd.Labels[names.LabelBundleNamespace], Name: bd.Labels[names.LabelBundleName]}
}

// ClusterOf returns the key of the Cluster that a deployment belongs to.
func ClusterOf(bd *fleet.BundleDeployment) Key {
	return Key{Namespace: bd.Labels[names.LabelClusterNamespace], Name: bd.Labels[names.LabelCluster]}
}

// RepoOf returns the key of the GitRepo that made a bundle; its name is empty
// if none did.
func RepoOf(b *fleet.Bundle) Key {
	return Key{Namespace: b.Namespace, Name: b.Labels[names.LabelRepoName]}
}

// ContentsOf returns the names of the Contents that a deployment runs or is to
// run.
func ContentsOf(bd *fleet.BundleDeployment) []string {
	var contents []string
	for _, id := range []string{bd.Spec.DeploymentID, bd.Spec.StagedDeploymentID} {
		if name, _, ok := strings.Cut(id, ":"); ok && name != "" && (len(contents) == 0 || contents[0] != name) {
			contents = append(contents, name)
		}
	}
	return contents
}
