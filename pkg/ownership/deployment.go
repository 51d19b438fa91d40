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

// DeploymentFacts are what is known about a deployment and its owners.
type DeploymentFacts struct {
	Deployment *fleet.BundleDeployment
	// Bundle and Cluster are nil if they are not there.
	Bundle  *fleet.Bundle
	Cluster *fleet.Cluster
	// Match is asked only if both are there.
	Match func(*fleet.Bundle, *fleet.Cluster) Match
}

// Deployment decides about a BundleDeployment that is not being deleted.
func Deployment(f DeploymentFacts) Verdict {
	switch {
	case f.Cluster != nil && f.Cluster.DeletionTimestamp != nil:
		return Verdict{Delete, ReasonClusterDeleted}
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

// confirmed says whether the agent has reported that everything of the
// deployment is gone.
func confirmed(bd *fleet.BundleDeployment) bool {
	return slices.ContainsFunc(bd.Status.Conditions, func(c fleet.Condition) bool {
		return c.Type == fleet.ConditionRemoved && string(c.Status) == string(metav1.ConditionTrue)
	})
}
