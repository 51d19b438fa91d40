package rollout

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run this interleaving alone and tell it")
	runsFlag = flag.Int("interleavings", 0, "how many interleavings to run; 0: a few hundred with -short, else 20,000")
)

// TestInterleavings runs roll-outs while everything happens around them that
// may, in random order, and checks what is promised of every single plan. At
// last it lets everything calm down: then every cluster must have arrived.
func TestInterleavings(t *testing.T) {
	runs := *runsFlag
	if runs == 0 {
		if runs = 20_000; testing.Short() {
			runs = 300
		}
	}
	if *seedFlag != 0 {
		s := newSimulation(*seedFlag)
		err := s.run()
		t.Logf("seed %d:\n%s", *seedFlag, strings.Join(s.trace, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	plans, writes, held := 0, 0, 0
	for seed := uint64(1); seed <= uint64(runs); seed++ {
		s := newSimulation(seed)
		if err := s.run(); err != nil {
			t.Fatalf("seed %d (go test ./pkg/rollout -run TestInterleavings -seed %d): %v\n%s", seed, seed, err, strings.Join(s.trace, "\n"))
		}
		plans, writes, held = plans+s.oracle.plans, writes+s.writes, held+s.held
	}
	t.Logf("%d interleavings, %d plans, %d writes, %d times held for others", runs, plans, writes, held)
	if held == 0 {
		t.Error("no roll-out ever had to wait: the simulation tests nothing")
	}
}

// simulation is one interleaving.
type simulation struct {
	*hub
	*rand.Rand
	oracle *oracle
	trace  []string
	// writes and held count what happened.
	writes, held int
}

func newSimulation(seed uint64) *simulation {
	s := &simulation{hub: newHub(), Rand: rand.New(rand.NewPCG(seed, 0)), oracle: newOracle()}
	for range 1 + s.IntN(12) {
		s.addCluster()
	}
	s.bundle.Spec.RolloutStrategy = s.strategy()
	s.tell("strategy %s", strategyText(s.bundle.Spec.RolloutStrategy))
	return s
}

func (s *simulation) tell(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf(format, args...))
}

// chance is true once in n times.
func (s *simulation) chance(n int) bool { return s.IntN(n) == 0 }

func pick[T any](s *simulation, of ...T) T { return of[s.IntN(len(of))] }

func amount(n int) *intstr.IntOrString   { v := intstr.FromInt32(int32(n)); return &v }
func share(p string) *intstr.IntOrString { v := intstr.FromString(p); return &v }
func count(n int) *int                   { return &n }

// strategy draws one. Values that hold everything for ever are rare.
func (s *simulation) strategy() *fleet.RolloutStrategy {
	if s.chance(8) {
		return nil
	}
	unavailable := func() *intstr.IntOrString {
		if s.chance(15) {
			return amount(0)
		}
		return pick(s, nil, amount(1), amount(1), amount(2), amount(3), share("10%"), share("25%"), share("50%"), share("100%"))
	}
	r := &fleet.RolloutStrategy{
		MaxUnavailable:           unavailable(),
		MaxUnavailablePartitions: pick(s, nil, nil, amount(0), amount(1), amount(2), share("50%")),
		AutoPartitionSize:        pick(s, nil, amount(1), amount(2), amount(5), share("10%"), share("49%")),
		AutoPartitionThreshold:   pick(s, nil, count(0), count(1), count(3), count(8)),
		MaxNew:                   pick(s, nil, nil, count(1), count(2), count(5)),
	}
	if s.chance(20) {
		r.MaxNew = count(0)
	}
	if s.chance(2) {
		for _, name := range rings()[:1+s.IntN(3)] {
			p := fleet.Partition{Name: name}
			if s.chance(3) {
				p.MaxUnavailable = unavailable()
			}
			r.Partitions = append(r.Partitions, p)
		}
	}
	return r
}

func rings() []string { return []string{"canary", "early", "late"} }

func strategyText(r *fleet.RolloutStrategy) string {
	if r == nil {
		return "none"
	}
	text := func(v *intstr.IntOrString) string {
		if v == nil {
			return "-"
		}
		return v.String()
	}
	var parts []string
	for _, p := range r.Partitions {
		parts = append(parts, p.Name+"="+text(p.MaxUnavailable))
	}
	line := fmt.Sprintf("maxUnavailable %s, partitions %s, size %s", text(r.MaxUnavailable), text(r.MaxUnavailablePartitions), text(r.AutoPartitionSize))
	for _, n := range []*int{r.AutoPartitionThreshold, r.MaxNew} {
		if n == nil {
			line += ", -"
		} else {
			line += fmt.Sprintf(", %d", *n)
		}
	}
	return line + " " + strings.Join(parts, " ")
}

// run runs the interleaving to its end.
func (s *simulation) run() error {
	for range 10 + s.IntN(50) {
		s.event()
		if s.chance(2) {
			if err := s.reconcile(false); err != nil {
				return err
			}
		}
	}
	return s.finish()
}

// event is something that happens.
func (s *simulation) event() {
	nodes := s.sorted()
	n := nodes[s.IntN(len(nodes))]
	events := []struct {
		weight int
		do     func(*node)
	}{
		{40, s.agentActs}, {20, s.cacheDelivers}, {10, s.collects},
		{4, s.newVersion}, {1, s.oldVersion}, {1, s.forceSync}, {2, s.sourceChanges}, {2, s.newStrategy},
		{3, s.pauseBundle}, {3, s.pauseCluster}, {5, s.agentLeavesOrReturns}, {3, s.agentArrives},
		{8, s.moodChanges}, {3, func(*node) { s.addCluster() }}, {3, s.targetsChange}, {3, s.relabelled},
		{2, s.optionsBreakOrHeal}, {1, s.tampered}, {1, s.clusterLeaves}, {2, s.bundleRelabelled}, {3, s.workloadBreaks},
	}
	total := 0
	for _, e := range events {
		total += e.weight
	}
	at := s.IntN(total)
	for _, e := range events {
		if at -= e.weight; at < 0 {
			e.do(n)
			return
		}
	}
}

func (s *simulation) agentActs(n *node) {
	if n.act() {
		s.tell("agent of %s reports", n.cluster.Name)
	}
}

func (s *simulation) cacheDelivers(n *node) { n.deliver() }
func (s *simulation) collects(n *node)      { s.collect(n) }

func (s *simulation) newVersion(*node) {
	s.version++
	s.bundle = s.bundle.DeepCopy()
	s.bundle.Labels = map[string]string{"fleet.cattle.io/commit": fmt.Sprint(s.version)}
	s.tell("version %d", s.version)
}

func (s *simulation) oldVersion(*node) {
	s.version = max(s.version-1, 1)
	s.tell("back to version %d", s.version)
}

func (s *simulation) forceSync(*node) {
	s.force++
	s.tell("force sync %d", s.force)
}

// sourceChanges: what clusters have copied changes, or is what it was before.
func (s *simulation) sourceChanges(*node) {
	s.sources = max(s.sources+pick(s, -1, 1, 1, 1), 0)
	s.tell("sources %d", s.sources)
}

func (s *simulation) newStrategy(*node) {
	s.bundle = s.bundle.DeepCopy()
	s.bundle.Spec.RolloutStrategy = s.strategy()
	s.tell("strategy %s", strategyText(s.bundle.Spec.RolloutStrategy))
}

func (s *simulation) pauseBundle(*node) {
	s.bundle = s.bundle.DeepCopy()
	s.bundle.Spec.Paused = !s.bundle.Spec.Paused && s.chance(2)
	s.tell("bundle paused: %v", s.bundle.Spec.Paused)
}

func (s *simulation) bundleRelabelled(*node) {
	s.bundle = s.bundle.DeepCopy()
	s.bundle.Labels = map[string]string{"team": fmt.Sprint(s.IntN(3)), "fleet.cattle.io/commit": fmt.Sprint(s.version)}
	s.bundle.Spec.DependsOn = pick(s, nil, []fleet.BundleRef{{Name: "base"}})
	s.bundle.Spec.CorrectDrift = pick(s, nil, &fleet.CorrectDrift{Enabled: true})
	s.tell("labels, dependencies and drift correction of the bundle change")
}

// onCluster changes the cluster as an API server would: what the planner holds
// stays as it was.
func (s *simulation) onCluster(n *node, what string, f func(c *fleet.Cluster)) {
	n.cluster = n.cluster.DeepCopy()
	f(n.cluster)
	s.tell("%s: %s", n.cluster.Name, what)
}

func (s *simulation) pauseCluster(n *node) {
	s.onCluster(n, "paused or resumed", func(c *fleet.Cluster) { c.Spec.Paused = !c.Spec.Paused })
}

func (s *simulation) agentLeavesOrReturns(n *node) {
	n.offline = n.announced() && !n.offline
	s.tell("%s: offline %v", n.cluster.Name, n.offline)
}

func (s *simulation) agentArrives(n *node) {
	s.onCluster(n, "its agent announces itself", func(c *fleet.Cluster) {
		c.Status.Agent.LastSeen = metav1.Unix(1, 0)
		c.Status.Namespace = "cluster-" + c.Name
	})
}

func (s *simulation) clusterLeaves(n *node) {
	if len(s.nodes) > 1 {
		s.onCluster(n, "is being deleted", func(c *fleet.Cluster) { c.DeletionTimestamp = &metav1.Time{} })
	}
}

func (s *simulation) moodChanges(n *node) {
	n.mood = mood(s.IntN(int(moods)))
	s.tell("%s: mood %d", n.cluster.Name, n.mood)
}

func (s *simulation) addCluster() {
	name := fmt.Sprintf("c%03d", s.IntN(1000))
	if len(s.nodes) >= 30 || s.nodes[name] != nil {
		return
	}
	n := s.add(name, pick(s, append(rings(), "none")...))
	n.mood = mood(s.IntN(int(moods)))
	n.custom = s.chance(4)
	if s.chance(5) {
		n.cluster.Status.Agent.LastSeen = metav1.Time{}
	}
	if s.chance(20) && !n.announced() {
		n.cluster.Status.Namespace = ""
	}
	s.tell("%s: added to %s, announced %v", name, n.ring, n.announced())
}

func (s *simulation) targetsChange(n *node) {
	n.targeted = !n.targeted
	s.tell("%s: targeted %v", n.cluster.Name, n.targeted)
}

func (s *simulation) relabelled(n *node) {
	n.ring, n.custom = pick(s, append(rings(), "none")...), s.chance(3)
	s.tell("%s: moved to %s, custom %v", n.cluster.Name, n.ring, n.custom)
}

func (s *simulation) optionsBreakOrHeal(n *node) {
	n.invalid = !n.invalid
	s.tell("%s: options invalid %v", n.cluster.Name, n.invalid)
}

// tampered: somebody else writes what only the manager should.
func (s *simulation) tampered(n *node) {
	if n.deployment == nil || n.deployment.DeletionTimestamp != nil {
		return
	}
	how := s.IntN(9)
	n.change(func(bd *fleet.BundleDeployment) {
		switch how {
		case 0:
			bd.Spec.DeploymentID = "mine"
		case 1:
			bd.Spec.Options.DefaultNamespace = "mine"
		case 2:
			bd.Finalizers = nil
		case 3:
			bd.Spec.StagedDeploymentID = "mine"
		case 4:
			bd.Labels["mine"] = "too"
		case 5:
			bd.Spec.StagedOptions.DefaultNamespace = "mine"
		case 6:
			bd.Spec.ValuesHash = "mine"
		case 7:
			delete(bd.Labels, "fleet.cattle.io/cluster")
		case 8:
			bd.Annotations = nil
		}
	})
	n.deliver()
	s.oracle.forget(n.cluster.Name)
	s.tell("%s: its deployment is tampered with (%d)", n.cluster.Name, how)
}

func (s *simulation) workloadBreaks(n *node) {
	if n.deployment != nil && n.deployment.Status.Ready {
		n.change(func(bd *fleet.BundleDeployment) { bd.Status.Ready = false })
		s.tell("%s: workload breaks", n.cluster.Name)
	}
}

// reconcile plans, checks the plan and writes: all of it, or, as happens when
// writes fail, some of it, in any order.
func (s *simulation) reconcile(all bool) error {
	w := s.world()
	p := Next(w)
	if err := s.inspect(w, p); err != nil {
		return fmt.Errorf("plan %d: %w\n%s", s.oracle.plans, err, digest(p))
	}
	steps := slices.Concat(p.Create, p.Update)
	s.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	if !all && s.chance(4) {
		steps = steps[:s.IntN(len(steps)+1)]
	}
	for _, step := range steps {
		taken := s.write(step)
		s.tell("write %s (%s): %v", step.Target.Cluster.Name, step.Reason, taken)
		if !taken {
			continue
		}
		s.writes++
		if err := s.oracle.wrote(step); err != nil {
			return err
		}
	}
	if p.Waits {
		s.held++
	}
	return nil
}

// inspect checks the plan, that it follows from its world alone, and that it is
// the same if what is settled is not looked at again.
func (s *simulation) inspect(w World, p Plan) error {
	if err := s.oracle.check(w, p); err != nil {
		return err
	}
	if s.chance(4) {
		before := copyOf(w)
		again := Next(w)
		if digest(again) != digest(p) {
			return fmt.Errorf("the same world gives another plan:\n%s", digest(again))
		}
		if !reflect.DeepEqual(before, w) {
			return fmt.Errorf("planning changes the world")
		}
	}
	less := World{Bundle: w.Bundle, Targets: slices.Clone(w.Targets)}
	some := s.chance(2)
	for _, i := range p.Settled {
		if !some || s.chance(2) {
			less.Targets[i].Settled, less.Targets[i].Existing = true, nil
		}
	}
	if short := Next(less); digest(short) != digest(p) {
		return fmt.Errorf("with what is settled left out the plan is another:\n%s", digest(short))
	}
	return nil
}

func copyOf(w World) World {
	c := World{Bundle: w.Bundle.DeepCopy(), Targets: slices.Clone(w.Targets)}
	for i := range c.Targets {
		t := &c.Targets[i]
		t.Cluster, t.Existing, t.Options = t.Cluster.DeepCopy(), t.Existing.DeepCopy(), *t.Options.DeepCopy()
	}
	return c
}

// finish ends the trouble in two steps and sees that the roll-out ends, too.
// First agents answer that are there; clusters that are offline, and paused
// ones that are available, stay so and must not keep the others. Then all come
// back.
func (s *simulation) finish() error {
	s.bundle = s.bundle.DeepCopy()
	s.bundle.Spec.Paused = false
	s.allowSomething(s.bundle.Spec.RolloutStrategy)
	for _, n := range s.sorted() {
		n.mood, n.invalid = good, false
		n.deliver()
		if n.cluster.DeletionTimestamp != nil {
			delete(s.nodes, n.cluster.Name)
		}
		if n.seen != nil && !n.offline && isUnavailable(s.target(n)) {
			n.cluster = n.cluster.DeepCopy()
			n.cluster.Spec.Paused = false
		}
	}
	s.tell("agents that are there answer; strategy %s", strategyText(s.bundle.Spec.RolloutStrategy))
	if err := s.converge(); err != nil {
		return err
	}
	for _, n := range s.sorted() {
		n.offline = false
		n.cluster = n.cluster.DeepCopy()
		n.cluster.Spec.Paused = false
		n.cluster.Status.Namespace = "there"
	}
	s.tell("all come back")
	if err := s.converge(); err != nil {
		return err
	}
	w := s.world()
	if p := Next(w); len(p.Settled) != len(w.Targets) || p.Unchanged != len(w.Targets) || p.Unavailable != 0 || p.UnavailablePartitions != 0 || p.Waits {
		return fmt.Errorf("at the end not all is settled:\n%s", digest(p))
	}
	return nil
}

// allowSomething takes out what holds a roll-out for ever.
func (s *simulation) allowSomething(r *fleet.RolloutStrategy) {
	if r == nil {
		return
	}
	none := func(v *intstr.IntOrString) bool { return v != nil && v.Type == intstr.Int && v.IntVal == 0 }
	if none(r.MaxUnavailable) {
		r.MaxUnavailable = amount(1)
	}
	if r.MaxNew != nil && *r.MaxNew == 0 {
		r.MaxNew = count(1)
	}
	for i := range r.Partitions {
		if none(r.Partitions[i].MaxUnavailable) {
			r.Partitions[i].MaxUnavailable = amount(1)
		}
	}
}

// converge runs until nothing happens any more. Every round must bring at least
// one cluster on, so there cannot be more rounds than clusters have steps.
func (s *simulation) converge() error {
	bound := 10 + 6*len(s.nodes)
	for round := 0; ; round++ {
		if round > bound {
			return fmt.Errorf("after %d rounds the roll-out has not ended", round)
		}
		before := s.writes
		if err := s.reconcile(true); err != nil {
			return err
		}
		if moved := s.calm(); !moved && s.writes == before {
			break
		}
	}
	return s.arrived()
}

// arrived says whether every cluster that can be has got where it should.
func (s *simulation) arrived() error {
	for _, n := range slices.Collect(maps.Values(s.nodes)) {
		t := s.target(n)
		switch bd := n.deployment; {
		case !n.targeted, n.cluster.Status.Namespace == "":
		case bd == nil:
			return fmt.Errorf("cluster %s has no deployment", n.cluster.Name)
		case bd.DeletionTimestamp != nil && n.offline:
		case bd.Spec.StagedDeploymentID != t.DeploymentID:
			return fmt.Errorf("cluster %s is not even staged", n.cluster.Name)
		case n.cluster.Spec.Paused:
		case bd.Spec.DeploymentID != t.DeploymentID, copiesOf(bd) != t.Copies:
			return fmt.Errorf("cluster %s was never moved", n.cluster.Name)
		case n.announced() && !n.offline && !runs(bd):
			return fmt.Errorf("cluster %s does not run what it should", n.cluster.Name)
		default:
			if err := s.asWanted(n, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// asWanted compares a deployment that has arrived with what was asked for, to
// the last setting.
func (s *simulation) asWanted(n *node, t Target) error {
	have, b := n.deployment, s.bundle
	want := fleet.BundleDeploymentSpec{
		StagedDeploymentID: t.DeploymentID, StagedOptions: t.Options, DeploymentID: t.DeploymentID, Options: t.Options,
		ValuesHash: t.ValuesHash, DependsOn: b.Spec.DependsOn, CorrectDrift: b.Spec.CorrectDrift,
		DownstreamResourcesGeneration: have.Spec.DownstreamResourcesGeneration,
	}
	if !reflect.DeepEqual(have.Spec, want) {
		return fmt.Errorf("cluster %s: the deployment is %+v, not %+v", n.cluster.Name, have.Spec, want)
	}
	if finalizer := slices.Equal(have.Finalizers, []string{"fleet.cattle.io/bundle-deployment-finalizer"}); n.announced() && !finalizer {
		return fmt.Errorf("cluster %s: finalizers are %q", n.cluster.Name, have.Finalizers)
	}
	labels := map[string]string{
		"fleet.cattle.io/bundle-name": b.Name, "fleet.cattle.io/bundle-namespace": b.Namespace, "fleet.cattle.io/managed": "true",
		"fleet.cattle.io/cluster": n.cluster.Name, "fleet.cattle.io/cluster-namespace": n.cluster.Namespace,
	}
	maps.Copy(labels, b.Labels)
	if commit := have.Labels["fleet.cattle.io/commit"]; commit != "" && labels["fleet.cattle.io/commit"] != "" {
		labels["fleet.cattle.io/commit"] = commit // Whichever the last write brought along.
	}
	if !maps.Equal(have.Labels, labels) {
		return fmt.Errorf("cluster %s: labels are %v, not %v", n.cluster.Name, have.Labels, labels)
	}
	return nil
}
