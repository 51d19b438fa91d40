package rollout

import (
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// World is what was observed of one bundle.
type World struct {
	Bundle *fleet.Bundle
	// Targets are sorted by namespace and name of their clusters: automatic
	// partitions, and whose turn comes first, follow from their order.
	Targets []Target
}

// Target is one cluster that the bundle should be deployed to.
type Target struct {
	Cluster *fleet.Cluster
	// Options that hold on this cluster, without helm values.
	Options fleet.BundleDeploymentOptions
	// DeploymentID of Options with values, over the bundle's content.
	DeploymentID string
	// ValuesHash names the values that belong to DeploymentID; empty if none.
	ValuesHash string
	// Copies is the digest of what the deployment has copied to the cluster; empty if nothing.
	Copies string
	// Problem is why the options could not be computed for this cluster; its
	// deployment then stays as it is.
	Problem string
	// Existing is the deployment that is there now; nil if none.
	Existing *fleet.BundleDeployment
	// Partition is the index of the first of spec.rolloutStrategy.partitions that
	// the cluster matches; -1 if it matches none. It says nothing in a bundle
	// without such partitions.
	Partition int
	// Offline says that the cluster's agent has announced itself once, and is
	// overdue by the hub's own clock.
	Offline bool
	// Settled says that an earlier plan of this bundle found the target settled
	// (Plan.Settled), and that neither what it should run nor its cluster, its
	// deployment or the bundle's spec, name and labels have changed since. Such a
	// target is only counted; Existing may be left out.
	Settled bool
}

// Reason says why a step is taken or held back.
type Reason string

// Reasons of steps.
const (
	// ReasonMissing: there is no deployment yet.
	ReasonMissing Reason = "Missing"
	// ReasonChanged: content or options differ.
	ReasonChanged Reason = "Changed"
	// ReasonStaged: content or options differ, and the bundle or the cluster is
	// paused: what is new is staged, what is current stays.
	ReasonStaged Reason = "Staged"
	// ReasonSettings: nothing that is deployed differs, but a setting of the
	// deployment does, such as pause, dependencies, labels or its finalizer.
	ReasonSettings Reason = "Settings"
	// ReasonClusterNotReady: the cluster has no namespace on the hub yet.
	ReasonClusterNotReady Reason = "ClusterNotReady"
	// ReasonClusterLeaving: the cluster is being deleted.
	ReasonClusterLeaving Reason = "ClusterLeaving"
	// ReasonRemoving: the former deployment is still being removed.
	ReasonRemoving Reason = "Removing"
	// ReasonNameConflict: another bundle's deployment has the name.
	ReasonNameConflict Reason = "NameConflict"
	// ReasonInvalidOptions: the options do not hold on this cluster.
	ReasonInvalidOptions Reason = "InvalidOptions"
	// ReasonInvalidStrategy: the bundle's rolloutStrategy cannot be read.
	ReasonInvalidStrategy Reason = "InvalidStrategy"
	// ReasonPartition: the turn of the cluster's partition has not come.
	ReasonPartition Reason = "Partition"
	// ReasonMaxUnavailable: as many clusters are unavailable as may be.
	ReasonMaxUnavailable Reason = "MaxUnavailable"
	// ReasonMaxNew: as many new deployments wait for their agents as may.
	ReasonMaxNew Reason = "MaxNew"
	// ReasonPaused: what is new is staged and waits for the bundle or the cluster
	// to be resumed; nothing is to be written.
	ReasonPaused Reason = "Paused"
)

// Step is one write, or one write that is held back.
type Step struct {
	// Index of the target in World.Targets, and the target there.
	Index  int
	Target *Target
	Reason Reason
	// Message says more to a person where the reason alone does not.
	Message string
	// Deployment is what should be written; nil for a step that is held.
	Deployment *fleet.BundleDeployment
}

// Stages says whether the deployment that is written stages what the target
// should run, and makes it current unless it is paused. Only then do the
// target's values belong to it, and must be stored before.
func (s Step) Stages() bool {
	if s.Deployment == nil {
		return false
	}
	spec := &s.Deployment.Spec
	return spec.StagedDeploymentID == s.Target.DeploymentID && (spec.Paused || spec.DeploymentID == s.Target.DeploymentID)
}

// Plan is what is to be done for one bundle. Steps are in the order of the
// targets. A target has one step or none, with one exception: a deployment that
// is held back, but lacks the finalizer of an agent that has come, is in Update
// with ReasonSettings and in Hold.
type Plan struct {
	Create, Update, Hold []Step
	// Unchanged counts the targets whose deployment is already right.
	Unchanged int
	// Settled are the indexes of the targets that nothing is to be done about:
	// their deployment is right, and the agent reports it applied and ready, or no
	// agent ever was there to report.
	Settled []int

	// Partitions of the bundle, in the order of their turns.
	Partitions []PartitionState
	// Unavailable clusters of the bundle, and how many may be.
	Unavailable, MaxUnavailable int
	// UnavailablePartitions are begun and hold back those after them;
	// MaxUnavailablePartitions is how many may without doing so.
	UnavailablePartitions, MaxUnavailablePartitions int
	// NewlyCreated is the number of deployments that this plan creates.
	NewlyCreated int
	// Waits says that steps are held until agents report: see News.
	Waits bool
	// Problem is what is wrong with the bundle's rolloutStrategy: field and
	// message. Until it is put right no cluster gets anything new.
	Problem string

	layout layout
}

// PartitionOf returns the index in Partitions of the target at index i of the
// world that the plan was made for.
func (p *Plan) PartitionOf(i int, t *Target) int { return p.layout.partitionOf(i, t) }

// PartitionState is how far a partition is.
type PartitionState struct {
	// Name of the partition: the user's; "Unmatched" for clusters that match none
	// of the user's; "All" where there are none; else "Partition <from> - <to>".
	Name string
	// Count of its clusters, whatever state they are in.
	Count int
	// Unavailable clusters, and how many may be.
	Unavailable, MaxUnavailable int
	// Unfinished clusters are unavailable or not up to date. With more of them
	// than MaxUnavailable the partition holds back those after it.
	Unfinished int
	// Offline clusters are in Count alone.
	Offline int
	// Begun says that the partition's turn has come.
	Begun bool
}

func (p *PartitionState) blocks() bool { return p.Unfinished > p.MaxUnavailable }

// Next returns the plan that brings the bundle's deployments one step closer to
// its targets. It does not change the world, but the plan's steps point into
// it.
func Next(w World) Plan {
	p := newPlanner(w)
	p.survey()
	p.begin()
	p.decide()
	return p.steps()
}

// AgentAnnounced says whether an agent has reported for the cluster.
func AgentAnnounced(c *fleet.Cluster) bool { return !c.Status.Agent.LastSeen.IsZero() }
