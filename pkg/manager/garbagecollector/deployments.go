package garbagecollector

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// collectDeployments deletes the deployments that the bundle no longer
// justifies, and lets the bundle go once it is being deleted and every one of
// them is marked.
func (c *controller) collectDeployments(ctx context.Context, key kube.Key) (time.Duration, error) {
	bundle, err := optional(c.bundles.Get(key.Namespace, key.Name))
	if err != nil {
		return 0, fmt.Errorf("reading bundle: %w", err)
	}
	deployments, err := c.deployments.GetByIndex(kube.DeploymentsByBundle, key.String())
	if err != nil {
		return 0, fmt.Errorf("listing deployments: %w", err)
	}
	deployments = unmarked(deployments)
	candidates := c.candidates(c.cachedWorld(bundle), deployments)
	if len(candidates) > 0 {
		if candidates, err = c.confirm(ctx, key, candidates); err != nil {
			return 0, err
		}
		return 0, c.deleteDeployments(ctx, candidates)
	}
	if bundle != nil && bundle.DeletionTimestamp != nil {
		return 0, c.releaseBundle(ctx, bundle)
	}
	return 0, nil
}

// candidate is a deployment that is to go, and why.
type candidate struct {
	deployment *fleet.BundleDeployment
	reason     ownership.Reason
}

// candidates returns the deployments that the world does not justify.
func (c *controller) candidates(w *world, deployments []*fleet.BundleDeployment) []candidate {
	var found []candidate
	for _, bd := range deployments {
		verdict := ownership.Deployment(ownership.DeploymentFacts{
			Deployment: bd, Bundle: w.bundle, Cluster: w.cluster(kube.ClusterOf(bd)), Match: w.match,
		})
		switch verdict.Action {
		case ownership.Delete:
			found = append(found, candidate{bd, verdict.Reason})
		case ownership.Orphaned:
			c.Metrics.orphan("BundleDeployment")
			c.Log.WithFields(logrus.Fields{
				"deployment": bd.Name, "namespace": bd.Namespace, "bundle": kube.BundleOf(bd).String(), "reason": string(verdict.Reason),
			}).Warn("Deployment has no owner, and its owner was not seen leaving: it is kept")
		case ownership.Keep, ownership.Release, ownership.Wait:
		}
	}
	return found
}

// confirm reads the causes of the candidates from the API server and makes the
// decision again from what it says.
func (c *controller) confirm(ctx context.Context, key kube.Key, candidates []candidate) ([]candidate, error) {
	deployments := make([]*fleet.BundleDeployment, 0, len(candidates))
	for _, candidate := range candidates {
		deployments = append(deployments, candidate.deployment)
	}
	live, err := c.liveWorld(ctx, key, deployments)
	if err != nil {
		return nil, err
	}
	return c.candidates(live, deployments), nil
}

func (c *controller) deleteDeployments(ctx context.Context, candidates []candidate) error {
	var deleters errgroup.Group
	deleters.SetLimit(max(c.Parallel, 1))
	for _, candidate := range candidates {
		deleters.Go(func() error { return c.deleteDeployment(ctx, candidate) })
	}
	return deleters.Wait()
}

func (c *controller) deleteDeployment(ctx context.Context, candidate candidate) error {
	bd := candidate.deployment
	err := c.Hub.BundleDeployments.Delete(ctx, bd)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting deployment %s/%s: %w", bd.Namespace, bd.Name, err)
	}
	c.Metrics.deleted("BundleDeployment", candidate.reason)
	c.Log.WithFields(logrus.Fields{
		"deployment": bd.Name, "namespace": bd.Namespace, "bundle": kube.BundleOf(bd).String(),
		"cluster": kube.ClusterOf(bd).String(), "reason": string(candidate.reason),
	}).Info("Deleted deployment")
	return nil
}

// releaseBundle takes our finalizer off a bundle whose deployments are all
// marked. The cache may be behind the controller that creates them, so the API
// server is asked.
func (c *controller) releaseBundle(ctx context.Context, bundle *fleet.Bundle) error {
	if !slices.Contains(bundle.Finalizers, names.FinalizerBundle) {
		return nil
	}
	facts := ownership.ParentFacts{Generation: bundle.Generation, ObservedGeneration: bundle.Status.ObservedGeneration}
	if ownership.Parent(facts).Action == ownership.Wait {
		return nil
	}
	list, err := c.Hub.BundleDeployments.List(ctx, "", deploymentsOf(bundle))
	if err != nil {
		return fmt.Errorf("listing deployments: %w", err)
	}
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			facts.Unmarked++
		}
	}
	if ownership.Parent(facts).Action != ownership.Release {
		// The event of the deployment that the cache does not hold yet wakes us.
		return nil
	}
	return c.dropBundleFinalizer(ctx, bundle)
}

func (c *controller) dropBundleFinalizer(ctx context.Context, bundle *fleet.Bundle) error {
	after := bundle.DeepCopy()
	after.Finalizers = without(after.Finalizers, names.FinalizerBundle)
	if _, err := c.Hub.Bundles.Patch(ctx, bundle, after); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("releasing bundle: %w", err)
	}
	return nil
}

// release takes our finalizer off a deployment that is being deleted, once its
// agent has confirmed that everything is gone, or its cluster has left.
func (c *controller) release(ctx context.Context, key kube.Key) (time.Duration, error) {
	bd, err := optional(c.deployments.Get(key.Namespace, key.Name))
	if err != nil || bd == nil || bd.DeletionTimestamp == nil {
		return 0, err
	}
	unregistered, err := c.unregistered(bd)
	if err != nil {
		return 0, err
	}
	verdict := ownership.Removing(bd, unregistered)
	if verdict.Action != ownership.Release {
		return 0, nil
	}
	after := bd.DeepCopy()
	after.Finalizers = without(after.Finalizers, names.FinalizerDeployment)
	if _, err := c.Hub.BundleDeployments.Patch(ctx, bd, after); err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("releasing deployment: %w", err)
	}
	return 0, nil
}

// unregistered says whether the deployment's cluster is leaving: it was seen
// being deleted, or its namespace on the hub is being deleted.
func (c *controller) unregistered(bd *fleet.BundleDeployment) (bool, error) {
	key := kube.ClusterOf(bd)
	cluster, err := optional(c.clusters.Get(key.Namespace, key.Name))
	if err != nil {
		return false, fmt.Errorf("reading cluster: %w", err)
	}
	if cluster != nil {
		return cluster.DeletionTimestamp != nil, nil
	}
	namespace, err := optional(c.namespaces.Get("", bd.Namespace))
	if err != nil {
		return false, fmt.Errorf("reading namespace: %w", err)
	}
	return namespace != nil && namespace.DeletionTimestamp != nil, nil
}
