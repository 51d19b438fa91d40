package status

import (
	"maps"
	"slices"
	"unique"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// BundleRollup adds up the deployments and targets of one bundle as they
// change. At any time its Status is that of ForBundle over all of them, but a
// change costs the logarithm of their number, and Status nothing that depends
// on it. It is not safe for concurrent use.
type BundleRollup struct {
	offline  Offline
	clusters map[string]*bundleCluster
	all      tally[*bundleCluster]
	leaving  heap[*leaver]
	parts    bundleParts
}

// bundleCluster is one cluster of a bundle.
type bundleCluster struct {
	node
	counted
	cluster string
	// bd is the deployment that is there, also if it is being removed.
	bd *fleet.BundleDeployment
	// wanted is the deployment ID of the target; held is nil if it is not held.
	wanted unique.Handle[string]
	held   *hold
	// leaver is set while the deployment is being removed.
	leaver *leaver
}

func (p *bundleCluster) key() string { return p.cluster }

// hold is why a target is held.
type hold struct {
	message, reason string
	invalid, waits  bool
}

// counted is what a place adds to the counts, beside its rank.
type counted struct {
	partition             int32
	targeted, unavailable bool
}

// NewBundleRollup returns one without deployments and targets. Whoever changes
// an entry of offline calls Reached for the cluster.
func NewBundleRollup(offline Offline) *BundleRollup {
	return &BundleRollup{offline: offline, clusters: map[string]*bundleCluster{}}
}

// Deployment notes the newest state of a deployment and says whether it may
// show.
func (r *BundleRollup) Deployment(bd *fleet.BundleDeployment) bool {
	p := r.cluster(clusterOf(bd))
	p.bd = bd
	return r.settle(p, p.counted)
}

// DeploymentGone notes that a deployment is no longer there and says whether
// that may show.
func (r *BundleRollup) DeploymentGone(bd *fleet.BundleDeployment) bool {
	p := r.clusters[clusterOf(bd)]
	if p == nil || p.bd == nil {
		return false
	}
	p.bd = nil
	return r.settle(p, p.counted)
}

// Target notes a target that is new or has changed and says whether that may
// show.
func (r *BundleRollup) Target(t Target) bool {
	p := r.cluster(t.Cluster)
	p.wanted, p.held = unique.Make(t.Fingerprint), nil
	if t.Held != "" || t.Reason != "" || t.Invalid || t.Waits {
		p.held = &hold{message: t.Held, reason: t.Reason, invalid: t.Invalid, waits: t.Waits}
	}
	is := p.counted
	is.targeted, is.partition = true, partition(t.Partition)
	return r.settle(p, is)
}

// partition brings an index into bounds.
func partition(at int) int32 {
	if at < 0 || at >= maxPartitions {
		return -1
	}
	return int32(at)
}

// TargetGone notes that a cluster is no target any more and says whether that
// may show.
func (r *BundleRollup) TargetGone(cluster string) bool {
	p := r.clusters[cluster]
	if p == nil || !p.targeted {
		return false
	}
	p.wanted, p.held = unique.Handle[string]{}, nil
	is := p.counted
	is.targeted, is.partition = false, 0
	return r.settle(p, is)
}

// Reached notes that the cluster's entry in Offline has changed and says
// whether that may show.
func (r *BundleRollup) Reached(cluster string) bool {
	p := r.clusters[cluster]
	return p != nil && r.settle(p, p.counted)
}

// Empty says whether there is nothing to add up.
func (r *BundleRollup) Empty() bool { return len(r.clusters) == 0 }

// Targets returns the targets, by cluster.
func (r *BundleRollup) Targets() []Target {
	var all []Target
	for _, cluster := range slices.Sorted(maps.Keys(r.clusters)) {
		if p := r.clusters[cluster]; p.targeted {
			all = append(all, p.target())
		}
	}
	return all
}

// Status returns the status of the bundle. Of the facts, it takes deployments
// and targets from what it was told.
func (r *BundleRollup) Status(f BundleFacts) fleet.BundleStatus {
	return f.status(func() bundleParts {
		parts := r.parts
		parts.sum = &summary{}
		for rank := range r.all.ranks {
			if n := r.all.count(rank); n > 0 {
				parts.sum.count(stateOfRank(rank), n)
			}
		}
		for _, p := range r.all.worst(maxNonReady, rankReady+1) {
			parts.sum.keep(p.placed(r.offline).item(p.cluster))
		}
		parts.removing = leaving(r.leaving)
		return parts
	})
}

func (r *BundleRollup) cluster(cluster string) *bundleCluster {
	p := r.clusters[cluster]
	if p == nil {
		p = &bundleCluster{cluster: interned(cluster)}
		r.clusters[p.cluster] = p
	}
	return p
}

func (p *bundleCluster) target() Target {
	t := Target{Cluster: p.cluster, Partition: int(p.partition)}
	if p.wanted != (unique.Handle[string]{}) {
		t.Fingerprint = p.wanted.Value()
	}
	if h := p.held; h != nil {
		t.Held, t.Reason, t.Invalid, t.Waits = h.message, h.reason, h.invalid, h.waits
	}
	return t
}

// placed returns what the place is now.
func (p *bundleCluster) placed(offline Offline) placed {
	now := placed{targeted: p.targeted, since: offline[p.cluster]}
	if p.targeted {
		now.target = p.target()
	}
	if p.bd != nil && p.bd.DeletionTimestamp == nil {
		now.bd = p.bd
	}
	return now
}

// settle brings the counts from what the place added to them to what it adds
// now.
func (r *BundleRollup) settle(p *bundleCluster, is counted) bool {
	was, rank := p.counted, p.rank
	r.count(was, int(rank), -1)
	p.counted = is
	now, next := p.placed(r.offline), uint8(0)
	if now.targeted || now.bd != nil {
		next = rankOfState(now.state())
	}
	p.unavailable = now.unavailable()
	r.all.move(p, next)
	r.count(p.counted, int(next), 1)
	changed := was != p.counted || rank != next || next != rankReady && next != 0
	if r.removing(p) {
		changed = true
	}
	if p.bd == nil && !p.targeted {
		delete(r.clusters, p.cluster)
	}
	return changed
}

func (r *BundleRollup) count(c counted, rank int, n int) {
	if !c.targeted {
		return
	}
	r.parts.targets += n
	if c.unavailable {
		r.parts.unavailable += n
	}
	if rank != 0 {
		r.parts.inPartition(int(c.partition), stateOfRank(rank), int32(n))
	}
}

// removing notes whether the deployment is being removed and says whether that
// is news.
func (r *BundleRollup) removing(p *bundleCluster) bool {
	is := p.bd != nil && p.bd.DeletionTimestamp != nil
	switch {
	case is && p.leaver == nil:
		p.leaver = &leaver{cluster: p.cluster}
		r.leaving.add(p.leaver)
		return true
	case !is && p.leaver != nil:
		r.leaving.remove(p.leaver)
		p.leaver = nil
		return true
	}
	return false
}
