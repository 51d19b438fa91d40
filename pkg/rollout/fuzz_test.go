package rollout

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func FuzzLimit(f *testing.F) {
	for _, text := range []string{"", "5", "50%", "-1%", "1e3%", "NaN%", "1e999%", "0x1p4%", "٣%"} {
		f.Add(10, text)
	}
	f.Fuzz(func(t *testing.T, n int, text string) {
		got, err := limit(n, share(text))
		if got < 0 || got > max(n, 1) || (err != nil && got != 0) {
			t.Errorf("%q of %d is %d, %v", text, n, got, err)
		}
	})
}

// FuzzNext plans for any strategy and any state of up to 64 clusters, and asks
// the oracle of the interleavings.
func FuzzNext(f *testing.F) {
	f.Add("1", "0", "2", 1, 1, byte(0), []byte{0x10, 0x23, 0x41, 0x07})
	f.Add("25%", "50%", "49%", 3, 0, byte(2), []byte{0xff, 0x00, 0xa5, 0x5a, 0x12, 0x34})
	f.Add("", "many", "0", -1, -1, byte(5), []byte{0x1f})
	f.Fuzz(func(t *testing.T, unavailable, partitions, size string, threshold, maxNew int, manual byte, states []byte) {
		s := &fleet.RolloutStrategy{
			MaxUnavailable: parsed(unavailable), MaxUnavailablePartitions: parsed(partitions), AutoPartitionSize: parsed(size),
			AutoPartitionThreshold: &threshold, MaxNew: &maxNew,
		}
		for i := range int(manual % 4) {
			s.Partitions = append(s.Partitions, fleet.Partition{Name: rings()[i]})
		}
		b := strategically(s)
		b.Spec.Paused = manual > 250
		w := World{Bundle: b}
		for i, state := range states[:min(len(states), 64)] {
			w.Targets = append(w.Targets, inState(b, i, state))
		}
		before, plan := copyOf(w), Next(w)
		if digest(Next(w)) != digest(plan) || !same(&before, &w) {
			t.Fatal("a plan does not follow from its world alone")
		}
		if len(plan.Create)+len(plan.Update)+len(plan.Hold)+plan.Unchanged < len(w.Targets) {
			t.Fatal("a target is left out")
		}
		if plan.Problem != "" || threshold < 0 || maxNew < 0 {
			checkNothingNew(t, plan)
			return
		}
		if err := newOracle().check(w, plan); err != nil {
			t.Fatalf("%v\n%s", err, digest(plan))
		}
	})
}

// checkNothingNew: a strategy that cannot be read lets nothing move.
func checkNothingNew(t *testing.T, plan Plan) {
	t.Helper()
	if plan.Problem == "" {
		return
	}
	for _, s := range append(plan.Create, plan.Update...) {
		if moves(s) {
			t.Fatalf("%s is moved though %s", s.Target.Cluster.Name, plan.Problem)
		}
	}
}

// parsed reads a number or text as the API does; nothing is not set.
func parsed(text string) *intstr.IntOrString {
	if text == "" {
		return nil
	}
	v := intstr.Parse(text)
	// What the oracle does not read as the planner does is no amount to it.
	if v.Type == intstr.Int && v.IntVal < 0 {
		v.IntVal = 0
	}
	return &v
}

// inState makes a target of the bits of a byte.
func inState(b *fleet.Bundle, i int, state byte) Target {
	bit := func(n int) bool { return state>>n&1 == 1 }
	t := target(cluster(fmt.Sprintf("c%02d", i)), in(int(state>>6)-1))
	if len(b.Spec.RolloutStrategy.Partitions) <= t.Partition {
		t.Partition = -1
	}
	if bit(0) {
		announced(t.Cluster)
		t.Offline = bit(1)
	}
	t.Cluster.Spec.Paused = bit(2) && bit(3)
	if bit(3) {
		deployed(b)(&t)
		if bit(4) {
			reported(&t)
		}
		if bit(5) {
			newer(&t)
		}
		if bit(2) && bit(5) {
			t.Existing.Finalizers = nil
			t.Existing.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionDeployed, Status: metav1.ConditionFalse}}
		}
	}
	return t
}
