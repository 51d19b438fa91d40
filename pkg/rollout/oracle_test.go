package rollout

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// oracle checks plans against what a roll-out promises. It does so in the
// plainest way, from the world and the steps alone, and shares no code with the
// planner.
type oracle struct {
	// history counts, per cluster, what was written since what it should run last
	// changed.
	history map[string]*history
	plans   int
}

// history of one deployment, for as long as it should run the same.
type history struct {
	wanted, uid   string
	moved, staged int
}

func newOracle() *oracle { return &oracle{history: map[string]*history{}} }

// ring is a partition as the oracle sees it.
type ring struct {
	targets []int
	max     int
	// unavailable and unfinished clusters, newly those that the plan makes
	// unavailable.
	unavailable, unfinished, newly int
	begun                          bool
}

// check returns what is wrong with the plan.
func (o *oracle) check(w World, p Plan) error {
	o.plans++
	rings, maxParts := ringsOf(w)
	checks := []func() error{
		func() error { return everyTargetOnce(w, p) },
		func() error { return noEmptyWrites(p) },
		func() error { return obstaclesHold(w, p) },
		func() error { return pausedMovesNothing(w, p) },
		func() error { return turns(w, p, rings, maxParts) },
		func() error { return budgets(w, p, rings) },
		func() error { return newcomers(w, p) },
		func() error { return settledIsSettled(w, p) },
		func() error { return heldForAReason(w, p, rings) },
		func() error { return figures(p, rings) },
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// isThere says whether the cluster has an agent that counts.
func isThere(t Target) bool {
	return !t.Cluster.Status.Agent.LastSeen.IsZero() && !t.Offline && t.Cluster.DeletionTimestamp == nil && t.Cluster.Status.Namespace != ""
}

func isMine(t Target) bool { return t.Existing != nil && t.Existing.DeletionTimestamp == nil }

func runs(bd *fleet.BundleDeployment) bool {
	return bd.Spec.DeploymentID != "" && bd.Spec.DeploymentID == bd.Status.AppliedDeploymentID && bd.Status.Ready &&
		(len(bd.Spec.Options.DownstreamResources) == 0 || bd.Spec.DownstreamResourcesGeneration == bd.Status.DownstreamResourcesGeneration)
}

// copiesOf is the digest of what a deployment has copied.
func copiesOf(bd *fleet.BundleDeployment) string {
	if bd == nil {
		return ""
	}
	return bd.Annotations["flotilla-gitops.github.io/downstream-resources"]
}

func isUnavailable(t Target) bool {
	return isThere(t) && isMine(t) && t.Existing.Spec.DeploymentID != "" && !runs(t.Existing)
}

func isPaused(w World, t Target) bool { return w.Bundle.Spec.Paused || t.Cluster.Spec.Paused }

func isUnfinished(w World, t Target) bool {
	if !isThere(t) || (isPaused(w, t) && !isUnavailable(t)) {
		return false
	}
	return !isMine(t) || t.Problem != "" || !runs(t.Existing) ||
		t.Existing.Spec.DeploymentID != t.DeploymentID || t.Existing.Spec.StagedDeploymentID != t.DeploymentID || copiesOf(t.Existing) != t.Copies
}

func number(of int, value *intstr.IntOrString, otherwise int) int {
	switch {
	case value == nil:
		return otherwise
	case value.Type == intstr.Int:
		return min(int(value.IntVal), max(of, 1))
	}
	var percent float64
	if _, err := fmt.Sscanf(value.StrVal, "%g%%", &percent); err != nil {
		return 0
	}
	return min(max(1, int(math.Floor(float64(of)*percent/100))), max(of, 1))
}

// ringsOf distributes the targets, and says how many rings may be unfinished
// before the next one waits.
func ringsOf(w World) ([]*ring, int) {
	s := w.Bundle.Spec.RolloutStrategy
	if s == nil {
		s = &fleet.RolloutStrategy{}
	}
	rings := manualRings(w, s)
	if len(s.Partitions) == 0 {
		rings = automaticRings(w, s)
	}
	for _, r := range rings {
		for _, i := range r.targets {
			if isUnavailable(w.Targets[i]) {
				r.unavailable++
			}
			if isUnfinished(w, w.Targets[i]) {
				r.unfinished++
			}
		}
	}
	maxParts, blocking := number(len(rings), s.MaxUnavailablePartitions, 0), 0
	for _, r := range rings {
		if r.begun = blocking <= maxParts; r.unfinished > r.max {
			blocking++
		}
	}
	return rings, maxParts
}

func manualRings(w World, s *fleet.RolloutStrategy) []*ring {
	rings := make([]*ring, len(s.Partitions)+1)
	for i := range rings {
		rings[i] = &ring{}
	}
	for i, t := range w.Targets {
		at := t.Partition
		if at == -1 {
			at = len(s.Partitions)
		}
		rings[at].targets = append(rings[at].targets, i)
	}
	if len(rings[len(s.Partitions)].targets) == 0 {
		rings = rings[:len(s.Partitions)]
	}
	for i, r := range rings {
		n := len(r.targets)
		r.max = number(n, s.MaxUnavailable, max(n, 1))
		if i < len(s.Partitions) {
			r.max = number(n, s.Partitions[i].MaxUnavailable, r.max)
		}
	}
	return rings
}

func automaticRings(w World, s *fleet.RolloutStrategy) []*ring {
	n := len(w.Targets)
	threshold := 200
	if s.AutoPartitionThreshold != nil {
		threshold = *s.AutoPartitionThreshold
	}
	size := number(n, s.AutoPartitionSize, max(1, n/4))
	if threshold == 0 || n < threshold || size <= 0 {
		size = n
	}
	var rings []*ring
	for i := range w.Targets {
		if i%size == 0 {
			rings = append(rings, &ring{})
		}
		last := rings[len(rings)-1]
		last.targets = append(last.targets, i)
	}
	if len(rings) == 0 {
		rings = append(rings, &ring{})
	}
	for _, r := range rings {
		r.max = number(len(r.targets), s.MaxUnavailable, max(1, len(r.targets)))
	}
	return rings
}

// everyTargetOnce: a target has one step or none, and steps keep their order.
func everyTargetOnce(w World, p Plan) error {
	count := map[int]int{}
	for verb, steps := range map[string][]Step{"create": p.Create, "update": p.Update, "hold": p.Hold} {
		last := -1
		for _, s := range steps {
			if s.Index <= last {
				return fmt.Errorf("%s steps are not in the order of their targets", verb)
			}
			if last = s.Index; s.Target != &w.Targets[s.Index] {
				return fmt.Errorf("step %s %d is about another target", verb, s.Index)
			}
			if (s.Deployment == nil) != (verb == "hold") || s.Reason == "" || (verb == "hold" && s.Message == "") {
				return fmt.Errorf("step %s %s (%q, %q) is incomplete", verb, s.Target.Cluster.Name, s.Reason, s.Message)
			}
			// A deployment that is held gets its finalizer all the same.
			onlyFinalizer := verb == "update" && s.Reason == ReasonSettings && reflect.DeepEqual(s.Target.Existing.Spec, s.Deployment.Spec) &&
				slices.ContainsFunc(p.Hold, func(held Step) bool { return held.Index == s.Index })
			if !onlyFinalizer {
				count[s.Index]++
			}
		}
	}
	for i, n := range count {
		if n != 1 {
			return fmt.Errorf("cluster %s has %d steps", w.Targets[i].Cluster.Name, n)
		}
	}
	if len(count)+p.Unchanged != len(w.Targets) {
		return fmt.Errorf("%d targets, of which %d have a step and %d are unchanged", len(w.Targets), len(count), p.Unchanged)
	}
	return nil
}

// noEmptyWrites: nothing is written that changes nothing, or more than it says.
func noEmptyWrites(p Plan) error {
	for _, s := range p.Update {
		before, after := s.Target.Existing, s.Deployment
		if reflect.DeepEqual(before.Spec, after.Spec) && maps.Equal(before.Labels, after.Labels) && slices.Equal(before.Finalizers, after.Finalizers) {
			return fmt.Errorf("writing %s (%s) changes nothing", s.Target.Cluster.Name, s.Reason)
		}
		if !reflect.DeepEqual(before.Status, after.Status) || before.UID != after.UID || before.ResourceVersion != after.ResourceVersion {
			return fmt.Errorf("writing %s changes what is not ours", s.Target.Cluster.Name)
		}
		if copied := copiesOf(before) != copiesOf(after); copied != (before.Spec.DownstreamResourcesGeneration+1 == after.Spec.DownstreamResourcesGeneration) {
			return fmt.Errorf("writing %s raises the generation of copies from %d to %d, for copies that differ: %v",
				s.Target.Cluster.Name, before.Spec.DownstreamResourcesGeneration, after.Spec.DownstreamResourcesGeneration, copied)
		}
		if s.Target.DeploymentID == before.Spec.DeploymentID && copiesOf(before) == s.Target.Copies && s.Reason == ReasonChanged {
			return fmt.Errorf("writing %s says Changed and deploys nothing else", s.Target.Cluster.Name)
		}
	}
	return nil
}

// pausedMovesNothing: what a paused cluster runs stays, and it is told that it
// is paused.
func pausedMovesNothing(w World, p Plan) error {
	for _, s := range slices.Concat(p.Create, p.Update) {
		if !isPaused(w, *s.Target) {
			continue
		}
		var before fleet.BundleDeploymentSpec
		if s.Target.Existing != nil {
			before = s.Target.Existing.Spec
		}
		after := s.Deployment.Spec
		if !after.Paused || before.DeploymentID != after.DeploymentID || before.ValuesHash != after.ValuesHash || !reflect.DeepEqual(before.Options, after.Options) || copiesOf(s.Target.Existing) != copiesOf(s.Deployment) {
			return fmt.Errorf("paused cluster %s is moved", s.Target.Cluster.Name)
		}
	}
	return nil
}

// obstaclesHold: nothing is written where nothing can be, and nothing but the
// finalizer where something is held.
func obstaclesHold(w World, p Plan) error {
	for _, s := range slices.Concat(p.Create, p.Update) {
		t := *s.Target
		if t.Cluster.DeletionTimestamp != nil || t.Cluster.Status.Namespace == "" || t.Problem != "" || (t.Existing != nil && !isMine(t)) {
			return fmt.Errorf("cluster %s is written, but cannot be", t.Cluster.Name)
		}
		if staged := t.Existing != nil && isPaused(w, t) && t.Existing.Spec.StagedDeploymentID != t.DeploymentID; staged != (s.Reason == ReasonStaged) {
			return fmt.Errorf("cluster %s is written for %s, staged %v", t.Cluster.Name, s.Reason, staged)
		}
	}
	return nil
}

// heldForAReason: nothing is held back longer than its reason lasts.
func heldForAReason(w World, p Plan, rings []*ring) error {
	most, maxNew := len(w.Targets), 50
	if s := w.Bundle.Spec.RolloutStrategy; s != nil {
		most = number(len(w.Targets), s.MaxUnavailable, most)
		if s.MaxNew != nil {
			maxNew = *s.MaxNew
		}
	}
	down := 0
	for _, r := range rings {
		down += r.newly
		if r.begun {
			down += r.unavailable
		}
	}
	waiting := 0
	for _, t := range w.Targets {
		if isThere(t) && isMine(t) && len(t.Existing.Status.Conditions) == 0 && t.Existing.Status.AppliedDeploymentID == "" {
			waiting++
		}
	}
	for _, s := range p.Create {
		if isThere(*s.Target) {
			waiting++
		}
	}
	for _, s := range p.Hold {
		t, r := *s.Target, rings[ringOf(rings, s.Index)]
		var holds bool
		switch s.Reason {
		case ReasonPartition:
			holds = !r.begun && !isPaused(w, t)
		case ReasonMaxUnavailable:
			holds = r.begun && !isPaused(w, t) && isThere(t) && runs(t.Existing) && (r.unavailable+r.newly >= r.max || down >= max(most, r.max))
		case ReasonMaxNew:
			holds = t.Existing == nil && (maxNew == 0 || (isThere(t) && waiting >= maxNew))
		case ReasonPaused:
			holds = isPaused(w, t) && t.Existing.Spec.StagedDeploymentID == t.DeploymentID && t.Existing.Spec.Paused
		default:
			holds = t.Cluster.DeletionTimestamp != nil || t.Cluster.Status.Namespace == "" || t.Problem != "" || (t.Existing != nil && !isMine(t))
		}
		if !holds {
			return fmt.Errorf("cluster %s is held without reason: %s", t.Cluster.Name, s.Reason)
		}
	}
	return nil
}

// moves says whether the step makes the agent run something else.
func moves(s Step) bool {
	if s.Target.Existing == nil {
		return s.Deployment.Spec.DeploymentID != ""
	}
	return s.Target.Existing.Spec.DeploymentID != s.Deployment.Spec.DeploymentID || copiesOf(s.Target.Existing) != copiesOf(s.Deployment)
}

func ringOf(rings []*ring, target int) int {
	return slices.IndexFunc(rings, func(r *ring) bool { return slices.Contains(r.targets, target) })
}

// turns: no cluster is moved while too many partitions before its own are
// unfinished.
func turns(w World, p Plan, rings []*ring, maxParts int) error {
	for _, s := range slices.Concat(p.Create, p.Update) {
		if !moves(s) {
			continue
		}
		blocking := 0
		for _, r := range rings[:ringOf(rings, s.Index)] {
			if r.unfinished > r.max {
				blocking++
			}
		}
		if blocking > maxParts {
			return fmt.Errorf("cluster %s is moved before its turn: %d partitions are unfinished, %d may be", s.Target.Cluster.Name, blocking, maxParts)
		}
	}
	return nil
}

// budgets: no more clusters become unavailable than may, in the partition and
// in the bundle.
func budgets(w World, p Plan, rings []*ring) error {
	most := len(w.Targets)
	if s := w.Bundle.Spec.RolloutStrategy; s != nil {
		most = number(len(w.Targets), s.MaxUnavailable, len(w.Targets))
	}
	for _, s := range p.Update {
		if t := *s.Target; moves(s) && isThere(t) && runs(t.Existing) {
			rings[ringOf(rings, s.Index)].newly++
		}
	}
	down := 0
	for i, r := range rings {
		if r.newly > 0 && r.unavailable+r.newly > r.max {
			return fmt.Errorf("partition %d: %d are unavailable and %d more are made so, %d may be", i, r.unavailable, r.newly, r.max)
		}
		down += r.newly
		if r.begun {
			down += r.unavailable
		}
		most = max(most, r.max)
	}
	if newly := slices.ContainsFunc(rings, func(r *ring) bool { return r.newly > 0 }); newly && down > most {
		return fmt.Errorf("%d clusters of the bundle would be unavailable, %d may be", down, most)
	}
	return nil
}

// newcomers: no more deployments wait for an agent's first sign than may.
func newcomers(w World, p Plan) error {
	most := 50
	if s := w.Bundle.Spec.RolloutStrategy; s != nil && s.MaxNew != nil {
		most = *s.MaxNew
	}
	waiting, created := 0, 0
	for _, t := range w.Targets {
		if isThere(t) && isMine(t) && len(t.Existing.Status.Conditions) == 0 && t.Existing.Status.AppliedDeploymentID == "" {
			waiting++
		}
	}
	for _, s := range p.Create {
		if isThere(*s.Target) {
			created++
		}
	}
	if created > 0 && waiting+created > most {
		return fmt.Errorf("%d new deployments wait for their agents and %d are created, maxNew is %d", waiting, created, most)
	}
	return nil
}

// settledIsSettled: what is called settled needs nothing and nobody.
func settledIsSettled(w World, p Plan) error {
	for _, i := range p.Settled {
		t := w.Targets[i]
		right := isMine(t) && t.Existing.Spec.DeploymentID == t.DeploymentID && t.Existing.Spec.StagedDeploymentID == t.DeploymentID && copiesOf(t.Existing) == t.Copies
		agentless := t.Cluster.Status.Agent.LastSeen.IsZero()
		if !right || (!agentless && !runs(t.Existing)) {
			return fmt.Errorf("cluster %s is not settled", t.Cluster.Name)
		}
	}
	if !slices.IsSorted(p.Settled) {
		return fmt.Errorf("settled targets are not in order")
	}
	return nil
}

// figures: what the plan says of partitions is so.
func figures(p Plan, rings []*ring) error {
	if len(p.Partitions) != len(rings) {
		return fmt.Errorf("the plan has %d partitions, not %d", len(p.Partitions), len(rings))
	}
	sum := 0
	for i, r := range rings {
		got := p.Partitions[i]
		if got.Count != len(r.targets) || got.MaxUnavailable != r.max || got.Unavailable != r.unavailable || got.Unfinished != r.unfinished || got.Begun != r.begun {
			return fmt.Errorf("partition %d is %+v, not %+v", i, got, *r)
		}
		sum += r.unavailable
	}
	blocking := 0
	for _, r := range rings {
		if r.begun && r.unfinished > r.max {
			blocking++
		}
	}
	waits := slices.ContainsFunc(p.Hold, func(s Step) bool {
		return s.Reason == ReasonPartition || s.Reason == ReasonMaxUnavailable || s.Reason == ReasonMaxNew
	})
	if p.UnavailablePartitions != blocking || p.Waits != waits {
		return fmt.Errorf("%d partitions are unavailable and waits is %v, not %d and %v", p.UnavailablePartitions, p.Waits, blocking, waits)
	}
	if p.Unavailable != sum || p.NewlyCreated != len(p.Create) {
		return fmt.Errorf("%d unavailable and %d new, not %d and %d", p.Unavailable, p.NewlyCreated, sum, len(p.Create))
	}
	return nil
}

// wrote records a write that the API server took, and says whether it was one
// too many: what a cluster should run is made current once, and staged once
// more at most if it was paused.
func (o *oracle) wrote(s Step) error {
	name := s.Target.Cluster.Name
	h := o.history[name]
	uid := string(s.Deployment.UID)
	wanted := s.Target.DeploymentID + " " + s.Target.Copies
	if h == nil || h.wanted != wanted || h.uid != uid {
		h = &history{wanted: wanted, uid: uid}
		o.history[name] = h
	}
	switch {
	case moves(s):
		h.moved++
	case s.Target.Existing != nil && s.Target.Existing.Spec.StagedDeploymentID != s.Deployment.Spec.StagedDeploymentID:
		h.staged++
	}
	if h.moved > 1 || h.staged > 1 {
		return fmt.Errorf("cluster %s: %s was made current %d times and staged %d times", name, h.wanted, h.moved, h.staged)
	}
	return nil
}

// forget starts a cluster's history anew: somebody else wrote its deployment.
func (o *oracle) forget(name string) { delete(o.history, name) }

// digest of a plan, to compare two.
func digest(p Plan) string {
	var b strings.Builder
	for _, steps := range [][]Step{p.Create, p.Update, p.Hold} {
		for _, s := range steps {
			fmt.Fprintf(&b, "%d %s %s", s.Index, s.Reason, s.Message)
			if s.Deployment != nil {
				fmt.Fprintf(&b, " %s %s %s %s %v %v", copiesOf(s.Deployment), s.Deployment.Spec.StagedDeploymentID, s.Deployment.Spec.DeploymentID, s.Deployment.Spec.ValuesHash, s.Deployment.Spec.Paused, s.Deployment.Finalizers)
			}
			b.WriteByte('\n')
		}
		b.WriteString("--\n")
	}
	fmt.Fprintf(&b, "%d %v %+v %d/%d %d/%d %d %v %s", p.Unchanged, p.Settled, p.Partitions, p.Unavailable, p.MaxUnavailable,
		p.UnavailablePartitions, p.MaxUnavailablePartitions, p.NewlyCreated, p.Waits, p.Problem)
	return b.String()
}
