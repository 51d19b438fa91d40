package rollout

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/intstr"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// unmatched is the name of the last partition, of the clusters that match none
// of the user's.
const unmatched = "Unmatched"

// layout is how targets are distributed over partitions.
type layout struct {
	states []PartitionState
	// size is that of every partition but the last, where they were made
	// automatically; 0 where the user has named them.
	size int
}

// partitionOf returns the index of the partition of the target at index i.
func (l *layout) partitionOf(i int, t *Target) int {
	switch last := len(l.states) - 1; {
	case l.size > 0:
		return i / l.size
	case t.Partition < 0 || t.Partition > last:
		return last
	default:
		return t.Partition
	}
}

// layOut distributes the targets of the world.
func layOut(w *World, s *fleet.RolloutStrategy, threshold int, l *limits) layout {
	if len(s.Partitions) > 0 {
		return manual(w, s, l)
	}
	return automatic(len(w.Targets), s, threshold, l)
}

// manual makes the user's partitions, and a last one if clusters are left.
func manual(w *World, s *fleet.RolloutStrategy, l *limits) layout {
	states := make([]PartitionState, len(s.Partitions), len(s.Partitions)+1)
	left := PartitionState{Name: unmatched}
	for i := range w.Targets {
		if p := w.Targets[i].Partition; p >= 0 && p < len(states) {
			states[p].Count++
		} else {
			left.Count++
		}
	}
	for i := range states {
		user, state := &s.Partitions[i], &states[i]
		if state.Name = user.Name; state.Name == "" {
			state.Name = fmt.Sprintf("Partition %d", i+1)
		}
		field := "maxUnavailable"
		if user.MaxUnavailable != nil {
			field = fmt.Sprintf("partitions[%d].maxUnavailable", i)
		}
		state.MaxUnavailable = l.of(field, state.Count, user.MaxUnavailable, s.MaxUnavailable)
	}
	if left.Count > 0 {
		left.MaxUnavailable = l.of("maxUnavailable", left.Count, s.MaxUnavailable)
		states = append(states, left)
	}
	return layout{states: states}
}

// automatic makes partitions of equal size, if the targets are many.
func automatic(count int, s *fleet.RolloutStrategy, threshold int, l *limits) layout {
	if threshold <= 0 || count < threshold || isOff(s.AutoPartitionSize) {
		return layout{size: max(count, 1), states: []PartitionState{{
			Name: "All", Count: count, MaxUnavailable: l.of("maxUnavailable", count, s.MaxUnavailable),
		}}}
	}
	size := l.of("autoPartitionSize", count, s.AutoPartitionSize, defaultAutoPartitionSize())
	if size == 0 {
		size = count
	}
	made := layout{size: size}
	for from := 0; from < count; from += size {
		n := min(size, count-from)
		made.states = append(made.states, PartitionState{
			Name: fmt.Sprintf("Partition %d - %d", from, from+n), Count: n,
			MaxUnavailable: l.of("maxUnavailable", n, s.MaxUnavailable),
		})
	}
	return made
}

// isOff says whether the size asks for no automatic partitions.
func isOff(size *intstr.IntOrString) bool {
	return size != nil && size.Type == intstr.Int && size.IntVal <= 0
}
