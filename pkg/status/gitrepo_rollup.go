package status

import (
	"slices"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// RepoRollup adds up the deployments and bundles of one GitRepo as they change.
// At any time its Status is that of ForGitRepo over all of them. A change costs
// the logarithm of the number of clusters; Status what the bundles and the few
// clusters cost that it names. It is not safe for concurrent use.
type RepoRollup struct {
	offline  Offline
	bundles  map[string]*repoBundle
	clusters map[string]*repoCluster
	byState  tally[*repoCluster]
	leaving  heap[*leaver]
	sums     sums
	last     lastShown
}

// repoBundle is a bundle of the GitRepo, or the name of one that is not known
// itself.
type repoBundle struct {
	name   string
	bundle *fleet.Bundle
	// deployments are those that stay; all counts the others, too.
	deployments tally[*repoDeployment]
	all         int
}

// repoCluster is a cluster with deployments of the GitRepo.
type repoCluster struct {
	node
	// name is "namespace/name"; since is since when it is offline, or empty.
	name, since string
	// deployments are those on the cluster, by name, also those being removed.
	deployments []*repoDeployment
	// states counts those that stay.
	states stateCounts
	// removing counts the others; leaver is set while there are any.
	removing int
	leaver   *leaver
}

func (c *repoCluster) key() string { return c.name }

// repoDeployment is one deployment of the GitRepo.
type repoDeployment struct {
	node
	bd      *fleet.BundleDeployment
	bundle  *repoBundle
	cluster *repoCluster
}

func (d *repoDeployment) key() string { return d.cluster.name }

// lastShown remembers the costly part of the latest status: it changes only if
// a deployment does that the status names.
type lastShown struct {
	deployments []shown
	cut         bool
	perCluster  map[string]fleet.ResourceCounts
	resources   []fleet.Resource
}

// NewRepoRollup returns one without deployments and bundles. Whoever changes an
// entry of offline calls Reached for the cluster.
func NewRepoRollup(offline Offline) *RepoRollup {
	return &RepoRollup{offline: offline, bundles: map[string]*repoBundle{}, clusters: map[string]*repoCluster{}}
}

// Bundle notes the newest state of a bundle.
func (r *RepoRollup) Bundle(b *fleet.Bundle) { r.bundle(b.Name).bundle = b }

// BundleGone notes that a bundle is no longer there.
func (r *RepoRollup) BundleGone(b *fleet.Bundle) {
	if known := r.bundles[b.Name]; known != nil {
		known.bundle = nil
		r.drop(known)
	}
}

// Deployment notes the newest state of a deployment.
func (r *RepoRollup) Deployment(bd *fleet.BundleDeployment) {
	cluster := r.cluster(clusterOf(bd))
	at, found := cluster.find(bd)
	if !found {
		cluster.deployments = slices.Insert(cluster.deployments, at, &repoDeployment{bd: bd, cluster: cluster})
	}
	d := cluster.deployments[at]
	r.take(d)
	d.bd = bd
	if name := bd.Labels[names.LabelBundleName]; d.bundle == nil || d.bundle.name != name {
		r.leave(d)
		d.bundle = r.bundle(name)
		d.bundle.all++
	}
	r.put(d)
}

// DeploymentGone notes that a deployment is no longer there.
func (r *RepoRollup) DeploymentGone(bd *fleet.BundleDeployment) {
	cluster := r.clusters[clusterOf(bd)]
	if cluster == nil {
		return
	}
	at, found := cluster.find(bd)
	if !found {
		return
	}
	d := cluster.deployments[at]
	r.take(d)
	r.leave(d)
	cluster.deployments = slices.Delete(cluster.deployments, at, at+1)
	r.settle(cluster)
}

// Reached notes that the cluster's entry in Offline has changed and says
// whether that may show.
func (r *RepoRollup) Reached(name string) bool {
	cluster := r.clusters[name]
	if cluster == nil {
		return false
	}
	for _, d := range cluster.deployments {
		r.take(d)
	}
	cluster.since = r.offline[name]
	for _, d := range cluster.deployments {
		r.put(d)
	}
	return true
}

// Empty says whether there is nothing to add up.
func (r *RepoRollup) Empty() bool { return len(r.bundles)+len(r.clusters) == 0 }

// Bundles returns the bundles, in no order.
func (r *RepoRollup) Bundles() []*fleet.Bundle {
	all := make([]*fleet.Bundle, 0, len(r.bundles))
	for _, b := range r.bundles {
		if b.bundle != nil {
			all = append(all, b.bundle)
		}
	}
	return all
}

// Known returns the newest state of a bundle; nil if it was not told of it.
func (r *RepoRollup) Known(name string) *fleet.Bundle {
	if b := r.bundles[name]; b != nil {
		return b.bundle
	}
	return nil
}

// Status returns the status of the GitRepo. Of the facts, it takes deployments
// and bundles from what it was told.
func (r *RepoRollup) Status(f GitRepoFacts) fleet.GitRepoStatus {
	f.Bundles = r.Bundles()
	byBundle := make(map[string]*summary, len(r.bundles))
	behind := f.behind()
	for name, b := range r.bundles {
		if b.deployments.size > 0 {
			byBundle[name] = b.summary(behind[name])
		}
	}
	r.show()
	return f.status(repoParts{
		sum:   f.merged(byBundle),
		ready: r.byState.count(rankReady), clusters: r.byState.size,
		counts: r.sums.counts(), perCluster: r.last.perCluster, resources: r.last.resources,
		removing: leaving(r.leaving),
	})
}

// summary adds up the deployments of the bundle.
func (b *repoBundle) summary(behind bool) *summary {
	sum := &summary{}
	for rank := range ranks {
		if n := b.deployments.count(rank); n > 0 {
			sum.count(repoState(stateOfRank(rank), behind), n)
		}
	}
	worst := b.deployments.worst(maxNonReady, rankReady+1)
	if behind {
		// All that would be better counts as waiting, in order of cluster.
		worst = b.deployments.worst(maxNonReady, rankErrApplied)
		worst = append(worst, b.deployments.firstOf(maxNonReady, func(rank int) bool {
			return rank < rankErrApplied && rank != rankUnknown
		})...)
		worst = append(worst, b.deployments.firstOf(maxNonReady, func(rank int) bool { return rank == rankUnknown })...)
	}
	for _, d := range first(worst, maxNonReady) {
		sum.keep(repoItem(d.cluster.name, d.bd, d.cluster.since, behind))
	}
	return sum
}

// show brings the lists of clusters and objects up to date.
func (r *RepoRollup) show() {
	clusters := r.byState.worst(maxClusters, rankReady)
	picked := named{clusters: len(clusters), cut: r.byState.size > len(clusters)}
	for _, c := range clusters {
		for _, d := range c.deployments {
			if d.bd.DeletionTimestamp == nil {
				picked.deployments = append(picked.deployments, shown{d.bd, c.since != ""})
			}
		}
	}
	slices.SortFunc(picked.deployments, func(a, b shown) int { return byCluster(a.bd, b.bd) })
	if slices.Equal(picked.deployments, r.last.deployments) && picked.cut == r.last.cut {
		return
	}
	r.last = lastShown{
		deployments: picked.deployments, cut: picked.cut, perCluster: picked.counts(), resources: picked.resources(),
	}
}

// take takes what the deployment adds out of the counts, put puts it in.
func (r *RepoRollup) take(d *repoDeployment) {
	switch {
	case d.bundle == nil:
		// It was never counted.
	case d.bd.DeletionTimestamp != nil:
		d.cluster.removing--
	default:
		d.cluster.states[d.rank]--
		r.sums.remove(countsOf(d.bd, d.cluster.since != ""))
	}
}

func (r *RepoRollup) put(d *repoDeployment) {
	since := d.cluster.since
	if d.bd.DeletionTimestamp != nil {
		d.cluster.removing++
		d.bundle.deployments.move(d, 0)
	} else {
		rank := rankOfState(stateOf(d.bd, since))
		d.cluster.states[rank]++
		r.sums.add(countsOf(d.bd, since != ""))
		d.bundle.deployments.move(d, rank)
	}
	r.settle(d.cluster)
}

// leave takes the deployment out of its bundle.
func (r *RepoRollup) leave(d *repoDeployment) {
	if d.bundle != nil {
		d.bundle.deployments.move(d, 0)
		d.bundle.all--
		r.drop(d.bundle)
		d.bundle = nil
	}
}

// settle puts the cluster where its worst deployment says.
func (r *RepoRollup) settle(c *repoCluster) {
	worst := ranks - 1
	for worst > 0 && c.states[worst] == 0 {
		worst--
	}
	r.byState.move(c, uint8(worst))
	switch {
	case c.removing > 0 && c.leaver == nil:
		c.leaver = &leaver{cluster: c.name}
		r.leaving.add(c.leaver)
	case c.removing == 0 && c.leaver != nil:
		r.leaving.remove(c.leaver)
		c.leaver = nil
	}
	if len(c.deployments) == 0 {
		delete(r.clusters, c.name)
	}
}

// drop forgets a bundle that nothing is known of any more.
func (r *RepoRollup) drop(b *repoBundle) {
	if b.bundle == nil && b.all == 0 {
		delete(r.bundles, b.name)
	}
}

func (r *RepoRollup) bundle(name string) *repoBundle {
	b := r.bundles[name]
	if b == nil {
		b = &repoBundle{name: interned(name)}
		r.bundles[b.name] = b
	}
	return b
}

func (r *RepoRollup) cluster(name string) *repoCluster {
	c := r.clusters[name]
	if c == nil {
		c = &repoCluster{name: interned(name), since: r.offline[name]}
		r.clusters[c.name] = c
	}
	return c
}

// find returns where the deployment is, or belongs.
func (c *repoCluster) find(bd *fleet.BundleDeployment) (int, bool) {
	return slices.BinarySearchFunc(c.deployments, bd, func(d *repoDeployment, bd *fleet.BundleDeployment) int {
		return strings.Compare(d.bd.Name, bd.Name)
	})
}
