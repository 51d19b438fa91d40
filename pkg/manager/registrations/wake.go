package registrations

import (
	"k8s.io/apimachinery/pkg/api/equality"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// wake says which event wakes what.
func (c *controller) wake() {
	c.Hub.ClusterRegistrations.OnEvent(func(e kube.Event[*fleet.ClusterRegistration]) {
		if e.New != nil && !answered(e.New) {
			c.answers.Wake(kube.KeyOf(e.New))
		}
	})
	c.Hub.ClusterRegistrationTokens.OnEvent(func(e kube.Event[*fleet.ClusterRegistrationToken]) {
		if e.New == nil {
			return
		}
		if e.Old == nil || e.Old.Generation != e.New.Generation || e.Old.UID != e.New.UID {
			c.issues.Wake(kube.KeyOf(e.New))
		}
	})
	c.Hub.Clusters.OnEvent(c.onCluster)
	c.Secrets.OnChange(c.onSecret)
}

// onSecret wakes the token whose Secret has changed or gone, by whomever.
func (c *controller) onSecret(key kube.Key) {
	if _, err := c.tokens.Get(key.Namespace, key.Name); err == nil {
		c.issues.Wake(key)
	}
}

// onCluster wakes the registrations that wait for the cluster. Its heartbeats wake nothing.
func (c *controller) onCluster(e kube.Event[*fleet.Cluster]) {
	cluster := e.Object()
	if cluster.Spec.ClientID == "" || e.Old != nil && e.New != nil && !concerns(e.Old, e.New) {
		return
	}
	waiting, err := c.registrations.GetByIndex(kube.ByClientID, kube.Key{Namespace: cluster.Namespace, Name: cluster.Spec.ClientID}.String())
	if err != nil {
		c.Log.WithError(err).Error("Registrations of a cluster cannot be found")
		return
	}
	for _, registration := range waiting {
		if !answered(registration) {
			c.answers.Wake(kube.KeyOf(registration))
		}
	}
}

// concerns says whether an answer may depend on the change.
func concerns(before, after *fleet.Cluster) bool {
	return before.Generation != after.Generation || before.Status.Namespace != after.Status.Namespace ||
		before.Annotations[names.AnnotationRegistered] != after.Annotations[names.AnnotationRegistered] ||
		!equality.Semantic.DeepEqual(
			status.Get(before.Status.Conditions, fleet.ConditionImported), status.Get(after.Status.Conditions, fleet.ConditionImported))
}
