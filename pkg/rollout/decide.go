package rollout

import (
	"slices"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// verdict is what is decided about a target.
type verdict struct {
	action  action
	reason  Reason
	message string
}

type action int

const (
	// keep: the deployment is right.
	keep action = iota
	create
	update
	hold
)

// begin says which partitions are begun: those that no more partitions before
// them hold back than may.
func (p *planner) begin() {
	for i := range p.plan.Partitions {
		state := &p.plan.Partitions[i]
		state.Begun = p.plan.UnavailablePartitions <= p.plan.MaxUnavailablePartitions
		if state.Begun && state.blocks() {
			p.plan.UnavailablePartitions++
		}
	}
}

// decide judges every open target. Those of earlier partitions come first:
// what may be spent only once goes to them.
func (p *planner) decide() {
	if len(p.open) == 0 {
		return
	}
	spent := p.newAllowance()
	for _, i := range p.turns() {
		f := &p.open[i]
		f.verdict = p.judge(f, spent)
	}
}

// turns returns the indexes of the open targets in the order of their
// partitions.
func (p *planner) turns() []int {
	order := make([]int, len(p.open))
	for i := range order {
		order[i] = i
	}
	if p.plan.layout.size == 0 {
		slices.SortStableFunc(order, func(a, b int) int { return p.open[a].partition - p.open[b].partition })
	}
	return order
}

func (p *planner) judge(f *finding, a *allowance) verdict {
	t := &p.Targets[f.index]
	switch {
	case f.obstacle != "":
		return verdict{hold, f.obstacle, f.message}
	case t.Existing == nil:
		return p.install(f, a)
	case f.paused:
		return p.stage(t)
	case outdated(t):
		return p.change(f, a)
	case differs(p.Bundle, t):
		return verdict{action: update, reason: ReasonSettings}
	}
	return verdict{}
}

// install decides about a target without a deployment.
func (p *planner) install(f *finding, a *allowance) verdict {
	switch {
	case p.plan.Problem != "":
		return verdict{hold, ReasonInvalidStrategy, p.plan.Problem}
	case !f.paused && !p.plan.Partitions[f.partition].Begun:
		return verdict{hold, ReasonPartition, a.partition(f.partition)}
	case !a.admit(f.there):
		return verdict{hold, ReasonMaxNew, a.maxNew()}
	}
	return verdict{action: create, reason: ReasonMissing}
}

// change decides about a deployment that is to run something else. One that is
// not available cannot become less so, and one that nobody reports on is not
// counted: neither needs an allowance.
func (p *planner) change(f *finding, a *allowance) verdict {
	switch {
	case p.plan.Problem != "":
		return verdict{hold, ReasonInvalidStrategy, p.plan.Problem}
	case !p.plan.Partitions[f.partition].Begun:
		return verdict{hold, ReasonPartition, a.partition(f.partition)}
	case f.there && Available(p.Targets[f.index].Existing) && !a.spend(f.partition):
		return verdict{hold, ReasonMaxUnavailable, a.maxUnavailable(f.partition)}
	}
	return verdict{action: update, reason: ReasonChanged}
}

// outdated says whether the target's deployment runs something else than it should, or with other copies.
func outdated(t *Target) bool {
	return t.Existing.Spec.DeploymentID != t.DeploymentID || copied(t.Existing) != t.Copies
}

// copied returns the digest of what a deployment has copied to its cluster.
func copied(bd *fleet.BundleDeployment) string {
	return bd.Annotations[names.AnnotationDownstreamResources]
}

// stage decides about a deployment that is paused: it may be told what comes
// next, whosever turn it is.
func (p *planner) stage(t *Target) verdict {
	switch {
	case t.Existing.Spec.StagedDeploymentID != t.DeploymentID:
		return verdict{action: update, reason: ReasonStaged}
	case differs(p.Bundle, t):
		return verdict{action: update, reason: ReasonSettings}
	case outdated(t):
		return verdict{hold, ReasonPaused, p.paused(t)}
	}
	return verdict{}
}

// paused says what waits for what to be resumed. What is copied is not staged.
func (p *planner) paused(t *Target) string {
	what, who := "what is new is staged", "cluster"
	if t.Existing.Spec.DeploymentID == t.DeploymentID {
		what = "other copies wait"
	}
	if p.Bundle.Spec.Paused {
		who = "bundle"
	}
	return what + ", and the " + who + " is paused"
}

// steps turns verdicts into the plan.
func (p *planner) steps() Plan {
	plan := &p.plan
	p.allocate()
	for i := range p.open {
		f := &p.open[i]
		t := &p.Targets[f.index]
		switch f.verdict.action {
		case keep:
			plan.keep(f.index, t)
		case create:
			plan.Create = append(plan.Create, p.step(f, desired(p.Bundle, t)))
		case update:
			plan.Update = append(plan.Update, p.step(f, desired(p.Bundle, t)))
		case hold:
			plan.Hold = append(plan.Hold, p.step(f, nil))
			plan.Waits = plan.Waits || waits(f.verdict.reason)
			if f.obstacle == "" && t.Existing != nil && lacksFinalizer(t) {
				plan.Update = append(plan.Update, Step{
					Index: f.index, Target: t, Reason: ReasonSettings, Deployment: withFinalizer(t),
				})
			}
		}
	}
	slices.Sort(plan.Settled)
	plan.NewlyCreated = len(plan.Create)
	return *plan
}

func (p *planner) step(f *finding, bd *fleet.BundleDeployment) Step {
	return Step{
		Index: f.index, Target: &p.Targets[f.index], Reason: f.verdict.reason, Message: f.verdict.message, Deployment: bd,
	}
}

// allocate makes room for the steps: they are large, and can be thousands.
func (p *planner) allocate() {
	counts := map[action]int{}
	for i := range p.open {
		counts[p.open[i].verdict.action]++
	}
	plan := &p.plan
	plan.Create, plan.Update, plan.Hold = room(counts[create]), room(counts[update]), room(counts[hold])
}

func room(n int) []Step {
	if n == 0 {
		return nil
	}
	return make([]Step, 0, n)
}

// keep counts a deployment that is right. It is settled unless an agent has yet
// to make it true.
func (p *Plan) keep(index int, t *Target) {
	p.Unchanged++
	if upToDate(t.Existing, t) || !AgentAnnounced(t.Cluster) {
		p.Settled = append(p.Settled, index)
	}
}

// waits says whether agents can end what a step is held for.
func waits(r Reason) bool {
	return r == ReasonPartition || r == ReasonMaxUnavailable || r == ReasonMaxNew
}
