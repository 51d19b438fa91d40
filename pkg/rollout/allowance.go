package rollout

import "fmt"

// allowance is what may still be spent in one plan: clusters that become
// unavailable, and deployments that wait for the first sign of their agents.
type allowance struct {
	plan *Plan
	// unavailable counts, per partition, the clusters that are and those that this
	// plan makes; begun those of all partitions that are begun.
	unavailable []int
	begun       int
	// unanswered counts the deployments that wait, of limit.
	unanswered, limit int
	// Messages for those who are held back: they are the same for all of a
	// partition.
	waiting, full []string
}

func (p *planner) newAllowance() *allowance {
	n := len(p.plan.Partitions)
	a := &allowance{
		plan: &p.plan, unavailable: make([]int, n), unanswered: p.unanswered, limit: p.maxNew,
		waiting: make([]string, n), full: make([]string, n),
	}
	for i, state := range p.plan.Partitions {
		a.unavailable[i] = state.Unavailable
		if state.Begun {
			a.begun += state.Unavailable
		}
	}
	return a
}

// admit says whether one more deployment may be created. Only agents that are
// there are waited for.
func (a *allowance) admit(there bool) bool {
	switch {
	case a.limit == 0:
		return false
	case !there:
		return true
	case a.unanswered >= a.limit:
		return false
	}
	a.unanswered++
	return true
}

// spend says whether one more cluster of the partition may become unavailable.
// The bundle's own bound counts the partitions that are begun: what is broken
// where the roll-out has not come yet, it may be about to repair. Where the
// user allows a partition more than the bundle, that holds.
func (a *allowance) spend(partition int) bool {
	own := a.plan.Partitions[partition].MaxUnavailable
	if a.unavailable[partition] >= own || a.begun >= max(own, a.plan.MaxUnavailable) {
		return false
	}
	a.unavailable[partition]++
	a.begun++
	return true
}

// partition says what clusters wait for whose partition is not begun.
func (a *allowance) partition(index int) string {
	if a.waiting[index] == "" {
		a.waiting[index] = a.waitsFor()
	}
	return a.waiting[index]
}

func (a *allowance) waitsFor() string {
	for i := range a.plan.Partitions {
		p := &a.plan.Partitions[i]
		if !p.Begun || !p.blocks() {
			continue
		}
		whom := fmt.Sprintf("partition %q", p.Name)
		if n := a.plan.UnavailablePartitions; n > 1 {
			whom = fmt.Sprintf("%d partitions, %d of which may be unfinished; the first is %s", n, a.plan.MaxUnavailablePartitions, whom)
		}
		return fmt.Sprintf("waiting for %s: %d of %d clusters are not up to date and ready, %d may be", whom, p.Unfinished, p.Count, p.MaxUnavailable)
	}
	return ""
}

// maxUnavailable says what clusters wait for that must stay available.
func (a *allowance) maxUnavailable(index int) string {
	if a.full[index] == "" {
		a.full[index] = a.isFull(index)
	}
	return a.full[index]
}

func (a *allowance) isFull(index int) string {
	p := &a.plan.Partitions[index]
	n, most, where := a.begun, a.plan.MaxUnavailable, "in the bundle"
	if a.unavailable[index] >= p.MaxUnavailable {
		n, most, where = a.unavailable[index], p.MaxUnavailable, fmt.Sprintf("in partition %q", p.Name)
	}
	if most == 0 {
		return fmt.Sprintf("maxUnavailable is 0 %s: no cluster that is available is changed", where)
	}
	return fmt.Sprintf("waiting for other clusters: %d unavailable or being changed %s, %d may be", n, where, most)
}

// maxNew says what clusters wait for that are to get a first deployment.
func (a *allowance) maxNew() string {
	if a.limit == 0 {
		return "maxNew is 0: no new deployments are made"
	}
	return fmt.Sprintf("waiting for other clusters: agents have yet to answer on %d new deployments, maxNew is %d", a.unanswered, a.limit)
}
