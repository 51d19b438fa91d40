package clusters

import (
	"context"
	"fmt"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/delivery"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// ensureDelivery keeps the deployment of the cluster's own agent, and returns the settings that the agent has by now; nil
// where that is not known. Where the agent is not the hub's to change, a deployment from before is told to hold still.
func (c *controller) ensureDelivery(ctx context.Context, cluster *fleet.Cluster) (*installation, error) {
	existing, err := c.delivery(cluster)
	if err != nil {
		return nil, err
	}
	switch delivery.Next(cluster, existing) {
	case delivery.Leave:
		return nil, nil
	case delivery.Hold:
		return nil, c.writeDelivery(ctx, existing, delivery.Held(existing))
	case delivery.Refuse:
		return nil, &problem{ReasonNameTaken, fmt.Sprintf("the bundle %s has the name that the agent's own deployment needs: rename it", kube.BundleOf(existing))}
	case delivery.Keep:
	}
	want, content, err := c.desiredDelivery(cluster, existing)
	if err != nil {
		return nil, err
	}
	if delivery.AsWanted(existing, want) {
		if status.DeploymentState(existing) != fleet.Ready {
			return nil, nil
		}
		return installationOf(cluster, c.address), nil
	}
	if err := c.contents.Ensure(ctx, content.Name, func() (bundle.Content, error) { return content, nil }); err != nil {
		return nil, err
	}
	return nil, c.writeDelivery(ctx, existing, want)
}

// delivery returns the deployment of the name that the cluster's own agent needs; nil if there is none.
func (c *controller) delivery(cluster *fleet.Cluster) (*fleet.BundleDeployment, error) {
	bd, err := c.deployments.Get(names.ClusterNamespace(cluster.Namespace, cluster.Name), names.AgentBundle(cluster.Name))
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the deployment of the agent: %w", err)
	}
	return bd, nil
}

// desiredDelivery returns the deployment as it should be, and what it is made from.
func (c *controller) desiredDelivery(cluster *fleet.Cluster, existing *fleet.BundleDeployment) (*fleet.BundleDeployment, bundle.Content, error) {
	var none bundle.Content
	namespace, err := delivery.Place(cluster)
	if err != nil {
		return nil, none, problemOf(err)
	}
	objects, err := delivery.ObjectsOf(cluster, c.AgentImage, "")
	if err != nil {
		return nil, none, problemOf(err)
	}
	resources, err := delivery.Resources(objects)
	if err != nil {
		return nil, none, err
	}
	content, err := bundle.Encode(resources)
	if err != nil {
		return nil, none, err
	}
	options := delivery.Options(namespace)
	id, err := bundle.DeploymentID(content.Name, options)
	if err != nil {
		return nil, none, err
	}
	return delivery.Deployment(cluster, existing, id, options), content, nil
}

func (c *controller) writeDelivery(ctx context.Context, existing, want *fleet.BundleDeployment) error {
	var err error
	if existing == nil {
		_, err = c.Hub.BundleDeployments.Create(ctx, want)
	} else {
		_, err = c.Hub.BundleDeployments.Change(ctx, existing, want)
	}
	if apierrors.IsAlreadyExists(err) {
		// The cache is behind; its event wakes the cluster.
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing the deployment of the agent: %w", err)
	}
	c.Log.WithFields(logrus.Fields{"controller": "clusters", "cluster": want.Labels[names.LabelClusterNamespace] + "/" + want.Labels[names.LabelCluster]}).
		Info("Agent is delivered by a deployment of its own")
	return nil
}

// onDelivery notes an event of an agent's own deployment.
func (c *controller) onDelivery(e kube.Event[*fleet.BundleDeployment]) {
	key := kube.ClusterOf(e.Object())
	if e.Old == nil || e.New == nil || e.Old.Generation != e.New.Generation || e.Old.DeletionTimestamp != e.New.DeletionTimestamp ||
		status.DeploymentState(e.Old) != status.DeploymentState(e.New) {
		c.imports.Wake(key)
	}
	c.status.Coalesce(key)
}

// reportDelivery says in the status whether the agent is what the cluster asks for.
func (c *controller) reportDelivery(cluster *fleet.Cluster, into *fleet.ClusterStatus) {
	bd, err := c.delivery(cluster)
	if err != nil || bd == nil || !delivery.Is(bd) || !delivery.Wanted(cluster) {
		status.Remove(&into.Conditions, fleet.ConditionAgentDeployed)
		return
	}
	condition := fleet.Condition{Type: fleet.ConditionAgentDeployed, Status: metav1.ConditionTrue, Reason: "Deployed"}
	if state := status.DeploymentState(bd); state != fleet.Ready {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, string(state), status.DeploymentTrouble(bd)
		if state == fleet.NotReady {
			condition.Message = "the agent that was there goes on: " + condition.Message
		}
	}
	status.Set(&into.Conditions, condition, metav1.NewTime(c.Clock.Now()))
}
