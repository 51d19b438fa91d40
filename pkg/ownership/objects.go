package ownership

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// OfGitRepo returns what the graph needs to know of a GitRepo.
func OfGitRepo(r *fleet.GitRepo) Object { return inWorkspace(KindGitRepo, r) }

// OfHelmOp returns what the graph needs to know of a HelmOp.
func OfHelmOp(h *fleet.HelmOp) Object { return inWorkspace(KindHelmOp, h) }

// OfCluster returns what the graph needs to know of a Cluster.
func OfCluster(c *fleet.Cluster) Object { return inWorkspace(KindCluster, c) }

// OfBundle returns what the graph needs to know of a Bundle.
func OfBundle(b *fleet.Bundle) Object {
	o := inWorkspace(KindBundle, b)
	if repo := b.Labels[names.LabelRepoName]; repo != "" {
		o.Refs = append(o.Refs, IDOf(KindGitRepo, b.Namespace, repo))
	}
	if op := b.Labels[names.LabelHelmName]; op != "" {
		o.Refs = append(o.Refs, IDOf(KindHelmOp, b.Namespace, op))
	}
	return o
}

// OfDeployment returns what the graph needs to know of a BundleDeployment.
func OfDeployment(bd *fleet.BundleDeployment) Object {
	o := object(KindDeployment, bd)
	if name := bd.Labels[names.LabelBundleName]; name != "" {
		o.Refs = append(o.Refs, IDOf(KindBundle, bd.Labels[names.LabelBundleNamespace], name))
	}
	if name := bd.Labels[names.LabelCluster]; name != "" {
		o.Refs = append(o.Refs, IDOf(KindCluster, bd.Labels[names.LabelClusterNamespace], name))
	}
	for _, id := range []string{bd.Spec.DeploymentID, bd.Spec.StagedDeploymentID} {
		content, _, ok := strings.Cut(id, ":")
		if !ok || content == "" {
			continue
		}
		if used := IDOf(KindContent, "", content); !slices.Contains(o.Refs, used) {
			o.Refs = append(o.Refs, used)
		}
	}
	return o
}

// OfContent returns what the graph needs to know of a Content.
func OfContent(c *fleet.Content) Object { return object(KindContent, c) }

// OfSecret returns what the graph needs to know of a Secret with values.
func OfSecret(s *corev1.Secret) Object {
	o := object(KindSecret, s)
	switch s.Type {
	case names.SecretTypeDeployment:
		o.Refs = []ID{IDOf(KindDeployment, s.Namespace, s.Name)}
	case names.SecretTypeBundleValues:
		o.Refs = []ID{IDOf(KindBundle, s.Namespace, s.Name)}
	}
	return o
}

// OfNamespace returns what the graph needs to know of a namespace. That of a
// cluster belongs to it.
func OfNamespace(ns *corev1.Namespace) Object {
	o := object(KindNamespace, ns)
	if cluster, ok := ClusterOfNamespace(ns); ok {
		o.Refs = []ID{cluster}
	}
	return o
}

// ClusterOfNamespace returns the Cluster that a namespace was made for.
func ClusterOfNamespace(ns *corev1.Namespace) (ID, bool) {
	name := ns.Annotations[names.AnnotationCluster]
	if name == "" || ns.Labels[names.LabelManaged] != "true" {
		return ID{}, false
	}
	return IDOf(KindCluster, ns.Annotations[names.AnnotationClusterNamespace], name), true
}

func object(kind Kind, o metav1.Object) Object {
	return Object{ID: IDOf(kind, o.GetNamespace(), o.GetName()), Leaving: o.GetDeletionTimestamp() != nil}
}

func inWorkspace(kind Kind, o metav1.Object) Object {
	made := object(kind, o)
	made.Refs = []ID{IDOf(KindNamespace, "", o.GetNamespace())}
	return made
}

// Belongs says whether the deployment is one of the bundle's.
func Belongs(bd *fleet.BundleDeployment, bundle ID) bool {
	return bundle.Kind == KindBundle && bundle.Name() != "" && bd.Labels[names.LabelBundleName] == bundle.Name() &&
		bd.Labels[names.LabelBundleNamespace] == bundle.Namespace()
}
