package status

import fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"

// most is the most that a status counts of anything.
const most = 1 << 40

// sums adds up counts of objects, and takes them off again. It is exact where
// the counts that it returns are cut.
type sums [8]int64

func (s *sums) add(c fleet.ResourceCounts) { s.change(c, 1) }

func (s *sums) remove(c fleet.ResourceCounts) { s.change(c, -1) }

func (s *sums) change(c fleet.ResourceCounts, sign int64) {
	for i, n := range [8]int{c.Ready, c.DesiredReady, c.WaitApplied, c.Modified, c.Orphaned, c.Missing, c.Unknown, c.NotReady} {
		s[i] += sign * int64(min(max(n, 0), most))
	}
}

func (s *sums) counts() fleet.ResourceCounts {
	n := func(i int) int { return int(min(s[i], most)) }
	return fleet.ResourceCounts{
		Ready: n(0), DesiredReady: n(1), WaitApplied: n(2), Modified: n(3),
		Orphaned: n(4), Missing: n(5), Unknown: n(6), NotReady: n(7),
	}
}

// stateCounts counts by rank of state.
type stateCounts [ranks]int32

// summary returns the counts as a status holds them, without names.
func (c *stateCounts) summary() fleet.BundleSummary {
	s := &summary{}
	for rank, n := range c {
		if n > 0 {
			s.count(stateOfRank(rank), int(n))
		}
	}
	return s.BundleSummary
}
