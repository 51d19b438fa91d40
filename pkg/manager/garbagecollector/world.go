package garbagecollector

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// world is everything that decides whether a bundle justifies a deployment.
// What it could not read is unknown, never absent.
type world struct {
	bundle   *fleet.Bundle
	cluster  func(kube.Key) *fleet.Cluster
	groups   func(namespace string) ([]*fleet.ClusterGroup, bool)
	reach    targeting.Reach
	matchers map[string]*targeting.Matcher
}

// match says whether the bundle's targets match the cluster.
func (w *world) match(bundle *fleet.Bundle, cluster *fleet.Cluster) ownership.Match {
	if !w.reach.Contains(cluster.Namespace) {
		if len(w.reach.Problems) > 0 {
			return ownership.MatchUnknown
		}
		return ownership.MatchNo
	}
	matcher, ok := w.matchers[cluster.Namespace]
	if !ok {
		groups, known := w.groups(cluster.Namespace)
		if !known {
			return ownership.MatchUnknown
		}
		matcher = targeting.Compile(bundle.Namespace, &bundle.Spec, groups)
		w.matchers[cluster.Namespace] = matcher
	}
	switch matcher.Match(cluster).Outcome {
	case targeting.Matched:
		return ownership.MatchYes
	case targeting.Unmatched, targeting.Excluded:
		return ownership.MatchNo
	case targeting.Unknown:
	}
	return ownership.MatchUnknown
}

// cachedWorld is the world as the caches show it: good enough to propose.
func (c *controller) cachedWorld(bundle *fleet.Bundle) *world {
	w := &world{
		bundle:   bundle,
		matchers: map[string]*targeting.Matcher{},
		cluster: func(key kube.Key) *fleet.Cluster {
			cluster, err := c.clusters.Get(key.Namespace, key.Name)
			if err != nil {
				return nil
			}
			return cluster
		},
		groups: func(namespace string) ([]*fleet.ClusterGroup, bool) {
			groups, err := c.groups.List(namespace, labels.Everything())
			return groups, err == nil
		},
	}
	if bundle != nil {
		mappings, err1 := c.mappings.List(bundle.Namespace, labels.Everything())
		namespaces, err2 := c.namespacesFor(len(mappings))
		if err1 != nil || err2 != nil {
			w.reach = unknownReach(bundle)
		} else {
			w.reach = targeting.ReachOf(bundle, mappings, namespaces)
		}
	}
	return w
}

func (c *controller) namespacesFor(mappings int) ([]*corev1.Namespace, error) {
	if mappings == 0 {
		return nil, nil
	}
	return c.namespaces.List("", labels.Everything())
}

func unknownReach(bundle *fleet.Bundle) targeting.Reach {
	return targeting.Reach{
		Namespaces: []string{bundle.Namespace},
		Problems:   []targeting.Problem{{Field: "bundlenamespacemapping", Message: "the mappings could not be listed"}},
	}
}

// manyClusters is from how many clusters on one list is cheaper than one read
// each.
const manyClusters = 20

// liveWorld is the world as the API server shows it now, read once per cause
// for all the given deployments of one bundle.
func (c *controller) liveWorld(ctx context.Context, key kube.Key, deployments []*fleet.BundleDeployment) (*world, error) {
	bundle, err := c.Hub.Bundles.Get(ctx, key.Namespace, key.Name)
	if err != nil {
		// Also if it is not there: it was a moment ago, and nobody but us lets
		// it go. The next event decides anew.
		return nil, fmt.Errorf("confirming bundle: %w", err)
	}
	w := &world{bundle: bundle, matchers: map[string]*targeting.Matcher{}}
	if w.reach, err = c.liveReach(ctx, bundle); err != nil {
		return nil, err
	}
	clusters, err := c.liveClusters(ctx, deployments)
	if err != nil {
		return nil, err
	}
	w.cluster = func(key kube.Key) *fleet.Cluster { return clusters[key] }
	groups := map[string][]*fleet.ClusterGroup{}
	for namespace := range namespacesOf(clusters) {
		list, err := c.Hub.ClusterGroups.List(ctx, namespace, nil)
		if err != nil {
			return nil, fmt.Errorf("confirming cluster groups: %w", err)
		}
		groups[namespace] = pointers(list.Items)
	}
	w.groups = func(namespace string) ([]*fleet.ClusterGroup, bool) {
		g, ok := groups[namespace]
		return g, ok
	}
	return w, nil
}

func (c *controller) liveReach(ctx context.Context, bundle *fleet.Bundle) (targeting.Reach, error) {
	mappings, err := c.Hub.BundleNamespaceMappings.List(ctx, bundle.Namespace, nil)
	if err != nil {
		return targeting.Reach{}, fmt.Errorf("confirming bundle namespace mappings: %w", err)
	}
	if len(mappings.Items) == 0 {
		return targeting.ReachOf(bundle, nil, nil), nil
	}
	namespaces, err := c.Hub.Namespaces.List(ctx, "", nil)
	if err != nil {
		return targeting.Reach{}, fmt.Errorf("confirming namespaces: %w", err)
	}
	return targeting.ReachOf(bundle, pointers(mappings.Items), pointers(namespaces.Items)), nil
}

// liveClusters reads the deployments' clusters. A cluster that is not there
// is left out.
func (c *controller) liveClusters(ctx context.Context, deployments []*fleet.BundleDeployment) (map[kube.Key]*fleet.Cluster, error) {
	wanted := map[kube.Key]bool{}
	for _, bd := range deployments {
		wanted[kube.ClusterOf(bd)] = true
	}
	clusters := map[kube.Key]*fleet.Cluster{}
	if len(wanted) >= manyClusters {
		for namespace := range namespacesOf(wanted) {
			list, err := c.Hub.Clusters.List(ctx, namespace, nil)
			if err != nil {
				return nil, fmt.Errorf("confirming clusters: %w", err)
			}
			for i := range list.Items {
				clusters[kube.KeyOf(&list.Items[i])] = &list.Items[i]
			}
		}
		return clusters, nil
	}
	for key := range wanted {
		cluster, err := c.Hub.Clusters.Get(ctx, key.Namespace, key.Name)
		switch {
		case err == nil:
			clusters[key] = cluster
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("confirming cluster: %w", err)
		}
	}
	return clusters, nil
}

func namespacesOf[V any](keys map[kube.Key]V) map[string]bool {
	namespaces := map[string]bool{}
	for key := range keys {
		namespaces[key.Namespace] = true
	}
	return namespaces
}

// deploymentsOf selects the deployments of a bundle.
func deploymentsOf(bundle *fleet.Bundle) labels.Selector {
	return labels.SelectorFromSet(labels.Set{
		names.LabelBundleName: bundle.Name, names.LabelBundleNamespace: bundle.Namespace,
	})
}

// optional turns "not found" into nil.
func optional[T any](obj *T, err error) (*T, error) {
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return obj, err
}

// unmarked leaves out what is already being deleted.
func unmarked[T metav1.Object](objects []T) []T {
	var kept []T
	for _, o := range objects {
		if o.GetDeletionTimestamp() == nil {
			kept = append(kept, o)
		}
	}
	return kept
}

func pointers[T any](items []T) []*T {
	ptrs := make([]*T, len(items))
	for i := range items {
		ptrs[i] = &items[i]
	}
	return ptrs
}

func without(finalizers []string, finalizer string) []string {
	var kept []string
	for _, f := range finalizers {
		if f != finalizer {
			kept = append(kept, f)
		}
	}
	return kept
}
