package rollout

import (
	"fmt"
	"slices"
	"testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// TestFixedOrder installs a bundle and changes it once, for a grid of
// strategies, sizes and troubles. Everything happens in rounds: the manager
// plans and writes, then every agent does one step, by name.
func TestFixedOrder(t *testing.T) {
	strategies := map[string]*fleet.RolloutStrategy{
		"none":              nil,
		"one at a time":     {MaxUnavailable: amount(1)},
		"a quarter":         {MaxUnavailable: share("25%")},
		"partitions of two": {MaxUnavailable: amount(1), AutoPartitionThreshold: count(1), AutoPartitionSize: amount(2)},
		"two partitions at once": {
			MaxUnavailable: share("50%"), MaxUnavailablePartitions: amount(1), AutoPartitionThreshold: count(1), AutoPartitionSize: amount(2),
		},
		"canaries":            {MaxUnavailable: share("30%"), Partitions: []fleet.Partition{{Name: "canary", MaxUnavailable: amount(1)}, {Name: "early"}}},
		"new ones one by one": {MaxUnavailable: amount(2), MaxNew: count(1)},
	}
	troubles := map[string]struct {
		// befalls every third cluster.
		befalls func(*node)
		// stuck are clusters that never arrive, free says that the others do.
		stuck, free bool
	}{
		"no trouble":           {befalls: func(*node) {}, free: true},
		"slow agents":          {befalls: func(n *node) { n.mood = slow }, free: true},
		"offline":              {befalls: func(n *node) { n.offline = true }, stuck: true, free: true},
		"no agent":             {befalls: func(n *node) { n.cluster.Status.Agent.LastSeen.Reset() }, stuck: true, free: true},
		"paused":               {befalls: func(n *node) { n.cluster.Spec.Paused = true }, stuck: true, free: true},
		"agents that fail":     {befalls: func(n *node) { n.mood = broken }, stuck: true},
		"agents that are mute": {befalls: func(n *node) { n.mood = silent }, stuck: true},
		"agents that lie":      {befalls: func(n *node) { n.mood = lying }, stuck: true},
	}
	for strategy, s := range strategies {
		for trouble, tr := range troubles {
			for _, n := range []int{1, 2, 3, 8, 13} {
				t.Run(fmt.Sprintf("%s/%s/%d", strategy, trouble, n), func(t *testing.T) {
					h := newHub()
					h.bundle.Spec.RolloutStrategy = s
					for i := range n {
						node := h.add(fmt.Sprintf("c%02d", i), append(rings(), "none")[i%4])
						if i%3 == 1 {
							tr.befalls(node)
						}
					}
					o := newOracle()
					for h.version = 1; h.version <= 2; h.version++ {
						if err := h.rounds(o, 8+8*n); err != nil {
							t.Fatalf("version %d: %v", h.version, err)
						}
						for i, node := range h.sorted() {
							if i%3 == 1 && tr.stuck || !tr.free {
								continue
							}
							if bd := node.deployment; bd == nil || !runs(bd) || bd.Spec.DeploymentID != h.wanted(node) {
								t.Errorf("version %d never arrives at %s", h.version, node.cluster.Name)
							}
						}
					}
				})
			}
		}
	}
}

// rounds lets the manager and the agents act in turn until none of them has
// anything to do, and fails if that takes more than most rounds. Agents that lie
// are never done.
func (h *hub) rounds(o *oracle, most int) error {
	for range most {
		w := h.world()
		p := Next(w)
		if err := o.check(w, p); err != nil {
			return fmt.Errorf("%w\n%s", err, digest(p))
		}
		steps := slices.Concat(p.Create, p.Update)
		for _, step := range steps {
			if !h.write(step) {
				return fmt.Errorf("writing %s failed", step.Target.Cluster.Name)
			}
			if err := o.wrote(step); err != nil {
				return err
			}
		}
		acted := false
		for _, n := range h.sorted() {
			acted = n.act() && n.mood != lying || n.busy() || acted
			n.deliver()
		}
		if len(steps) == 0 && !acted {
			return nil
		}
	}
	return fmt.Errorf("the roll-out has not ended after %d rounds", most)
}

// busy says whether the agent has yet to apply what it is asked for.
func (n *node) busy() bool {
	able := n.mood == good || n.mood == slow
	return able && n.announced() && !n.offline && n.deployment != nil && !n.deployment.Spec.Paused && !runs(n.deployment)
}
