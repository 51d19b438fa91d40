package garbagecollector

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
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
	ownership.Scene
	cluster func(kube.Key) *fleet.Cluster
	// leaves says whether the cluster of a deployment is being unregistered.
	leaves   func(*fleet.BundleDeployment) bool
	groups   func(namespace string) ([]*fleet.ClusterGroup, bool)
	reach    targeting.Reach
	matchers map[string]*targeting.Matcher
}

// judge decides about deployments of the world's bundle.
func (w *world) judge(pairs []ownership.Pair) ownership.Judgement {
	for i := range pairs {
		bd := pairs[i].Deployment
		pairs[i].Cluster, pairs[i].ClusterLeaves = w.cluster(kube.ClusterOf(bd)), w.leaves(bd)
	}
	return ownership.Judge(w.Scene, pairs, w.match)
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
		leaves: c.unregistering,
	}
	w.Bundle = bundle
	if bundle == nil {
		return w
	}
	if repo := kube.RepoOf(bundle); repo.Name != "" {
		w.GitRepo, _ = optional(c.gitrepos.Get(repo.Namespace, repo.Name))
	}
	mappings, err1 := c.mappings.List(bundle.Namespace, labels.Everything())
	namespaces, err2 := c.namespacesFor(len(mappings))
	if err1 != nil || err2 != nil {
		w.reach = unknownReach(bundle)
		return w
	}
	w.reach = targeting.ReachOf(bundle, mappings, namespaces)
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

// unregistering says whether the cluster of a deployment, its workspace or its
// place on the hub is being deleted.
func (c *controller) unregistering(bd *fleet.BundleDeployment) bool {
	c.graphs.RLock()
	defer c.graphs.RUnlock()
	if c.graph.Leaving(ownership.KindCluster)+c.graph.Leaving(ownership.KindNamespace) == 0 {
		return false // as nearly always, and it is asked for every deployment of a bundle
	}
	key := kube.ClusterOf(bd)
	for _, id := range []ownership.ID{
		ownership.IDOf(ownership.KindCluster, key.Namespace, key.Name),
		ownership.IDOf(ownership.KindNamespace, "", key.Namespace),
		ownership.IDOf(ownership.KindNamespace, "", bd.Namespace),
	} {
		if c.graph.State(id) == ownership.Leaving {
			return true
		}
	}
	return false
}

// liveWorld is the world as the API server shows it now. Each cause is read
// once for all the given deployments of one bundle.
func (c *controller) liveWorld(ctx context.Context, key kube.Key, pairs []ownership.Pair) (*world, error) {
	bundle, err := c.Hub.Bundles.Get(ctx, key.Namespace, key.Name)
	if err != nil {
		// Also if it is not there: it was a moment ago, and nobody but us lets
		// it go. The next event decides anew.
		return nil, fmt.Errorf("confirming bundle: %w", err)
	}
	w := &world{matchers: map[string]*targeting.Matcher{}}
	w.Bundle = bundle
	clusters := clustersOf(pairs)
	reads, ctx := errgroup.WithContext(ctx)
	reads.Go(func() error { return c.readParent(ctx, w) })
	reads.Go(func() (err error) {
		live, err := c.liveClusters(ctx, clusters)
		w.cluster = func(key kube.Key) *fleet.Cluster { return live[key] }
		return err
	})
	reads.Go(func() error { return c.readWorkspaces(ctx, w, clusters) })
	if bundle.DeletionTimestamp == nil {
		reads.Go(func() error { return c.readReach(ctx, w, clusters) })
		reads.Go(func() error { return c.readGroups(ctx, w, clusters) })
	}
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	return w, nil
}

// readParent reads what says whether the bundle's removals may be carried out.
func (c *controller) readParent(ctx context.Context, w *world) (err error) {
	if w.Bundle.DeletionTimestamp != nil {
		w.KindLeaves, err = c.kindLeaves(ctx, c.Hub.Bundles.Resource.Plural)
		return err
	}
	repo := kube.RepoOf(w.Bundle)
	if repo.Name == "" {
		return nil
	}
	if w.GitRepo, err = optional(c.Hub.GitRepos.Get(ctx, repo.Namespace, repo.Name)); err != nil {
		return fmt.Errorf("confirming gitrepo: %w", err)
	}
	return nil
}

// readReach reads the mappings, if a deployment depends on one.
func (c *controller) readReach(ctx context.Context, w *world, clusters map[kube.Key]bool) error {
	w.reach = targeting.ReachOf(w.Bundle, nil, nil)
	workspaces := namespacesOf(clusters)
	if delete(workspaces, w.Bundle.Namespace); len(workspaces) == 0 {
		return nil
	}
	leaves, err := c.kindLeaves(ctx, c.Hub.BundleNamespaceMappings.Resource.Plural)
	if err != nil {
		return err
	}
	if leaves {
		w.reach = unknownReach(w.Bundle)
		return nil
	}
	mappings, err := c.Hub.BundleNamespaceMappings.List(ctx, w.Bundle.Namespace, nil)
	if err != nil {
		return fmt.Errorf("confirming bundle namespace mappings: %w", err)
	}
	if len(mappings.Items) == 0 {
		return nil
	}
	namespaces, err := c.Hub.Namespaces.List(ctx, "", nil)
	if err != nil {
		return fmt.Errorf("confirming namespaces: %w", err)
	}
	w.reach = targeting.ReachOf(w.Bundle, pointers(mappings.Items), pointers(namespaces.Items))
	return nil
}

// readGroups reads the groups, if the targets depend on them.
func (c *controller) readGroups(ctx context.Context, w *world, clusters map[kube.Key]bool) error {
	groups := map[string][]*fleet.ClusterGroup{}
	w.groups = func(namespace string) ([]*fleet.ClusterGroup, bool) {
		g, ok := groups[namespace]
		return g, ok
	}
	uses := usesGroups(w.Bundle)
	if uses {
		// Groups that go with their definition are not known to be unwanted.
		if leaves, err := c.kindLeaves(ctx, c.Hub.ClusterGroups.Resource.Plural); err != nil || leaves {
			return err
		}
	}
	for namespace := range namespacesOf(clusters) {
		if !uses {
			groups[namespace] = nil
			continue
		}
		list, err := c.Hub.ClusterGroups.List(ctx, namespace, nil)
		if err != nil {
			return fmt.Errorf("confirming cluster groups: %w", err)
		}
		groups[namespace] = pointers(list.Items)
	}
	return nil
}

// readWorkspaces reads whether the clusters' workspaces are being deleted,
// which unregisters their clusters.
func (c *controller) readWorkspaces(ctx context.Context, w *world, clusters map[kube.Key]bool) error {
	leaving := map[string]bool{}
	for name := range namespacesOf(clusters) {
		namespace, err := c.Hub.Namespaces.Get(ctx, "", name)
		if err != nil {
			return fmt.Errorf("confirming namespace: %w", err)
		}
		leaving[name] = namespace.DeletionTimestamp != nil
	}
	w.leaves = func(bd *fleet.BundleDeployment) bool {
		key := kube.ClusterOf(bd)
		cluster := w.cluster(key)
		return cluster != nil && cluster.DeletionTimestamp != nil || leaving[key.Namespace] || c.unregistering(bd)
	}
	return nil
}

func clustersOf(pairs []ownership.Pair) map[kube.Key]bool {
	wanted := map[kube.Key]bool{}
	for _, p := range pairs {
		if key := kube.ClusterOf(p.Deployment); key.Name != "" {
			wanted[key] = true
		}
	}
	return wanted
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
	if err != nil {
		return nil, err
	}
	return obj, nil
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
