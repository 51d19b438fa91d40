package rollout

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// reported has the agent report that what is current is applied and ready.
func reported(t *Target) {
	t.Existing.Status.AppliedDeploymentID, t.Existing.Status.Ready = t.Existing.Spec.DeploymentID, true
}

func in(partition int) func(*Target) { return func(t *Target) { t.Partition = partition } }

func offline(t *Target) { t.Offline = true }

func TestWhatIsScarceGoesToEarlierPartitions(t *testing.T) {
	s := &fleet.RolloutStrategy{
		MaxUnavailable: amount(1), MaxUnavailablePartitions: amount(1), MaxNew: count(1),
		Partitions: []fleet.Partition{{Name: "first"}, {Name: "second"}},
	}
	b := strategically(s)
	running := func(name string, partition int) Target {
		return target(cluster(name, announced), in(partition), deployed(b), reported, newer)
	}
	plan := Next(World{Bundle: b, Targets: []Target{
		running("a", 1), target(cluster("b", announced), in(1)), running("c", 0), running("d", 0), target(cluster("e", announced), in(0)),
	}})
	want := []string{"create e: Missing", "hold a: MaxUnavailable", "hold b: MaxNew", "hold d: MaxUnavailable", "update c: Changed"}
	if got := told(plan); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !plan.Waits || plan.UnavailablePartitions != 2 {
		t.Errorf("waits %v for %d partitions", plan.Waits, plan.UnavailablePartitions)
	}
}

func TestUnavailable(t *testing.T) {
	old := func(bd *fleet.BundleDeployment) { bd.Status.AppliedDeploymentID = "s-0:a" }
	tests := []struct {
		name                                      string
		target                                    Target
		wantUnavailable, wantUnfinished, wantAway int
	}{
		{"no deployment yet is not unavailable, but unfinished", target(cluster("one", announced)), 0, 1, 0},
		{"applied and ready", target(cluster("one", announced), deployed(web()), reported), 0, 0, 0},
		{"not reported on", target(cluster("one", announced), deployed(web())), 1, 1, 0},
		{"something else is applied", target(cluster("one", announced), deployed(web(), old)), 1, 1, 0},
		{"applied and not ready", target(cluster("one", announced), deployed(web()), reported, func(t *Target) { t.Existing.Status.Ready = false }), 1, 1, 0},
		{"runs what is not wanted any more", target(cluster("one", announced), deployed(web()), reported, newer), 0, 1, 0},
		{"offline", target(cluster("one", announced), deployed(web()), offline), 0, 0, 1},
		{"never had an agent", target(cluster("one"), deployed(web())), 0, 0, 0},
		{"never had an agent, and is called offline", target(cluster("one"), deployed(web()), offline), 0, 0, 0},
		{"is being deleted", target(cluster("one", announced, leaving), deployed(web())), 0, 0, 0},
		{"has no namespace", target(cluster("one", announced, func(c *fleet.Cluster) { c.Status.Namespace = "" })), 0, 0, 0},
		{"its deployment is going", target(cluster("one", announced), deployed(web(), going)), 0, 1, 0},
		{"another bundle's deployment is none of ours", target(cluster("one", announced), deployed(web(func(b *fleet.Bundle) { b.Namespace = "other" }))), 0, 1, 0},
		{"its options cannot be computed", target(cluster("one", announced), deployed(web()), reported, func(t *Target) { t.Problem, t.DeploymentID = "no label", "" }), 0, 1, 0},
		{"paused and available", target(cluster("one", announced, pausedCluster), deployed(web()), reported, newer), 0, 0, 0},
		{"paused and without a deployment", target(cluster("one", announced, pausedCluster)), 0, 0, 0},
		{"paused, and nothing was ever asked for", target(cluster("one", announced, pausedCluster), written(web())), 0, 0, 0},
		{"paused and broken", target(cluster("one", announced, pausedCluster), deployed(web(), func(bd *fleet.BundleDeployment) {
			bd.Spec.DeploymentID = "s-1:a"
		})), 1, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan := Next(World{Bundle: web(), Targets: []Target{tt.target}})
			p := plan.Partitions[0]
			if p.Unavailable != tt.wantUnavailable || p.Unfinished != tt.wantUnfinished || p.Offline != tt.wantAway || plan.Unavailable != tt.wantUnavailable {
				t.Errorf("unavailable %d, unfinished %d, offline %d", p.Unavailable, p.Unfinished, p.Offline)
			}
		})
	}
}

func leaving(c *fleet.Cluster)           { c.DeletionTimestamp = &metav1.Time{} }
func going(bd *fleet.BundleDeployment)   { bd.DeletionTimestamp = &metav1.Time{} }
func nothing(bd *fleet.BundleDeployment) { bd.Spec.DeploymentID = "" }

func TestAvailableIsOnlyWhatWasAskedFor(t *testing.T) {
	bd := target(cluster("one"), deployed(web(), nothing), reported).Existing
	if !bd.Status.Ready || Available(bd) {
		t.Error("a deployment of nothing is available")
	}
}

func TestNextIsHeldByObstaclesThoughPaused(t *testing.T) {
	b := web(pausedBundle)
	plan := Next(World{Bundle: b, Targets: []Target{
		target(cluster("bad"), deployed(web()), func(t *Target) { t.Problem = "no label" }),
		target(cluster("going"), deployed(web(), going)),
		target(cluster("leaving", leaving), deployed(web())),
	}})
	if got, want := told(plan), []string{"hold bad: InvalidOptions", "hold going: Removing", "hold leaving: ClusterLeaving"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestHeldDeploymentGetsItsFinalizerAndNothingElse(t *testing.T) {
	b := strategically(&fleet.RolloutStrategy{MaxUnavailable: amount(0)})
	held := target(cluster("one"), deployed(b), reported, newer)
	announced(held.Cluster)
	plan := Next(World{Bundle: b, Targets: []Target{held}})
	if got, want := told(plan), []string{"hold one: MaxUnavailable", "update one: Settings"}; !slices.Equal(got, want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
	step := plan.Update[0]
	want := held.Existing.DeepCopy()
	want.Finalizers = []string{names.FinalizerDeployment}
	if !same(step.Deployment, want) {
		t.Errorf("writes %+v", step.Deployment)
	}
	if step.Stages() || plan.Hold[0].Stages() {
		t.Error("a step that stages nothing says that it does")
	}
}

func TestStepsStageWhatTheyWrite(t *testing.T) {
	for _, b := range []*fleet.Bundle{web(), web(pausedBundle)} {
		plan := Next(World{Bundle: b, Targets: []Target{target(cluster("new")), target(cluster("old"), deployed(web()), newer)}})
		for _, step := range slices.Concat(plan.Create, plan.Update) {
			if !step.Stages() {
				t.Errorf("paused %v: %s stages nothing", b.Spec.Paused, step.Target.Cluster.Name)
			}
		}
	}
	// Staged while it was paused, kept from what it should run by somebody else.
	tampered := target(cluster("one"), deployed(web(), func(bd *fleet.BundleDeployment) { bd.Spec.DeploymentID = "mine" }))
	if (Step{Target: &tampered, Deployment: tampered.Existing}).Stages() {
		t.Error("a deployment that runs something else needs no values of ours")
	}
}

// TestUpToDate: staged, wanted and applied must all be what the target should run.
func TestUpToDate(t *testing.T) {
	tests := []struct {
		staged, wanted, applied string
		ready, want             bool
	}{
		{"s-1:a", "s-1:a", "s-1:a", true, true},
		{"s-0:a", "s-1:a", "s-1:a", true, false},
		{"s-1:a", "s-0:a", "s-1:a", true, false},
		{"s-1:a", "s-0:a", "s-0:a", true, false},
		{"s-1:a", "s-1:a", "s-0:a", true, false},
		{"s-1:a", "s-1:a", "", true, false},
		{"s-0:a", "s-0:a", "s-0:a", true, false},
		{"s-1:a", "s-1:a", "s-1:a", false, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			one := target(cluster("one", announced), deployed(web(), func(bd *fleet.BundleDeployment) {
				bd.Spec.StagedDeploymentID, bd.Spec.DeploymentID = tt.staged, tt.wanted
				bd.Status.AppliedDeploymentID, bd.Status.Ready = tt.applied, tt.ready
			}))
			if got := Next(World{Bundle: web(), Targets: []Target{one}}).Partitions[0].Unfinished == 0; got != tt.want {
				t.Errorf("up to date is %v", got)
			}
		})
	}
}

// TestPartitionThatBlocksTheNext: more of its clusters must be unavailable than
// may be. Those that do not run yet what they should count like those.
func TestPartitionThatBlocksTheNext(t *testing.T) {
	failing := func(t *Target) { t.Existing.Status.Ready = false }
	first := func(name string, change ...func(*Target)) Target {
		return target(cluster(name, announced), slices.Concat([]func(*Target){in(0), deployed(web()), reported}, change)...)
	}
	tests := []struct {
		name           string
		maxUnavailable int
		first          []Target
		blocks         bool
	}{
		{"nothing is unavailable", 0, []Target{first("a"), first("b")}, false},
		{"one is, none may be", 0, []Target{first("a", failing), first("b")}, true},
		{"as many as may be", 1, []Target{first("a", failing), first("b")}, false},
		{"one more than may be", 1, []Target{first("a", failing), first("b", failing)}, true},
		{"all may be", 2, []Target{first("a", failing), first("b", failing)}, false},
		{"one is unavailable, another has to change", 1, []Target{first("a", failing), first("b", newer)}, true},
		{"one has no deployment yet", 1, []Target{first("a"), target(cluster("b", announced), in(0))}, false},
		{"offline ones do not count", 0, []Target{first("a", failing, offline), first("b")}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := strategically(&fleet.RolloutStrategy{
				Partitions: []fleet.Partition{{Name: "first", MaxUnavailable: amount(tt.maxUnavailable)}, {Name: "second"}},
			})
			plan := Next(World{Bundle: b, Targets: append(tt.first, target(cluster("next", announced), in(1)))})
			held := slices.ContainsFunc(plan.Hold, func(s Step) bool { return s.Target.Cluster.Name == "next" && s.Reason == ReasonPartition })
			if held != tt.blocks || plan.Partitions[1].Begun == tt.blocks {
				t.Errorf("the next partition is held: %v; the first is %+v", held, plan.Partitions[0])
			}
			if created := slices.ContainsFunc(plan.Create, func(s Step) bool { return s.Target.Cluster.Name == "next" }); created == tt.blocks {
				t.Errorf("its cluster gets a deployment: %v", created)
			}
		})
	}
}

func TestOfflineClustersAreWrittenInTheirTurn(t *testing.T) {
	b := strategically(&fleet.RolloutStrategy{
		MaxUnavailable: amount(1), MaxNew: count(1), Partitions: []fleet.Partition{{Name: "first"}, {Name: "second"}},
	})
	away := func(name string, partition int) Target {
		return target(cluster(name, announced), in(partition), deployed(b), reported, newer, offline)
	}
	plan := Next(World{Bundle: b, Targets: []Target{
		target(cluster("a", announced), in(0), deployed(b), reported, newer), target(cluster("b", announced), in(0), deployed(b), reported, newer),
		away("c", 0), away("d", 0), away("e", 1), target(cluster("f", announced), in(0), offline), target(cluster("g", announced), in(0), offline),
	}})
	want := []string{
		"create f: Missing", "create g: Missing", "hold b: MaxUnavailable", "hold e: Partition",
		"update a: Changed", "update c: Changed", "update d: Changed",
	}
	if got := told(plan); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestSettled(t *testing.T) {
	tests := []struct {
		name   string
		target Target
		want   bool
	}{
		{"applied and ready", target(cluster("one", announced), deployed(web()), reported), true},
		{"right, and never had an agent", target(cluster("one"), deployed(web())), true},
		{"right, but the agent has not said so", target(cluster("one", announced), deployed(web())), false},
		{"offline, and the agent has said so", target(cluster("one", announced), deployed(web()), reported, offline), true},
		{"offline, and the agent has not said so", target(cluster("one", announced), deployed(web()), offline), false},
		{"to be written", target(cluster("one"), deployed(web()), newer), false},
		{"held", target(cluster("one", leaving), deployed(web())), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := World{Bundle: web(), Targets: []Target{target(cluster("new")), tt.target}}
			plan := Next(w)
			if got := slices.Contains(plan.Settled, 1); got != tt.want {
				t.Fatalf("settled is %v", got)
			}
			w.Targets[1].Settled = tt.want
			if again := Next(w); digest(again) != digest(plan) {
				t.Errorf("the next plan is another:\n%s\n%s", digest(plan), digest(again))
			}
		})
	}
}

func TestNews(t *testing.T) {
	silent := target(cluster("one", announced), deployed(web())).Existing
	status := func(change func(*fleet.BundleDeployment)) *fleet.BundleDeployment {
		bd := silent.DeepCopy()
		change(bd)
		return bd
	}
	answered := status(func(bd *fleet.BundleDeployment) {
		bd.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionDeployed}}
	})
	applied := status(func(bd *fleet.BundleDeployment) { bd.Status.AppliedDeploymentID = bd.Spec.DeploymentID })
	ready := status(func(bd *fleet.BundleDeployment) {
		bd.Status.AppliedDeploymentID, bd.Status.Ready = bd.Spec.DeploymentID, true
	})
	modified := ready.DeepCopy()
	modified.Status.ModifiedStatus = []fleet.ModifiedStatus{{Name: "drifts"}}
	tests := []struct {
		name          string
		before, after *fleet.BundleDeployment
		want          bool
	}{
		{"the first sign", silent, answered, true},
		{"applied, not ready yet", answered, applied, false},
		{"ready", applied, ready, true},
		{"not ready any more", ready, applied, true},
		{"drift", ready, modified, false},
		{"nothing", ready, ready, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := News(tt.before, tt.after); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestHeldTargetsShareTheirMessage keeps a plan that holds thousands small.
func TestHeldTargetsShareTheirMessage(t *testing.T) {
	b := strategically(&fleet.RolloutStrategy{MaxUnavailable: amount(1)})
	ts := make([]Target, 100)
	for i := range ts {
		ts[i] = target(cluster(fmt.Sprintf("c%03d", i), announced), deployed(b), reported, newer)
	}
	plan := Next(World{Bundle: b, Targets: ts})
	if len(plan.Update) != 1 || len(plan.Hold) != 99 {
		t.Fatalf("updates %d, holds %d", len(plan.Update), len(plan.Hold))
	}
	for _, s := range plan.Hold {
		if s.Message != plan.Hold[0].Message || s.Message == "" {
			t.Fatalf("held for %q", s.Message)
		}
	}
}

func TestPartitionOf(t *testing.T) {
	manual := strategically(&fleet.RolloutStrategy{Partitions: []fleet.Partition{{Name: "first"}, {Name: "second"}}})
	automatic := strategically(&fleet.RolloutStrategy{AutoPartitionThreshold: count(1), AutoPartitionSize: amount(2)})
	tests := []struct {
		name   string
		bundle *fleet.Bundle
		want   []string
	}{
		{"the user's", manual, []string{"second", "first", "Unmatched"}},
		{"automatic", automatic, []string{"Partition 0 - 2", "Partition 0 - 2", "Partition 2 - 3"}},
		{"none", web(), []string{"All", "All", "All"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := World{Bundle: tt.bundle, Targets: []Target{target(cluster("a"), in(1)), target(cluster("b"), in(0)), target(cluster("c"), in(-1))}}
			plan := Next(w)
			for i := range w.Targets {
				if got := plan.Partitions[plan.PartitionOf(i, &w.Targets[i])].Name; got != tt.want[i] {
					t.Errorf("target %d is in %q", i, got)
				}
			}
		})
	}
}
