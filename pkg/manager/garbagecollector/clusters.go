package garbagecollector

import (
	"context"
	"fmt"
	"slices"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// unregister takes apart what the hub holds for a Cluster that is being
// deleted. Its workloads stay: access goes first, then the finalizers that
// wait for its agent, then the namespace with all that is in it.
func (c *controller) unregister(ctx context.Context, key kube.Key) error {
	cluster, err := optional(c.clusters.Get(key.Namespace, key.Name))
	if err != nil || cluster == nil || cluster.DeletionTimestamp == nil || !slices.Contains(cluster.Finalizers, names.FinalizerCluster) {
		return err
	}
	leaves, err := c.kindLeaves(ctx, c.Hub.Clusters.Resource.Plural)
	if err != nil {
		return err
	}
	if leaves {
		c.Log.WithField("cluster", key.String()).Warn("The definition of Clusters is being deleted, which unregisters no cluster")
		return nil
	}
	namespace, err := c.Hub.Namespaces.Get(ctx, "", names.ClusterNamespace(key.Namespace, key.Name))
	switch {
	case apierrors.IsNotFound(err):
		return c.releaseCluster(ctx, cluster)
	case err != nil:
		return fmt.Errorf("reading cluster namespace: %w", err)
	case !belongsTo(namespace, key):
		// A namespace of somebody else has the name: leave it alone.
		return c.releaseCluster(ctx, cluster)
	}
	if err := c.revoke(ctx, namespace.Name); err != nil {
		return err
	}
	if err := c.dropDeployments(ctx, namespace.Name); err != nil {
		return err
	}
	if namespace.DeletionTimestamp == nil {
		if err := c.deleteNamespace(ctx, namespace); err != nil {
			return err
		}
		c.Log.WithFields(logrus.Fields{"cluster": key.String(), "namespace": namespace.Name}).Info("Unregistered cluster; its workloads stay")
	}
	return c.releaseCluster(ctx, cluster)
}

// belongsTo says whether the namespace was made for the cluster.
func belongsTo(namespace metav1.Object, key kube.Key) bool {
	annotations := namespace.GetAnnotations()
	return annotations[names.AnnotationCluster] == key.Name && annotations[names.AnnotationClusterNamespace] == key.Namespace
}

// revoke takes the agent's access away: without a binding it may do nothing,
// and without its service account its tokens are void.
func (c *controller) revoke(ctx context.Context, namespace string) error {
	err := c.Hub.Kubernetes.RbacV1().RoleBindings(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("revoking access: %w", err)
	}
	err = c.Hub.Kubernetes.CoreV1().ServiceAccounts(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{
		LabelSelector: names.LabelManaged + "=true",
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("revoking tokens: %w", err)
	}
	return nil
}

// dropDeployments takes our finalizer off every deployment of the cluster and
// deletes it. The list is live: the cache may miss the newest.
func (c *controller) dropDeployments(ctx context.Context, namespace string) error {
	list, err := c.Hub.BundleDeployments.List(ctx, namespace, nil)
	if err != nil {
		return fmt.Errorf("listing deployments: %w", err)
	}
	return c.requests.Write(ctx, len(list.Items), func(i int) error { return c.dropDeployment(ctx, &list.Items[i]) })
}

func (c *controller) dropDeployment(ctx context.Context, bd *fleet.BundleDeployment) error {
	after := bd.DeepCopy()
	after.Finalizers = without(after.Finalizers, names.FinalizerDeployment)
	freed, err := c.Hub.BundleDeployments.Change(ctx, bd, after)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("releasing deployment %s: %w", bd.Name, err)
	}
	if bd.DeletionTimestamp != nil {
		return nil
	}
	if err := c.Hub.BundleDeployments.Delete(ctx, freed); err != nil && !apierrors.IsNotFound(err) {
		c.Metrics.failed(ownership.KindDeployment)
		return fmt.Errorf("deleting deployment %s: %w", bd.Name, err)
	}
	c.Metrics.deleted(ownership.KindDeployment, ownership.ReasonClusterDeleted)
	return nil
}

func (c *controller) deleteNamespace(ctx context.Context, namespace *corev1.Namespace) error {
	if err := c.Hub.Namespaces.Delete(ctx, namespace); err != nil && !apierrors.IsNotFound(err) {
		c.Metrics.failed(ownership.KindNamespace)
		return fmt.Errorf("deleting cluster namespace: %w", err)
	}
	c.Metrics.deleted(ownership.KindNamespace, ownership.ReasonClusterDeleted)
	return nil
}

// sweep deletes a cluster namespace that was made a moment too late: its
// cluster had been unregistered. Only that counts; a Cluster that is merely not
// there, as after its definition was deleted, proves nothing.
func (c *controller) sweep(ctx context.Context, key kube.Key) error {
	namespace, err := optional(c.namespaces.Get("", key.Name))
	if err != nil || namespace == nil || namespace.DeletionTimestamp != nil {
		return err
	}
	id, ours := ownership.ClusterOfNamespace(namespace)
	if !ours || namespace.Name != names.ClusterNamespace(id.Namespace(), id.Name()) {
		return nil
	}
	c.graphs.RLock()
	state := c.graph.State(id)
	c.graphs.RUnlock()
	if state != ownership.Released {
		return nil
	}
	if leaves, err := c.kindLeaves(ctx, c.Hub.Clusters.Resource.Plural); err != nil || leaves {
		return err
	}
	_, err = c.Hub.Clusters.Get(ctx, id.Namespace(), id.Name())
	if !kube.IsGone(err, id.Name()) {
		// It is there again, or that is not known.
		return err
	}
	if err := c.revoke(ctx, namespace.Name); err != nil {
		return err
	}
	if err := c.dropDeployments(ctx, namespace.Name); err != nil {
		return err
	}
	if err := c.deleteNamespace(ctx, namespace); err != nil {
		return err
	}
	c.Log.WithFields(logrus.Fields{"cluster": id.Namespace() + "/" + id.Name(), "namespace": namespace.Name}).
		Info("Deleted a namespace that outlived its cluster")
	return nil
}

func (c *controller) releaseCluster(ctx context.Context, cluster *fleet.Cluster) error {
	// Noted before the watch can tell that it is gone.
	c.feed.push(change{object: ownership.OfCluster(cluster), released: true})
	after := cluster.DeepCopy()
	after.Finalizers = without(after.Finalizers, names.FinalizerCluster)
	if _, err := c.Hub.Clusters.Patch(ctx, cluster, after); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("releasing cluster: %w", err)
	}
	return nil
}
