package garbagecollector

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
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
func (c *controller) unregister(ctx context.Context, key kube.Key) (time.Duration, error) {
	cluster, err := optional(c.clusters.Get(key.Namespace, key.Name))
	if err != nil || cluster == nil || cluster.DeletionTimestamp == nil || !slices.Contains(cluster.Finalizers, names.FinalizerCluster) {
		return 0, err
	}
	namespace, err := c.Hub.Namespaces.Get(ctx, "", names.ClusterNamespace(key.Namespace, key.Name))
	switch {
	case apierrors.IsNotFound(err):
		return 0, c.releaseCluster(ctx, cluster)
	case err != nil:
		return 0, fmt.Errorf("reading cluster namespace: %w", err)
	case !belongsTo(namespace, key):
		// A namespace of somebody else has the name: leave it alone.
		return 0, c.releaseCluster(ctx, cluster)
	}
	if err := c.revoke(ctx, namespace.Name); err != nil {
		return 0, err
	}
	if err := c.dropDeployments(ctx, namespace.Name); err != nil {
		return 0, err
	}
	if namespace.DeletionTimestamp == nil {
		if err := c.Hub.Namespaces.Delete(ctx, namespace); err != nil && !apierrors.IsNotFound(err) {
			return 0, fmt.Errorf("deleting cluster namespace: %w", err)
		}
		c.Metrics.deleted("Namespace", ownership.ReasonClusterDeleted)
		c.Log.WithFields(logrus.Fields{"cluster": key.String(), "namespace": namespace.Name}).Info("Unregistered cluster; its workloads stay")
	}
	return 0, c.releaseCluster(ctx, cluster)
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
	var droppers errgroup.Group
	droppers.SetLimit(max(c.Parallel, 1))
	for i := range list.Items {
		droppers.Go(func() error { return c.dropDeployment(ctx, &list.Items[i]) })
	}
	return droppers.Wait()
}

func (c *controller) dropDeployment(ctx context.Context, bd *fleet.BundleDeployment) error {
	after := bd.DeepCopy()
	after.Finalizers = without(after.Finalizers, names.FinalizerDeployment)
	if _, err := c.Hub.BundleDeployments.Patch(ctx, bd, after); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("releasing deployment %s: %w", bd.Name, err)
	}
	if bd.DeletionTimestamp != nil {
		return nil
	}
	live, err := optional(c.Hub.BundleDeployments.Get(ctx, bd.Namespace, bd.Name))
	if err != nil || live == nil {
		return err
	}
	return c.deleteDeployment(ctx, candidate{live, ownership.ReasonClusterDeleted})
}

func (c *controller) releaseCluster(ctx context.Context, cluster *fleet.Cluster) error {
	after := cluster.DeepCopy()
	after.Finalizers = without(after.Finalizers, names.FinalizerCluster)
	if _, err := c.Hub.Clusters.Patch(ctx, cluster, after); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("releasing cluster: %w", err)
	}
	return nil
}
