package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// targetsWorld reads what decides where the object is deployed: of all
// clusters, or of one alone.
func (s *session) targetsWorld(ctx context.Context, ref reference, only *kube.Key) (report.World, error) {
	w := report.World{}
	if err := s.readBundles(ctx, ref, &w); err != nil {
		return w, err
	}
	if err := s.readReach(ctx, s.namespace, &w); err != nil {
		return w, err
	}
	for _, namespace := range s.reached(w, only) {
		if err := s.readClusters(ctx, namespace, only, &w); err != nil {
			return w, err
		}
	}
	return w, s.readDeployments(ctx, ref, only, &w)
}

// readBundles reads the bundle with its GitRepo, or the GitRepo with its
// bundles.
func (s *session) readBundles(ctx context.Context, ref reference, w *report.World) error {
	repo := ref
	if ref.kind == kindBundle {
		b, err := s.Bundles.Get(ctx, s.namespace, ref.name)
		if err != nil {
			return s.absent(err, ref)
		}
		w.Bundles = append(w.Bundles, b)
		if repo = (reference{kindGitRepo, b.Labels[names.LabelRepoName]}); repo.name == "" {
			return nil
		}
	}
	r, err := s.GitRepos.Get(ctx, s.namespace, repo.name)
	switch {
	case err == nil:
		w.GitRepos = append(w.GitRepos, r)
	case ref.kind == kindGitRepo:
		return s.absent(err, ref)
	case !kube.IsGone(err, repo.name):
		return s.explain(fmt.Errorf("reading %s: %w", repo, err))
	}
	if ref.kind == kindGitRepo {
		bundles, err := all(ctx, s.Bundles, s.namespace, labelled(names.LabelRepoName, ref.name))
		if err != nil {
			return s.listed("bundles", err)
		}
		w.Bundles = append(w.Bundles, bundles...)
	}
	return nil
}

// readReach reads what says which other namespaces bundles can be deployed to.
func (s *session) readReach(ctx context.Context, namespace string, w *report.World) error {
	mappings, err := all(ctx, s.BundleNamespaceMappings, namespace, nil)
	if err != nil {
		return s.listed("bundle namespace mappings", err)
	}
	w.Mappings = mappings
	if len(mappings) == 0 {
		return nil
	}
	if w.Namespaces, err = all[*corev1.Namespace](ctx, s.Namespaces, "", nil); err != nil {
		return s.listed("namespaces, which a BundleNamespaceMapping selects", err)
	}
	return nil
}

// reached returns the namespaces whose clusters are to be read.
func (s *session) reached(w report.World, only *kube.Key) []string {
	if only != nil {
		return []string{only.Namespace}
	}
	namespaces := []string{s.namespace}
	for _, b := range w.Bundles {
		namespaces = append(namespaces, targeting.ReachOf(b, w.Mappings, w.Namespaces).Namespaces...)
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces)
}

// readClusters reads the clusters and the groups of a namespace, or of the whole
// hub.
func (s *session) readClusters(ctx context.Context, namespace string, only *kube.Key, w *report.World) error {
	clusters, err := s.clusters(ctx, namespace, only)
	if err != nil {
		return err
	}
	groups, err := all(ctx, s.ClusterGroups, namespace, nil)
	if err != nil {
		return s.listed("cluster groups of namespace "+namespace, err)
	}
	w.Clusters, w.Groups = append(w.Clusters, clusters...), append(w.Groups, groups...)
	return nil
}

func (s *session) clusters(ctx context.Context, namespace string, only *kube.Key) ([]*fleet.Cluster, error) {
	if only == nil {
		clusters, err := all(ctx, s.Clusters, namespace, nil)
		if err != nil {
			return nil, s.listed("clusters of namespace "+namespace, err)
		}
		return clusters, nil
	}
	c, err := s.Clusters.Get(ctx, only.Namespace, only.Name)
	switch {
	case kube.IsGone(err, only.Name):
		return nil, fmt.Errorf("there is no cluster %s: correct the name, or write it as NAMESPACE/NAME", only)
	case err != nil:
		return nil, s.explain(fmt.Errorf("reading cluster %s: %w", only, err))
	}
	return []*fleet.Cluster{c}, nil
}

// readDeployments reads the deployments of the bundles. They are in the
// namespaces of clusters, which not everybody may read: without them, it is
// not known what is there.
func (s *session) readDeployments(ctx context.Context, ref reference, only *kube.Key, w *report.World) error {
	namespace := ""
	if only != nil {
		namespace = names.ClusterNamespace(only.Namespace, only.Name)
	}
	key := names.LabelBundleName
	if ref.kind == kindGitRepo {
		key = names.LabelRepoName
	}
	deployments, err := all(ctx, s.BundleDeployments, namespace, labelled(names.LabelBundleNamespace, s.namespace, key, ref.name))
	switch {
	case apierrors.IsForbidden(err):
		w.DeploymentsUnknown = true
	case err != nil:
		return s.listed("deployments", err)
	}
	w.Deployments = deployments
	return nil
}

// labelled selects objects that have all of these labels, given as keys and
// values in turn.
func labelled(pairs ...string) labels.Selector {
	set := labels.Set{}
	for i := 0; i+1 < len(pairs); i += 2 {
		set[pairs[i]] = pairs[i+1]
	}
	return set.AsSelector()
}

// statusWorld reads the objects and what belongs to them; without references,
// everything of the workspace.
func (s *session) statusWorld(ctx context.Context, refs []reference) (report.World, error) {
	if len(refs) == 0 {
		return s.workspaceWorld(ctx)
	}
	w := report.World{}
	for _, ref := range refs {
		switch ref.kind {
		case kindGitRepo:
			if err := s.readBundles(ctx, ref, &w); err != nil {
				return w, err
			}
		case kindBundle:
			b, err := s.Bundles.Get(ctx, s.namespace, ref.name)
			if err != nil {
				return w, s.absent(err, ref)
			}
			w.Bundles = append(w.Bundles, b)
		case kindCluster:
			c, err := s.Clusters.Get(ctx, s.namespace, ref.name)
			if err != nil {
				return w, s.absent(err, ref)
			}
			w.Clusters = append(w.Clusters, c)
		}
	}
	return w, nil
}

// workspaceWorld reads all GitRepos, Bundles and Clusters of the workspace.
func (s *session) workspaceWorld(ctx context.Context) (w report.World, err error) {
	if w.GitRepos, err = all[*fleet.GitRepo](ctx, s.GitRepos, s.namespace, nil); err != nil {
		return w, s.listed("gitrepos", err)
	}
	if w.Bundles, err = all[*fleet.Bundle](ctx, s.Bundles, s.namespace, nil); err != nil {
		return w, s.listed("bundles", err)
	}
	if w.Clusters, err = all[*fleet.Cluster](ctx, s.Clusters, s.namespace, nil); err != nil {
		return w, s.listed("clusters", err)
	}
	return w, nil
}

// gcWorld reads everything of a workspace, or of all, that decides what goes.
func (s *session) gcWorld(ctx context.Context, now time.Time) (report.World, error) {
	w := report.World{Now: now}
	var err error
	if w.GitRepos, err = all[*fleet.GitRepo](ctx, s.GitRepos, s.namespace, nil); err != nil {
		return w, s.listed("gitrepos", err)
	}
	if w.Bundles, err = all[*fleet.Bundle](ctx, s.Bundles, s.namespace, nil); err != nil {
		return w, s.listed("bundles", err)
	}
	if err := s.readReach(ctx, s.namespace, &w); err != nil {
		return w, err
	}
	namespaces := []string{""}
	if s.namespace != "" {
		namespaces = s.reached(w, nil)
	}
	for _, namespace := range namespaces {
		if err := s.readClusters(ctx, namespace, nil, &w); err != nil {
			return w, err
		}
	}
	selector := labelled()
	if s.namespace != "" {
		selector = labelled(names.LabelBundleNamespace, s.namespace)
	}
	w.Deployments, err = all[*fleet.BundleDeployment](ctx, s.BundleDeployments, "", selector)
	if apierrors.IsForbidden(err) {
		w.DeploymentsUnknown, err = true, nil
	}
	if err != nil {
		return w, s.listed("deployments", err)
	}
	return w, nil
}
