package oracle

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// tally counts deployments by state.
type tally map[fleet.BundleState]int

func (t tally) String() string { return fmt.Sprint(map[fleet.BundleState]int(t)) }

func (t tally) add(other tally) {
	for state, n := range other {
		t[state] += n
	}
}

func (t tally) all() int {
	n := 0
	for _, count := range t {
		n += count
	}
	return n
}

// told is what a summary says.
func told(s fleet.BundleSummary) tally {
	t := tally{}
	for state, n := range map[fleet.BundleState]int{
		fleet.Ready: s.Ready, fleet.NotReady: s.NotReady, fleet.WaitApplied: s.WaitApplied, fleet.ErrApplied: s.ErrApplied,
		fleet.OutOfSync: s.OutOfSync, fleet.Modified: s.Modified, fleet.Pending: s.Pending, silent: s.Unknown,
	} {
		if n > 0 {
			t[state] = n
		}
	}
	return t
}

// silent is the state of what is on a cluster whose agent the hub gave up.
const silent fleet.BundleState = "Unknown"

func (t tally) equals(other tally) bool { return t.String() == other.String() }

// state is that of one deployment.
func (c *check) state(bd *fleet.BundleDeployment) fleet.BundleState {
	if cluster := c.ClusterOf(bd); cluster != nil && givenUp(cluster) {
		return silent
	}
	failed := false
	for _, condition := range bd.Status.Conditions {
		failed = failed || condition.Type == fleet.ConditionDeployed && condition.Status == metav1.ConditionFalse
	}
	applied := bd.Spec.DeploymentID != "" && bd.Status.AppliedDeploymentID == bd.Spec.DeploymentID
	switch {
	case !applied && failed:
		return fleet.ErrApplied
	case !applied:
		return fleet.WaitApplied
	case !bd.Status.Ready:
		return fleet.NotReady
	case bd.Spec.StagedDeploymentID != bd.Spec.DeploymentID:
		return fleet.OutOfSync
	case !bd.Status.NonModified:
		return fleet.Modified
	}
	return fleet.Ready
}

func givenUp(cluster *fleet.Cluster) bool {
	for _, condition := range cluster.Status.Conditions {
		if condition.Type == fleet.ConditionClusterReachable && condition.Status == metav1.ConditionFalse {
			return true
		}
	}
	return false
}

// recount compares every status with a count from scratch.
func (c *check) recount() {
	bundles, clusters := map[kube.Key]tally{}, map[kube.Key]tally{}
	repos, repoClusters := map[kube.Key]tally{}, map[kube.Key]map[kube.Key]bool{}
	for _, bd := range c.Deployments {
		if bd.DeletionTimestamp != nil {
			continue
		}
		one := tally{c.state(bd): 1}
		addTo(bundles, kube.BundleOf(bd), one)
		addTo(clusters, kube.ClusterOf(bd), one)
		repo := kube.Key{Namespace: bd.Labels[names.LabelBundleNamespace], Name: bd.Labels[names.LabelRepoName]}
		if repoClusters[repo] == nil {
			repoClusters[repo] = map[kube.Key]bool{}
		}
		ready, seen := repoClusters[repo][kube.ClusterOf(bd)]
		repoClusters[repo][kube.ClusterOf(bd)] = one[fleet.Ready] == 1 && (ready || !seen)
	}
	for key, b := range c.Bundles {
		if b.Status.ObservedGeneration != b.Generation {
			c.fail("bundle %s: status is about generation %d of %d", key, b.Status.ObservedGeneration, b.Generation)
		}
		c.compareBundle(key, b, bundles)
		if repo := kube.RepoOf(b); repo.Name != "" {
			addTo(repos, repo, told(b.Status.Summary))
		}
	}
	for key, cluster := range c.Clusters {
		c.compare("cluster", key, cluster.Status.Summary, of(clusters, key))
	}
	for key, repo := range c.GitRepos {
		c.compare("GitRepo", key, repo.Status.Summary, of(repos, key))
		ready := 0
		for _, is := range repoClusters[key] {
			if is {
				ready++
			}
		}
		if s := repo.Status; s.DesiredReadyClusters != len(repoClusters[key]) || s.ReadyClusters != ready {
			c.fail("GitRepo %s says %d of %d clusters are ready, counted %d of %d", key, s.ReadyClusters, s.DesiredReadyClusters, ready, len(repoClusters[key]))
		}
	}
	c.recountGroups(clusters)
}

func addTo(tallies map[kube.Key]tally, key kube.Key, more tally) {
	if tallies[key] == nil {
		tallies[key] = tally{}
	}
	tallies[key].add(more)
}

func of(tallies map[kube.Key]tally, key kube.Key) tally {
	if tallies[key] == nil {
		return tally{}
	}
	return tallies[key]
}

// compareBundle compares the counts of a bundle. Where its options do not hold on some cluster, that counts as an error, whatever
// runs there.
func (c *check) compareBundle(key kube.Key, b *fleet.Bundle, counted map[kube.Key]tally) {
	want, invalid := of(counted, key), 0
	for _, cluster := range c.Clusters {
		verdict := c.Match(b, cluster)
		if verdict.Decided && verdict.Deployed && c.invalid(b, cluster) && cluster.DeletionTimestamp == nil {
			invalid++
			bd := c.Deployments[kube.Key{Namespace: names.ClusterNamespace(cluster.Namespace, cluster.Name), Name: b.Name}]
			if bd == nil || bd.DeletionTimestamp != nil {
				want[fleet.ErrApplied]++
			} else if state := c.state(bd); state != silent {
				want[fleet.ErrApplied]++
				if want[state]--; want[state] == 0 {
					delete(want, state)
				}
			}
		}
		// A match whose deployment an absent agent has begun to remove waits for it.
		bd := c.Deployments[kube.Key{Namespace: names.ClusterNamespace(cluster.Namespace, cluster.Name), Name: b.Name}]
		if verdict.Decided && verdict.Deployed && !c.invalid(b, cluster) && bd != nil && bd.DeletionTimestamp != nil {
			if givenUp(cluster) {
				want[silent]++
			} else {
				want[fleet.Pending]++
			}
		}
	}
	c.compare("bundle", key, b.Status.Summary, want)
}

func (c *check) compare(kind string, key kube.Key, says fleet.BundleSummary, counted tally) {
	if got := told(says); !got.equals(counted) || says.DesiredReady != counted.all() {
		c.fail("%s %s says %v of %d, counted %v of %d", kind, key, got, says.DesiredReady, counted, counted.all())
	}
}

// recountGroups sums up the clusters of each group.
func (c *check) recountGroups(clusters map[kube.Key]tally) {
	for key, group := range c.Groups {
		want, members, undecided := tally{}, 0, false
		for clusterKey, cluster := range c.Clusters {
			if cluster.Namespace != group.Namespace {
				continue
			}
			switch selects(group.Spec.Selector, cluster.Labels) {
			case yes:
				members++
				want.add(of(clusters, clusterKey))
			case unknown:
				undecided = true
			case no:
			}
		}
		if undecided {
			continue
		}
		if group.Status.ClusterCount != members {
			c.fail("group %s says %d clusters, counted %d", key, group.Status.ClusterCount, members)
		}
		c.compare("group", key, group.Status.Summary, want)
	}
}
