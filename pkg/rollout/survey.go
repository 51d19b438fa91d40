package rollout

import (
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// planner makes one plan.
type planner struct {
	World
	plan   Plan
	maxNew int
	// open are the targets that are not settled, in the order of the world.
	open []finding
	// unanswered is the number of deployments that no agent has acknowledged.
	unanswered int
}

// finding is what is known of a target that is not settled, and what is
// decided about it.
type finding struct {
	index, partition int
	// obstacle is why nothing may be written at all, message says it.
	obstacle Reason
	message  string
	// there says that the cluster has an agent that can be waited for.
	there, paused           bool
	unavailable, unfinished bool
	verdict                 verdict
}

func newPlanner(w World) *planner {
	p := &planner{World: w}
	strategy, threshold, maxNew := strategyOf(w.Bundle)
	var l limits
	p.maxNew = maxNew
	p.plan.layout = layOut(&w, &strategy, threshold, &l)
	p.plan.Partitions = p.plan.layout.states
	p.plan.MaxUnavailable = l.of("maxUnavailable", len(w.Targets), strategy.MaxUnavailable)
	p.plan.MaxUnavailablePartitions = l.of("maxUnavailablePartitions", len(p.plan.Partitions),
		strategy.MaxUnavailablePartitions, defaultMaxUnavailablePartitions())
	p.plan.Problem = l.problem
	return p
}

// survey looks at every target and counts.
func (p *planner) survey() {
	p.plan.Settled = make([]int, 0, len(p.Targets))
	for i := range p.Targets {
		t := &p.Targets[i]
		state := &p.plan.Partitions[p.plan.PartitionOf(i, t)]
		if t.Offline && AgentAnnounced(t.Cluster) {
			state.Offline++
		}
		if t.Settled {
			p.plan.Settled = append(p.plan.Settled, i)
			p.plan.Unchanged++
			continue
		}
		f := p.look(i, t)
		if f.unavailable {
			state.Unavailable++
			p.plan.Unavailable++
		}
		if f.unfinished {
			state.Unfinished++
		}
		p.open = append(p.open, f)
	}
}

// look finds out what there is to know of one target.
func (p *planner) look(i int, t *Target) finding {
	f := finding{index: i, partition: p.plan.PartitionOf(i, t)}
	f.obstacle, f.message = obstacle(p.Bundle, t)
	f.paused = p.Bundle.Spec.Paused || t.Cluster.Spec.Paused
	f.there = AgentAnnounced(t.Cluster) && !t.Offline && f.obstacle != ReasonClusterLeaving && f.obstacle != ReasonClusterNotReady
	bd := t.Existing
	if f.obstacle == ReasonNameConflict || f.obstacle == ReasonRemoving {
		bd = nil // What is there is not, or no more, the target's.
	}
	if bd != nil && f.there {
		f.unavailable = bd.Spec.DeploymentID != "" && !Available(bd)
		if !acknowledged(bd) {
			p.unanswered++
		}
	}
	idle := f.paused && !f.unavailable
	f.unfinished = f.there && !idle && (bd == nil || !upToDate(bd, t))
	return f
}

// obstacle says why nothing may be written for the target now.
func obstacle(b *fleet.Bundle, t *Target) (Reason, string) {
	switch {
	case t.Cluster.DeletionTimestamp != nil:
		return ReasonClusterLeaving, "the cluster is being deleted"
	case t.Cluster.Status.Namespace == "":
		return ReasonClusterNotReady, "the cluster's namespace is not there yet"
	case t.Existing != nil && t.Existing.Labels[names.LabelAgentOf] == "true" && t.Existing.Labels[names.LabelBundleName] == "":
		return ReasonNameConflict, "the deployment of this name delivers the cluster's own agent: rename the bundle"
	case t.Existing != nil && !owns(b, t.Existing):
		return ReasonNameConflict, "bundle " + t.Existing.Labels[names.LabelBundleNamespace] + "/" +
			t.Existing.Labels[names.LabelBundleName] + " already has a deployment of this name on the cluster: rename one of the bundles"
	case t.Existing != nil && t.Existing.DeletionTimestamp != nil:
		return ReasonRemoving, "the former deployment is still being removed"
	case t.Problem != "":
		return ReasonInvalidOptions, t.Problem
	}
	return "", ""
}

// owns says whether the deployment is one of the bundle's.
func owns(b *fleet.Bundle, bd *fleet.BundleDeployment) bool {
	return bd.Labels[names.LabelBundleName] == b.Name && bd.Labels[names.LabelBundleNamespace] == b.Namespace
}

// Available says whether the agent reports that what the deployment asks for
// is applied and ready.
func Available(bd *fleet.BundleDeployment) bool {
	return bd.Spec.DeploymentID != "" && bd.Applied() && bd.Status.Ready
}

// upToDate says whether the target's deployment is available and what is
// available is what the target should run.
func upToDate(bd *fleet.BundleDeployment, t *Target) bool {
	return Available(bd) && bd.Spec.DeploymentID == t.DeploymentID && bd.Spec.StagedDeploymentID == t.DeploymentID && copied(bd) == t.Copies
}

// acknowledged says whether an agent has ever reported on the deployment.
func acknowledged(bd *fleet.BundleDeployment) bool {
	return len(bd.Status.Conditions) > 0 || bd.Status.AppliedDeploymentID != ""
}

// News says whether a change of a deployment's status can change the plan of a
// bundle that waits for its agents.
func News(before, after *fleet.BundleDeployment) bool {
	return Available(before) != Available(after) || acknowledged(before) != acknowledged(after)
}
