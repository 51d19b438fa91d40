package status

import (
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// GroupRollup adds up the clusters of one group as they change. At any time its
// Status is that of ForClusterGroup over all of them. It is not safe for
// concurrent use.
type GroupRollup struct {
	members map[string]*groupMember
	byReady tally[*groupMember]
	// states counts the clusters by the state that they show.
	states  map[string]int
	summary fleet.BundleSummary
	sums    sums
}

type groupMember struct {
	node
	cluster *fleet.Cluster
}

func (m *groupMember) key() string { return m.cluster.Name }

// NewGroupRollup returns one without clusters.
func NewGroupRollup() *GroupRollup {
	return &GroupRollup{members: map[string]*groupMember{}, states: map[string]int{}}
}

// Cluster notes the newest state of a cluster of the group.
func (r *GroupRollup) Cluster(c *fleet.Cluster) {
	m := r.members[c.Name]
	if m == nil {
		m = &groupMember{}
		r.members[c.Name] = m
	} else {
		r.count(m.cluster, -1)
	}
	m.cluster = c
	r.count(c, 1)
	r.byReady.move(m, rankOfCluster(c))
}

// ClusterGone notes that a cluster is gone, or not of the group any more, and
// says whether it was.
func (r *GroupRollup) ClusterGone(name string) bool {
	m := r.members[name]
	if m == nil {
		return false
	}
	r.count(m.cluster, -1)
	r.byReady.move(m, 0)
	delete(r.members, name)
	return true
}

// Has says whether the cluster is of the group.
func (r *GroupRollup) Has(name string) bool { return r.members[name] != nil }

func (r *GroupRollup) count(c *fleet.Cluster, n int) {
	changeSummary(&r.summary, c.Status.Summary, n)
	r.sums.change(c.Status.ResourceCounts, int64(n))
	if r.states[c.Status.Display.State] += n; r.states[c.Status.Display.State] == 0 {
		delete(r.states, c.Status.Display.State)
	}
}

// Status returns the status of the group. Of the facts, it takes clusters from
// what it was told.
func (r *GroupRollup) Status(f ClusterGroupFacts) fleet.ClusterGroupStatus {
	return f.status(func() groupParts {
		parts := groupParts{
			clusters: r.byReady.size, notReady: r.byReady.size - r.byReady.count(rankReady),
			summary: r.summary, counts: r.sums.counts(), state: groupState(r.states),
		}
		for _, m := range r.byReady.firstOf(maxNames, func(rank int) bool { return rank > rankReady }) {
			parts.names = append(parts.names, m.cluster.Name)
		}
		var few []*fleet.Cluster
		for _, m := range r.byReady.firstOf(maxNames, func(rank int) bool { return rank == rankUnknown }) {
			few = append(few, m.cluster)
		}
		parts.setOffline(r.byReady.count(rankUnknown), few)
		return parts
	})
}
