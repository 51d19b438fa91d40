package ownership

// Action is what is to be done with an object.
type Action int

const (
	// Keep: there is a reason for the object, or no evidence against it.
	Keep Action = iota
	// Delete: the reason for the object is gone, and Reason is the evidence.
	Delete
	// Release: the object is being deleted and what its finalizer waits for
	// has happened.
	Release
	// Wait: the object is being deleted, or its cluster takes it along, and
	// something is still to happen, of which an event will tell.
	Wait
	// Orphaned: nothing owns the object, and nothing proves that its owner
	// was deleted. It is kept until a person decides.
	Orphaned
)

// String returns the action's name.
func (a Action) String() string {
	switch a {
	case Keep:
		return "Keep"
	case Delete:
		return "Delete"
	case Release:
		return "Release"
	case Wait:
		return "Wait"
	case Orphaned:
		return "Orphaned"
	}
	return "Unknown"
}

// Reason is the evidence behind a verdict.
type Reason string

// Reasons of verdicts.
const (
	// ReasonMatches: the bundle's targets match the cluster.
	ReasonMatches Reason = "Matches"
	// ReasonUndecided: whether they match cannot be known now.
	ReasonUndecided Reason = "Undecided"
	// ReasonUntargeted: the bundle's targets no longer match the cluster.
	ReasonUntargeted Reason = "Untargeted"
	// ReasonBundleDeleted: the bundle is being deleted.
	ReasonBundleDeleted Reason = "BundleDeleted"
	// ReasonClusterDeleted: the cluster is being deleted; its workloads stay.
	ReasonClusterDeleted Reason = "ClusterDeleted"
	// ReasonOwnerMissing: the owner is not there and was not seen leaving.
	ReasonOwnerMissing Reason = "OwnerMissing"
	// ReasonGoneFromGit: a fully read commit no longer has the bundle's folder.
	ReasonGoneFromGit Reason = "GoneFromGit"
	// ReasonGitRepoDeleted: the GitRepo is being deleted.
	ReasonGitRepoDeleted Reason = "GitRepoDeleted"
	// ReasonHelmOpDeleted: the HelmOp is being deleted.
	ReasonHelmOpDeleted Reason = "HelmOpDeleted"
	// ReasonAdopted: the pair matches again, and the agent has removed nothing:
	// a deployment that is made anew takes the release over.
	ReasonAdopted Reason = "Adopted"
	// ReasonConfirmed: the agent confirmed that everything is gone.
	ReasonConfirmed Reason = "Confirmed"
	// ReasonAwaitingAgent: the agent has not confirmed yet.
	ReasonAwaitingAgent Reason = "AwaitingAgent"
	// ReasonAwaitingController: the controller that makes children has not
	// seen the deletion yet, and could still make one.
	ReasonAwaitingController Reason = "AwaitingController"
	// ReasonChildrenRemain: children are not all marked deleted yet.
	ReasonChildrenRemain Reason = "ChildrenRemain"
	// ReasonChildrenMarked: every child is marked deleted.
	ReasonChildrenMarked Reason = "ChildrenMarked"
	// ReasonUnreferenced: nothing refers to the object.
	ReasonUnreferenced Reason = "Unreferenced"
	// ReasonReferenced: something refers to the object.
	ReasonReferenced Reason = "Referenced"
)

// Verdict is a decision about one object.
type Verdict struct {
	Action Action
	Reason Reason
}
