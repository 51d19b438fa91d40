package ownership

import (
	"strconv"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// BundleFacts are what is known about the owner of a bundle.
type BundleFacts struct {
	Bundle *fleet.Bundle
	// GitRepo and HelmOp are nil if they are not there.
	GitRepo *fleet.GitRepo
	HelmOp  *fleet.HelmOp
}

// Bundle says whether there is a reason for a Bundle. One that nothing of ours
// made belongs to whoever created it.
func Bundle(f BundleFacts) Verdict {
	switch {
	case f.Bundle.Labels[names.LabelRepoName] != "":
		return ofGitRepo(f)
	case f.Bundle.Labels[names.LabelHelmName] == "":
		return Verdict{Keep, ReasonReferenced}
	case f.HelmOp == nil:
		return Verdict{Orphaned, ReasonOwnerMissing}
	case f.HelmOp.DeletionTimestamp != nil:
		return Verdict{Delete, ReasonHelmOpDeleted}
	}
	return Verdict{Keep, ReasonReferenced}
}

func ofGitRepo(f BundleFacts) Verdict {
	switch {
	case f.GitRepo == nil:
		return Verdict{Orphaned, ReasonOwnerMissing}
	case f.GitRepo.DeletionTimestamp != nil:
		return Verdict{Delete, ReasonGitRepoDeleted}
	case f.Bundle.Annotations[names.AnnotationGone] != "":
		return Verdict{Delete, ReasonGoneFromGit}
	}
	return Verdict{Keep, ReasonReferenced}
}

// BundleCandidate is a Bundle without a reason to exist, and the evidence.
type BundleCandidate struct {
	Bundle *fleet.Bundle
	Reason Reason
	// HeldBy is the reason of the condition PruneHeld where it is held.
	HeldBy string
}

// BundlesJudgement is what becomes of the bundles of one owner.
type BundlesJudgement struct {
	Delete, Held []BundleCandidate
	Orphans      []*fleet.Bundle
}

// Owner is the owner of bundles: a GitRepo or a HelmOp, nil if not there.
type Owner struct {
	GitRepo *fleet.GitRepo
	HelmOp  *fleet.HelmOp
	// KindLeaves says that the definition of the owner's kind is being deleted:
	// that it is deleted is then nobody's word about it.
	KindLeaves bool
}

// JudgeBundles decides about bundles of one owner. Those that are being deleted
// are left out.
func JudgeBundles(o Owner, bundles []*fleet.Bundle) BundlesJudgement {
	var j BundlesJudgement
	share := shareOf(bundles)
	for _, b := range bundles {
		if b.DeletionTimestamp != nil {
			continue
		}
		verdict := Bundle(BundleFacts{Bundle: b, GitRepo: o.GitRepo, HelmOp: o.HelmOp})
		c := BundleCandidate{Bundle: b, Reason: verdict.Reason}
		switch {
		case verdict.Action == Orphaned:
			j.Orphans = append(j.Orphans, b)
		case verdict.Action != Delete:
		case verdict.Reason == ReasonGoneFromGit:
			c.HeldBy = o.holdsGone(b, share)
			j.place(c)
		default:
			if o.KindLeaves {
				c.HeldBy = fleet.ReasonKindLeaving
			}
			j.place(c)
		}
	}
	return j
}

func (j *BundlesJudgement) place(c BundleCandidate) {
	if c.HeldBy != "" {
		j.Held = append(j.Held, c)
		return
	}
	j.Delete = append(j.Delete, c)
}

// holdsGone says why a bundle whose folder is gone is held; empty if it is not.
func (o Owner) holdsGone(b *fleet.Bundle, all share) string {
	s := Scene{Bundle: b, GitRepo: o.GitRepo}
	switch {
	case s.HeldByUser():
		return fleet.ReasonHeldByUser
	case s.ReleasedByUser():
		return ""
	}
	if noted, ok := parseShare(b.Annotations[names.AnnotationGoneShare]); ok {
		all = noted
	}
	if all.mostly() {
		return fleet.ReasonFoldersGone
	}
	return ""
}

// share is how many of a repository's bundles a commit takes away, of how many.
type share struct{ gone, of int }

// Share returns the value of names.AnnotationGoneShare.
func Share(gone, of int) string { return strconv.Itoa(gone) + "/" + strconv.Itoa(of) }

// mostly says whether it is more than half: whoever moved a folder, or broke a
// build, did not mean that.
func (s share) mostly() bool { return 2*s.gone > s.of }

func parseShare(text string) (share, bool) {
	gone, of, found := strings.Cut(text, "/")
	g, err1 := strconv.Atoi(gone)
	o, err2 := strconv.Atoi(of)
	return share{g, o}, found && err1 == nil && err2 == nil && g > 0 && o >= g
}

// shareOf computes it from the bundles that are there, for those that carry
// no note of it.
func shareOf(bundles []*fleet.Bundle) share {
	var s share
	for _, b := range bundles {
		if b.DeletionTimestamp != nil {
			continue
		}
		s.of++
		if b.Annotations[names.AnnotationGone] != "" {
			s.gone++
		}
	}
	return s
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
