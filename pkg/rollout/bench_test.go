package rollout

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// fleetOf returns a world of n clusters that all run what they should, with
// options and a status of usual size.
func fleetOf(n int) World {
	b := strategically(&fleet.RolloutStrategy{MaxUnavailable: share("10%")})
	b.Spec.DependsOn = []fleet.BundleRef{{Name: "base", AcceptedStates: []fleet.BundleState{fleet.Ready}}}
	w := World{Bundle: b, Targets: make([]Target, n)}
	for i := range w.Targets {
		t := target(cluster(fmt.Sprintf("cluster-%05d", i), announced), in(-1))
		t.ValuesHash = "0123456789abcdef"
		t.Options = fleet.BundleDeploymentOptions{
			DefaultNamespace: "web", ServiceAccount: "deployer", NamespaceLabels: map[string]string{"team": "web"},
			Helm: &fleet.HelmOptions{Chart: "chart", Version: "1.2.3", ReleaseName: "web", TimeoutSeconds: 60},
		}
		earlier := t
		earlier.Options = *t.Options.DeepCopy()
		t.Existing = desired(b, &earlier)
		t.Existing.Spec.StagedOptions = *t.Options.DeepCopy()
		for r := range 20 {
			t.Existing.Status.Resources = append(t.Existing.Status.Resources, fleet.BundleDeploymentResource{Kind: "Deployment", Name: fmt.Sprint(r), CreatedAt: metav1.Now()})
		}
		reported(&t)
		w.Targets[i] = t
	}
	return w
}

// BenchmarkNextSettled plans for 10,000 clusters of which nothing is new.
func BenchmarkNextSettled(b *testing.B) {
	w := fleetOf(10_000)
	plan := Next(w)
	if len(plan.Settled) != len(w.Targets) {
		b.Fatalf("%d settled: %v", len(plan.Settled), told(plan)[:5])
	}
	for i := range w.Targets {
		w.Targets[i].Settled = true
	}
	b.ReportAllocs()
	for b.Loop() {
		if p := Next(w); p.Unchanged != len(w.Targets) {
			b.Fatal("not unchanged")
		}
	}
}

// BenchmarkNextEqual compares 10,000 deployments, all of which are right.
func BenchmarkNextEqual(b *testing.B) {
	w := fleetOf(10_000)
	b.ReportAllocs()
	for b.Loop() {
		if p := Next(w); p.Unchanged != len(w.Targets) {
			b.Fatal("not unchanged")
		}
	}
}

// BenchmarkNextOneOfMany plans for 10,000 clusters of which one has changed.
func BenchmarkNextOneOfMany(b *testing.B) {
	w := fleetOf(10_000)
	for i := range w.Targets {
		w.Targets[i].Settled = i != 5_000
	}
	newer(&w.Targets[5_000])
	b.ReportAllocs()
	for b.Loop() {
		if p := Next(w); len(p.Update) != 1 {
			b.Fatal("not one update")
		}
	}
}

// BenchmarkNextBeginning plans the beginning of a roll-out to 10,000 clusters,
// most of which are held.
func BenchmarkNextBeginning(b *testing.B) {
	w := fleetOf(10_000)
	for i := range w.Targets {
		newer(&w.Targets[i])
	}
	b.ReportAllocs()
	for b.Loop() {
		if p := Next(w); len(p.Update) != 250 || len(p.Hold) != 9_750 {
			b.Fatalf("%d updates, %d held", len(p.Update), len(p.Hold))
		}
	}
}
