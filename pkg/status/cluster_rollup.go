package status

import (
	"slices"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// ClusterRollup adds up the deployments of one cluster as they change. At any
// time its Status is that of ForCluster over all of them. It is not safe for
// concurrent use; the zero value has no deployments.
type ClusterRollup struct {
	// deployments are by name, repos in no order: a cluster has few.
	deployments []*clusterDeployment
	repos       []*clusterRepo
	byState     tally[*clusterDeployment]
	readyRepos  int
	sums        sums
}

// clusterDeployment is one deployment on the cluster.
type clusterDeployment struct {
	node
	bd *fleet.BundleDeployment
	// repo is nil if it is of none, or being removed.
	repo *clusterRepo
}

func (d *clusterDeployment) key() string { return d.bd.Name }

// clusterRepo is a GitRepo with deployments on the cluster.
type clusterRepo struct {
	// name is "namespace/name".
	name       string
	all, ready int
}

// Deployment notes the newest state of a deployment and says whether it may
// show.
func (r *ClusterRollup) Deployment(bd *fleet.BundleDeployment) bool {
	at, found := r.find(bd)
	if !found {
		r.deployments = slices.Insert(r.deployments, at, &clusterDeployment{bd: bd})
	}
	d := r.deployments[at]
	was, before := d.rank, d.bd
	if found {
		r.take(d)
	}
	d.bd = bd
	r.put(d)
	return !found || was != d.rank || d.rank > rankReady || repoOf(before) != repoOf(bd) ||
		before.Status.ResourceCounts != bd.Status.ResourceCounts
}

// DeploymentGone notes that a deployment is no longer there and says whether
// that may show.
func (r *ClusterRollup) DeploymentGone(bd *fleet.BundleDeployment) bool {
	at, found := r.find(bd)
	if !found {
		return false
	}
	d := r.deployments[at]
	counted := d.rank != 0
	r.take(d)
	r.byState.move(d, 0)
	r.deployments = slices.Delete(r.deployments, at, at+1)
	return counted
}

// Empty says whether there is nothing to add up.
func (r *ClusterRollup) Empty() bool { return len(r.deployments) == 0 }

// Status returns the status of the cluster. Of the facts, it takes deployments
// from what it was told.
func (r *ClusterRollup) Status(f ClusterFacts) fleet.ClusterStatus {
	sum := &summary{}
	for rank := range ranks {
		if n := r.byState.count(rank); n > 0 {
			sum.count(stateOfRank(rank), n)
		}
	}
	for _, d := range r.byState.worst(maxNonReady, rankReady+1) {
		sum.keep(clusterItem(d.bd))
	}
	return f.status(clusterParts{sum: sum, readyRepos: r.readyRepos, repos: len(r.repos), counts: r.sums.counts()})
}

// take takes what the deployment adds out of the counts, put puts it in.
func (r *ClusterRollup) take(d *clusterDeployment) {
	if d.rank == 0 {
		return
	}
	r.sums.remove(d.bd.Status.ResourceCounts)
	if d.repo != nil {
		r.count(d.repo, d.rank, -1)
		d.repo = nil
	}
}

func (r *ClusterRollup) put(d *clusterDeployment) {
	if d.bd.DeletionTimestamp != nil {
		r.byState.move(d, 0)
		return
	}
	r.byState.move(d, rankOfState(DeploymentState(d.bd)))
	r.sums.add(d.bd.Status.ResourceCounts)
	if name := repoOf(d.bd); name != "" {
		d.repo = r.repo(name)
		r.count(d.repo, d.rank, 1)
	}
}

// count adds n deployments to those of a GitRepo.
func (r *ClusterRollup) count(repo *clusterRepo, rank uint8, n int) {
	was := repo.all > 0 && repo.all == repo.ready
	repo.all += n
	if rank == rankReady {
		repo.ready += n
	}
	is := repo.all > 0 && repo.all == repo.ready
	switch {
	case is && !was:
		r.readyRepos++
	case was && !is:
		r.readyRepos--
	}
	if repo.all == 0 {
		r.repos = slices.DeleteFunc(r.repos, func(other *clusterRepo) bool { return other == repo })
	}
}

func (r *ClusterRollup) repo(name string) *clusterRepo {
	for _, repo := range r.repos {
		if repo.name == name {
			return repo
		}
	}
	repo := &clusterRepo{name: interned(name)}
	r.repos = append(r.repos, repo)
	return repo
}

// find returns where the deployment is, or belongs.
func (r *ClusterRollup) find(bd *fleet.BundleDeployment) (int, bool) {
	return slices.BinarySearchFunc(r.deployments, bd, func(d *clusterDeployment, bd *fleet.BundleDeployment) int {
		return strings.Compare(d.bd.Name, bd.Name)
	})
}
