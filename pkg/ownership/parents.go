package ownership

import (
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// BundleFacts are what is known about a bundle that a GitRepo made.
type BundleFacts struct {
	Bundle *fleet.Bundle
	// GitRepo is nil if it is not there.
	GitRepo *fleet.GitRepo
}

// Bundle decides about a Bundle that is not being deleted. A bundle that no
// GitRepo made belongs to whoever created it.
func Bundle(f BundleFacts) Verdict {
	switch {
	case f.Bundle.Labels[names.LabelRepoName] == "":
		return Verdict{Keep, ReasonReferenced}
	case f.GitRepo == nil:
		return Verdict{Orphaned, ReasonOwnerMissing}
	case f.GitRepo.DeletionTimestamp != nil:
		return Verdict{Delete, ReasonGitRepoDeleted}
	case f.Bundle.Annotations[names.AnnotationGone] != "":
		return Verdict{Delete, ReasonGoneFromGit}
	}
	return Verdict{Keep, ReasonReferenced}
}

// ParentFacts are what is known about an owner that is being deleted.
type ParentFacts struct {
	// Generation is the owner's, which its deletion has raised.
	Generation int64
	// ObservedGeneration is the newest that the controller which makes its
	// children has seen. Below Generation it may be making one right now.
	ObservedGeneration int64
	// Unmarked counts its children that are not marked deleted.
	Unmarked int
}

// Parent decides whether an owner that is being deleted may go. It need not
// wait for agents: children that are marked deleted carry their own evidence.
func Parent(f ParentFacts) Verdict {
	switch {
	case f.ObservedGeneration < f.Generation:
		return Verdict{Wait, ReasonAwaitingController}
	case f.Unmarked > 0:
		return Verdict{Wait, ReasonChildrenRemain}
	}
	return Verdict{Release, ReasonChildrenMarked}
}
