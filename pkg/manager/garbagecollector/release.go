package garbagecollector

import (
	"context"
	"fmt"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// collectRemoved lets a deployment go that is being deleted, once its agent has
// confirmed that everything is gone, or its cluster has left.
func (c *controller) collectRemoved(ctx context.Context, key kube.Key) error {
	bd, err := optional(c.deployments.Get(key.Namespace, key.Name))
	if err != nil || bd == nil || bd.DeletionTimestamp == nil {
		return err
	}
	verdict := ownership.Removing(bd, c.unregistered(bd))
	if verdict.Action != ownership.Release {
		return nil
	}
	return c.releaseDeployment(ctx, bd, verdict.Reason)
}

// unregistered says whether the agent of the deployment's cluster has no access
// any more: the cluster was seen leaving, or its place on the hub is. A
// workspace that is leaving is not enough: the cluster is about to follow, and
// its access is revoked first.
func (c *controller) unregistered(bd *fleet.BundleDeployment) bool {
	key := kube.ClusterOf(bd)
	c.graphs.RLock()
	defer c.graphs.RUnlock()
	return c.graph.State(ownership.IDOf(ownership.KindCluster, key.Namespace, key.Name)) == ownership.Leaving ||
		c.graph.State(ownership.IDOf(ownership.KindNamespace, "", bd.Namespace)) == ownership.Leaving
}

// releaseDeployment takes our finalizer off exactly the state of the deployment
// that was judged: if its agent has written since, it is judged again.
func (c *controller) releaseDeployment(ctx context.Context, bd *fleet.BundleDeployment, reason ownership.Reason) error {
	slim := func(finalizers []string) *fleet.BundleDeployment {
		return &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{
			Namespace: bd.Namespace, Name: bd.Name, ResourceVersion: bd.ResourceVersion, Finalizers: finalizers,
		}}
	}
	_, err := c.Hub.BundleDeployments.Patch(ctx, slim(bd.Finalizers), slim(without(bd.Finalizers, names.FinalizerDeployment)))
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("releasing deployment %s/%s: %w", bd.Namespace, bd.Name, err)
	}
	c.Log.WithFields(logrus.Fields{
		"deployment": bd.Name, "namespace": bd.Namespace, "bundle": kube.BundleOf(bd).String(), "reason": string(reason),
	}).Debug("Released deployment")
	return nil
}
