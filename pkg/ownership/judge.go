package ownership

import (
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Priority orders work: the lower, the sooner.
type Priority int

// Priorities.
const (
	// PriorityUntargeted: workloads that run where they should not.
	PriorityUntargeted Priority = iota
	// PriorityChildren: what belonged to something that was deleted.
	PriorityChildren
	// PriorityLeftovers: Secrets and Contents, which run nowhere.
	PriorityLeftovers
	// Priorities counts them.
	Priorities int = iota
)

// String returns the priority's name.
func (p Priority) String() string {
	switch p {
	case PriorityUntargeted:
		return "untargeted"
	case PriorityChildren:
		return "children"
	case PriorityLeftovers:
		return "leftovers"
	}
	return "unknown"
}

// Scene is what is known about the owners of a bundle's deployments, apart
// from their clusters.
type Scene struct {
	// Bundle is nil if it is not there; GitRepo if it is not there, or the
	// bundle has none.
	Bundle  *fleet.Bundle
	GitRepo *fleet.GitRepo
	// KindLeaves says that the definition of Bundles is being deleted: that
	// bundles are deleted is then nobody's word about them.
	KindLeaves bool
	// Edited says that the targets were seen to change. It counts where the
	// bundle does not say for which targets the removals are complete.
	Edited bool
}

// Pair is a bundle's deployment with what decides about it.
type Pair struct {
	Deployment *fleet.BundleDeployment
	// Cluster is nil if it is not there.
	Cluster *fleet.Cluster
	// ClusterLeaves: see DeploymentFacts.
	ClusterLeaves bool
	// Fresh says that the deployment was created just now and has not matched
	// since: it comes from a write that was under way when the targets changed.
	Fresh bool
	// Held says that it was held before.
	Held bool
}

// Candidate is a deployment without a reason to exist, and the evidence.
type Candidate struct {
	Pair
	Reason Reason
	// SideEffect says that nobody asked for it by name.
	SideEffect bool
	// HeldBy is the reason of the condition PruneHeld where it is held.
	HeldBy string
}

// Judgement is what becomes of a bundle's deployments. Each is in one list at
// most.
type Judgement struct {
	// Delete is what somebody's own word takes away.
	Delete []Candidate
	// SideEffects is what nobody asked for by name: the Brake decides.
	SideEffects []Candidate
	// Held is what waits for a person's word.
	Held []Candidate
	// Adopt is being removed, but matches again, and its agent has not begun.
	Adopt []Pair
	// Keep has a reason to exist, or may have one.
	Keep []Pair
	// Orphans have no owner, and nothing proves that it was deleted.
	Orphans []Pair
}

// Idle says whether nothing is to be done.
func (j Judgement) Idle() bool {
	return len(j.Delete)+len(j.SideEffects)+len(j.Held)+len(j.Adopt) == 0
}

// Disputes says whether a decision from newer facts leaves out something that
// was to go or to be adopted. Then the older facts are of a state that may
// never be told of: a label that went to and fro is no event to somebody who
// only sees where it came to rest. It is to be judged again until they agree.
func (j Judgement) Disputes(newer Judgement) bool {
	return len(j.Delete)+len(j.SideEffects)+len(j.Held) > len(newer.Delete)+len(newer.SideEffects)+len(newer.Held) ||
		len(j.Adopt) > len(newer.Adopt)
}

// Judge decides about deployments of one bundle.
func Judge(s Scene, pairs []Pair, match func(*fleet.Bundle, *fleet.Cluster) Match) Judgement {
	var j Judgement
	edited := s.explicit()
	for _, p := range pairs {
		verdict := Deployment(DeploymentFacts{Bundle: s.Bundle, Cluster: p.Cluster, ClusterLeaves: p.ClusterLeaves, Match: match})
		if p.Deployment.DeletionTimestamp != nil {
			if verdict.Reason == ReasonMatches && adoptable(p.Deployment) {
				j.Adopt = append(j.Adopt, p)
			}
			continue
		}
		switch verdict.Action {
		case Delete:
			j.place(s, Candidate{Pair: p, Reason: verdict.Reason}, edited)
		case Orphaned:
			j.Orphans = append(j.Orphans, p)
		case Keep, Release, Wait:
			j.Keep = append(j.Keep, p)
		}
	}
	return j
}

// place says whether the evidence against a candidate is enough.
func (j *Judgement) place(s Scene, c Candidate, edited bool) {
	hold := func(reason string) {
		c.HeldBy = reason
		j.Held = append(j.Held, c)
	}
	switch {
	case c.Reason == ReasonBundleDeleted && s.KindLeaves:
		hold(fleet.ReasonKindLeaving)
	case c.Reason == ReasonBundleDeleted:
		j.Delete = append(j.Delete, c)
	case s.HeldByUser():
		hold(fleet.ReasonHeldByUser)
	case s.ReleasedByUser():
		j.Delete = append(j.Delete, c)
	case c.Held:
		// An edit that came after says nothing about what was in doubt before.
		hold(fleet.ReasonSideEffects)
	case edited || c.Fresh:
		j.Delete = append(j.Delete, c)
	default:
		c.SideEffect = true
		j.SideEffects = append(j.SideEffects, c)
	}
}

// Settled says whether the removals that the bundle's targets ask for are
// known to be complete: what no longer matches is then a side effect.
func (s Scene) Settled() bool {
	return s.Bundle != nil && s.Bundle.Annotations[names.AnnotationSettledTargets] == TargetsDigest(&s.Bundle.Spec)
}

// explicit says whether the targets were edited since their removals were
// complete.
func (s Scene) explicit() bool {
	if s.Bundle == nil {
		return false
	}
	if s.Bundle.Annotations[names.AnnotationSettledTargets] == "" {
		return s.Edited
	}
	return !s.Settled()
}

// HeldByUser says whether a person asked that nothing be removed.
func (s Scene) HeldByUser() bool {
	return s.Bundle != nil && Holds(s.Bundle.Annotations) || s.GitRepo != nil && Holds(s.GitRepo.Annotations)
}

// ReleasedByUser says whether a person let go what is held.
func (s Scene) ReleasedByUser() bool {
	return s.Bundle != nil && Releases(s.Bundle.Annotations) || s.GitRepo != nil && Releases(s.GitRepo.Annotations)
}

// Holds says whether the annotations ask that nothing be removed.
func Holds(annotations map[string]string) bool { return annotations[names.AnnotationHold] == "true" }

// Releases says whether the annotations let go what is held.
func Releases(annotations map[string]string) bool {
	_, ok := annotations[names.AnnotationReleaseHeld]
	return ok
}
