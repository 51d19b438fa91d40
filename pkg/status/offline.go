package status

import (
	"cmp"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Offline holds the clusters ("namespace/name") whose agents are away, each
// with the time since when, in RFC 3339. Nothing that such an agent said before
// counts as known.
type Offline map[string]string

// OfflineSince returns since when the cluster's agent counts as away; empty if
// it does not.
func OfflineSince(c *fleet.Cluster) string {
	reachable := Get(c.Status.Conditions, fleet.ConditionClusterReachable)
	if reachable == nil || reachable.Status != metav1.ConditionFalse {
		return ""
	}
	return cmp.Or(reachable.LastTransitionTime, "an unknown time")
}

// Note enters what the cluster says of its agent and says whether that is news.
func (o Offline) Note(c *fleet.Cluster) bool {
	name, since := c.Namespace+"/"+c.Name, OfflineSince(c)
	if o[name] == since {
		return false
	}
	if since == "" {
		delete(o, name)
		return true
	}
	o[name] = since
	return true
}

// Forget takes out a cluster that is gone and says whether it was in.
func (o Offline) Forget(cluster string) bool {
	_, was := o[cluster]
	delete(o, cluster)
	return was
}

func offlineMessage(since string) string { return "offline since " + since }

// stateOf returns the state of a deployment on a cluster that is offline since
// the given time, or reachable where that is empty.
func stateOf(bd *fleet.BundleDeployment, since string) fleet.BundleState {
	if since != "" {
		return fleet.Unknown
	}
	return DeploymentState(bd)
}

func messageOf(bd *fleet.BundleDeployment, since string) string {
	if since != "" {
		return offlineMessage(since)
	}
	return DeploymentMessage(bd)
}

// countsOf returns how many objects a deployment has, by state. No agent can
// turn a sum by counting less than nothing or more than there can be.
func countsOf(bd *fleet.BundleDeployment, offline bool) fleet.ResourceCounts {
	c := bd.Status.ResourceCounts
	if !offline {
		return c
	}
	return fleet.ResourceCounts{DesiredReady: c.DesiredReady, Unknown: c.DesiredReady}
}

// interned returns the text in one place for all who keep it: names of clusters
// are kept once for each deployment.
func interned(text string) string { return unique.Make(text).Value() }
