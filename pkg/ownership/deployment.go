package ownership

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Match is what targeting says of a (bundle, cluster) pair.
type Match int

const (
	// MatchUnknown: a selector or a group leaves it open.
	MatchUnknown Match = iota
	// MatchYes: the pair should have a deployment.
	MatchYes
	// MatchNo: the pair must not have one.
	MatchNo
)

// DeploymentFacts are what is known about the owners of a deployment.
type DeploymentFacts struct {
	// Bundle and Cluster are nil if they are not there.
	Bundle  *fleet.Bundle
	Cluster *fleet.Cluster
	// ClusterLeaves says that the cluster is being unregistered: it, or its
	// workspace, is being deleted.
	ClusterLeaves bool
	// Match is asked only if both owners are there to stay.
	Match func(*fleet.Bundle, *fleet.Cluster) Match
}

// Deployment says whether there is a reason for a BundleDeployment.
func Deployment(f DeploymentFacts) Verdict {
	switch {
	case f.ClusterLeaves:
		// Deleting it here could have its agent remove the workload, which is
		// to stay: who unregisters the cluster revokes the agent's access first.
		return Verdict{Wait, ReasonClusterDeleted}
	case f.Bundle != nil && f.Bundle.DeletionTimestamp != nil:
		return Verdict{Delete, ReasonBundleDeleted}
	case f.Bundle == nil || f.Cluster == nil:
		return Verdict{Orphaned, ReasonOwnerMissing}
	}
	switch f.Match(f.Bundle, f.Cluster) {
	case MatchYes:
		return Verdict{Keep, ReasonMatches}
	case MatchNo:
		return Verdict{Delete, ReasonUntargeted}
	case MatchUnknown:
	}
	return Verdict{Keep, ReasonUndecided}
}

// Removing decides about a BundleDeployment that is being deleted.
// unregistered says that its cluster is leaving: its agent has no access any
// more, and its workloads stay.
func Removing(bd *fleet.BundleDeployment, unregistered bool) Verdict {
	switch {
	case !slices.Contains(bd.Finalizers, names.FinalizerDeployment):
		return Verdict{Keep, ReasonConfirmed}
	case unregistered:
		return Verdict{Release, ReasonClusterDeleted}
	case confirmed(bd):
		return Verdict{Release, ReasonConfirmed}
	}
	return Verdict{Wait, ReasonAwaitingAgent}
}

// adoptable says whether a BundleDeployment that is being deleted may be let
// go with its release in place: our finalizer keeps it, and its agent has not
// begun to remove anything. An agent says so before it begins.
func adoptable(bd *fleet.BundleDeployment) bool {
	c := removed(bd)
	begun := c != nil && (c.Status == metav1.ConditionTrue || c.Reason == fleet.ReasonUninstalling)
	return slices.Contains(bd.Finalizers, names.FinalizerDeployment) && !begun
}

// confirmed says whether the agent has reported that everything of the
// deployment is gone.
func confirmed(bd *fleet.BundleDeployment) bool {
	c := removed(bd)
	return c != nil && c.Status == metav1.ConditionTrue
}

func removed(bd *fleet.BundleDeployment) *fleet.Condition {
	at := slices.IndexFunc(bd.Status.Conditions, func(c fleet.Condition) bool { return c.Type == fleet.ConditionRemoved })
	if at < 0 {
		return nil
	}
	return &bd.Status.Conditions[at]
}
