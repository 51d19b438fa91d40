package oracle

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// World is what a hub holds. Its objects are not changed, but replaced.
type World struct {
	GitRepos    map[kube.Key]*fleet.GitRepo
	Bundles     map[kube.Key]*fleet.Bundle
	Deployments map[kube.Key]*fleet.BundleDeployment
	Clusters    map[kube.Key]*fleet.Cluster
	Groups      map[kube.Key]*fleet.ClusterGroup
	Mappings    map[kube.Key]*fleet.BundleNamespaceMapping
	Contents    map[kube.Key]*fleet.Content
	// Namespaces holds the labels of the workspaces, which are told and not read: the store has them in a form of its own.
	Namespaces map[string]map[string]string
}

// NewWorld returns an empty world with these workspaces.
func NewWorld(namespaces map[string]map[string]string) *World {
	return &World{
		GitRepos:    map[kube.Key]*fleet.GitRepo{},
		Bundles:     map[kube.Key]*fleet.Bundle{},
		Deployments: map[kube.Key]*fleet.BundleDeployment{},
		Clusters:    map[kube.Key]*fleet.Cluster{},
		Groups:      map[kube.Key]*fleet.ClusterGroup{},
		Mappings:    map[kube.Key]*fleet.BundleNamespaceMapping{},
		Contents:    map[kube.Key]*fleet.Content{},
		Namespaces:  namespaces,
	}
}

// Apply makes a change. It returns how to undo it; nil if the change is none of the world's business.
func (w *World) Apply(c harness.Change) (undo func(), err error) {
	kind, ok := strings.CutPrefix(c.Resource, fleet.SchemeGroupVersion.Group+"/")
	if !ok {
		return nil, nil
	}
	switch kind {
	case "gitrepos":
		return apply(w.GitRepos, c)
	case "bundles":
		return apply(w.Bundles, c)
	case "bundledeployments":
		return apply(w.Deployments, c)
	case "clusters":
		return apply(w.Clusters, c)
	case "clustergroups":
		return apply(w.Groups, c)
	case "bundlenamespacemappings":
		return apply(w.Mappings, c)
	case "contents":
		return apply(w.Contents, c)
	}
	return nil, nil
}

func apply[T any](objects map[kube.Key]*T, c harness.Change) (undo func(), err error) {
	key := kube.Key{Namespace: c.Namespace, Name: c.Name}
	before, was := objects[key]
	undo = func() {
		if was {
			objects[key] = before
		} else {
			delete(objects, key)
		}
	}
	if c.Value == nil {
		delete(objects, key)
		return undo, nil
	}
	obj := new(T)
	if err := json.Unmarshal(c.Value, obj); err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", c.Resource, key, err)
	}
	setVersion(obj, c.Revision)
	objects[key] = obj
	return undo, nil
}

// setVersion fills in what the store does not hold: an object's version is the revision that it was written at.
func setVersion(obj any, revision int64) {
	if o, ok := obj.(interface{ SetResourceVersion(string) }); ok {
		o.SetResourceVersion(fmt.Sprint(revision))
	}
}

// groupsOf returns the groups of a namespace, always in the same order.
func (w *World) groupsOf(namespace string) []*fleet.ClusterGroup {
	var groups []*fleet.ClusterGroup
	for _, g := range w.Groups {
		if g.Namespace == namespace {
			groups = append(groups, g)
		}
	}
	slices.SortFunc(groups, func(a, b *fleet.ClusterGroup) int { return strings.Compare(a.Name, b.Name) })
	return groups
}

// BundleOf returns the bundle that a deployment says it is of; nil if it is not there.
func (w *World) BundleOf(bd *fleet.BundleDeployment) *fleet.Bundle {
	return w.Bundles[kube.BundleOf(bd)]
}

// ClusterOf returns the cluster that a deployment says it is on; nil if it is not there.
func (w *World) ClusterOf(bd *fleet.BundleDeployment) *fleet.Cluster {
	return w.Clusters[kube.ClusterOf(bd)]
}
