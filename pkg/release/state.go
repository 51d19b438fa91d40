package release

import "k8s.io/apimachinery/pkg/types"

// State is where the release of a deployment stands.
type State string

const (
	// Absent: no release of the wanted name exists, and none of the deployment elsewhere.
	Absent State = "Absent"
	// Misplaced: the deployment has a release, but under another name or in another namespace than is wanted now.
	Misplaced State = "Misplaced"
	// Foreign: the wanted name belongs to a release that was not made for this deployment by this agent.
	Foreign State = "Foreign"
	// Claimed: as Foreign, but the options say to take over what others own.
	Claimed State = "Claimed"
	// Interrupted: an install, upgrade, rollback or uninstall was begun and never finished, because the agent that did
	// it is gone. Helm refuses to touch such a release.
	Interrupted State = "Interrupted"
	// NeverDeployed: every attempt to install the release has failed. An upgrade would leave out the hooks that belong
	// to an install.
	NeverDeployed State = "NeverDeployed"
	// Failed: the last upgrade did not succeed.
	Failed State = "Failed"
	// OutOfDate: the release works, but was made from something else than what is wanted now.
	OutOfDate State = "OutOfDate"
	// Inherited: the record of the release names an earlier deployment of the same name (its UID or its hub is another).
	// The deployment was made anew. Who owns the release is settled before anything else is done about it, so that a
	// deployment which cannot be deployed, and then goes, takes with it what ran before.
	Inherited State = "Inherited"
	// Doubled: the release is what is wanted, and an earlier one of the same deployment still exists elsewhere.
	Doubled State = "Doubled"
	// InSync: the release is what is wanted.
	InSync State = "InSync"
)

// Action is what brings a release one step closer to InSync.
type Action string

const (
	// ActionInstall makes the release.
	ActionInstall Action = "Install"
	// ActionReinstall makes the release once more over what an attempt that failed has left.
	ActionReinstall Action = "Reinstall"
	// ActionMove makes the release anew where it is wanted; objects that both hold change their owner first.
	ActionMove Action = "Move"
	// ActionUpgrade adds a revision to the release.
	ActionUpgrade Action = "Upgrade"
	// ActionRecover marks the unfinished revision as failed, so that Helm goes on from it.
	ActionRecover Action = "Recover"
	// ActionAdopt writes the deployment's identity on the record; nothing is installed, and no revision added.
	ActionAdopt Action = "Adopt"
	// ActionRemoveEarlier removes what is left of the deployment's releases elsewhere.
	ActionRemoveEarlier Action = "RemoveEarlier"
	// ActionRefuse does nothing: the release is somebody else's.
	ActionRefuse Action = "Refuse"
	// ActionNone does nothing: there is nothing to do.
	ActionNone Action = "None"
)

// Owner is the deployment that a release is made for.
type Owner struct {
	// Deployment is the name of the BundleDeployment.
	Deployment string
	// UID of the BundleDeployment.
	UID types.UID
	// Hub is the identity of the hub that holds it.
	Hub string
	// Agent is the namespace of the agent that acts for it.
	Agent string
}

// Situation is what the state of a release is found from.
type Situation struct {
	// Owner is the deployment that the release is for.
	Owner Owner
	// Digest is the label form of the deploymentID that is wanted: see Digest.
	Digest string
	// TakeOwnership says that the deployment may take over what others own.
	TakeOwnership bool
	// Latest is the newest revision of the release that bears the wanted name; nil if there is none.
	Latest *Record
	// Deployed says that a revision on record was deployed once. It matters only if the newest one failed.
	Deployed bool
	// Elsewhere says that the deployment has releases under other names.
	Elsewhere bool
}

// Assess finds the state of a release.
func Assess(s Situation) State {
	switch {
	case s.Latest == nil && s.Elsewhere:
		return Misplaced
	case s.Latest == nil:
		return Absent
	case !s.Latest.BelongsTo(s.Owner) && s.TakeOwnership:
		return Claimed
	case !s.Latest.BelongsTo(s.Owner):
		return Foreign
	case s.Latest.InheritedBy(s.Owner):
		return Inherited
	case s.Latest.Status.unfinished():
		return Interrupted
	case s.Latest.Status == StatusFailed:
		return s.failure()
	case s.Latest.Status != StatusDeployed || s.Latest.Digest != s.Digest:
		return OutOfDate
	case s.Elsewhere:
		return Doubled
	default:
		return InSync
	}
}

// failure tells a release that never worked from one that an upgrade broke.
func (s Situation) failure() State {
	if s.Deployed {
		return Failed
	}
	return NeverDeployed
}

// Action returns what to do about the state.
func (s State) Action() Action {
	switch s {
	case Absent:
		return ActionInstall
	case NeverDeployed:
		return ActionReinstall
	case Misplaced:
		return ActionMove
	case Claimed, Failed, OutOfDate:
		return ActionUpgrade
	case Interrupted:
		return ActionRecover
	case Inherited:
		return ActionAdopt
	case Doubled:
		return ActionRemoveEarlier
	case InSync:
		return ActionNone
	case Foreign:
		return ActionRefuse
	}
	return ActionRefuse
}
