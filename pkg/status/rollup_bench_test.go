package status_test

import (
	"fmt"
	"runtime"
	"testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// What one event costs, with ever more children: it must not grow with them.

func fleets() []int { return []int{100, 10_000} }

// flips returns each deployment in two states, for events that change something.
func flips(clusters int) (ready, broken []*fleet.BundleDeployment) {
	for c := range clusters {
		name := fmt.Sprintf("cluster-%05d", c)
		ready = append(ready, deployment("web", name, fleet.Ready, withObjects("v1 ConfigMap x/a", "apps/v1 Deployment x/b")))
		broken = append(broken, deployment("web", name, fleet.NotReady, withObjects("v1 ConfigMap x/a", "apps/v1 Deployment x/b")))
	}
	return ready, broken
}

func BenchmarkBundleRollup(b *testing.B) {
	for _, clusters := range fleets() {
		ready, broken := flips(clusters)
		rolled := status.NewBundleRollup(status.Offline{})
		for _, bd := range ready {
			rolled.Deployment(bd)
			rolled.Target(status.Target{Cluster: workspace + "/" + bd.Labels[names.LabelCluster], Fingerprint: "id"})
		}
		b.Run(fmt.Sprintf("event/%d", clusters), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				bd := ready[i%clusters]
				if i/clusters%2 == 0 {
					bd = broken[i%clusters]
				}
				rolled.Deployment(bd)
			}
		})
		facts := status.BundleFacts{Bundle: bundleNamed("web"), Known: true, Now: at(1)}
		b.Run(fmt.Sprintf("status/%d", clusters), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rolled.Status(facts)
			}
		})
	}
}

func BenchmarkRepoRollup(b *testing.B) {
	for _, clusters := range fleets() {
		ready, broken := flips(clusters)
		rolled := status.NewRepoRollup(status.Offline{})
		for _, bd := range ready {
			rolled.Deployment(bd)
		}
		b.Run(fmt.Sprintf("event/%d", clusters), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				bd := ready[i%clusters]
				if i/clusters%2 == 0 {
					bd = broken[i%clusters]
				}
				rolled.Deployment(bd)
			}
		})
		facts := status.GitRepoFacts{GitRepo: gitRepo(), Known: true, Commit: "c", Now: at(1)}
		b.Run(fmt.Sprintf("status/%d", clusters), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				// One that is named changes each time, so that nothing is as it was.
				rolled.Deployment(ready[0].DeepCopy())
				rolled.Status(facts)
			}
		})
	}
}

func BenchmarkClusterRollup(b *testing.B) {
	for _, bundles := range []int{10, 300} {
		var rolled status.ClusterRollup
		var ready, broken []*fleet.BundleDeployment
		for n := range bundles {
			ready = append(ready, deployment(fmt.Sprintf("bundle-%03d", n), "one", fleet.Ready))
			broken = append(broken, deployment(fmt.Sprintf("bundle-%03d", n), "one", fleet.NotReady))
			rolled.Deployment(ready[n])
		}
		b.Run(fmt.Sprintf("event/%d", bundles), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				bd := ready[i%bundles]
				if i/bundles%2 == 0 {
					bd = broken[i%bundles]
				}
				rolled.Deployment(bd)
			}
		})
	}
}

func BenchmarkGroupRollup(b *testing.B) {
	for _, clusters := range fleets() {
		rolled := status.NewGroupRollup()
		states := [2][]*fleet.Cluster{}
		for n := range clusters {
			c := clusterNamed(fmt.Sprintf("cluster-%05d", n))
			other := c.DeepCopy()
			status.Set(&other.Status.Conditions, fleet.Condition{Type: fleet.ConditionReady, Status: "True"}, at(0))
			states[0], states[1] = append(states[0], c), append(states[1], other)
			rolled.Cluster(c)
		}
		b.Run(fmt.Sprintf("event/%d", clusters), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				rolled.Cluster(states[i/clusters%2][i%clusters])
			}
		})
	}
}

// BenchmarkMemory tells what all roll-ups together keep for a deployment, beside the deployment itself: 100,000 deployments,
// 10,000 clusters, 10 bundles of one GitRepo, 3 groups for each cluster.
func BenchmarkMemory(b *testing.B) {
	const clusters, bundles = 10_000, 10
	deployments := make([]*fleet.BundleDeployment, 0, clusters*bundles)
	all := make([]*fleet.Cluster, 0, clusters)
	for c := range clusters {
		name := fmt.Sprintf("cluster-%05d", c)
		all = append(all, clusterNamed(name))
		for n := range bundles {
			deployments = append(deployments, deployment(fmt.Sprintf("bundle-%d", n), name, fleet.Ready))
		}
	}
	per := func(before, after uint64) float64 { return float64(after-before) / float64(len(deployments)) }
	for b.Loop() {
		offline := status.Offline{}
		start := heapInUse()
		rolledBundles := map[string]*status.BundleRollup{}
		for _, bd := range deployments {
			if rolledBundles[bd.Name] == nil {
				rolledBundles[bd.Name] = status.NewBundleRollup(offline)
			}
			rolledBundles[bd.Name].Target(status.Target{Cluster: workspace + "/" + bd.Labels[names.LabelCluster], Fingerprint: "id"})
			rolledBundles[bd.Name].Deployment(bd)
		}
		afterBundles := heapInUse()
		repo := status.NewRepoRollup(offline)
		for _, bd := range deployments {
			repo.Deployment(bd)
		}
		afterRepo := heapInUse()
		rolledClusters := map[string]*status.ClusterRollup{}
		for _, bd := range deployments {
			if rolledClusters[bd.Namespace] == nil {
				rolledClusters[bd.Namespace] = &status.ClusterRollup{}
			}
			rolledClusters[bd.Namespace].Deployment(bd)
		}
		afterClusters := heapInUse()
		groups := []*status.GroupRollup{status.NewGroupRollup(), status.NewGroupRollup(), status.NewGroupRollup()}
		for _, c := range all {
			for _, g := range groups {
				g.Cluster(c)
			}
		}
		end := heapInUse()
		b.ReportMetric(per(start, afterBundles), "bundle-B/deployment")
		b.ReportMetric(per(afterBundles, afterRepo), "gitrepo-B/deployment")
		b.ReportMetric(per(afterRepo, afterClusters), "cluster-B/deployment")
		b.ReportMetric(per(afterClusters, end), "group-B/deployment")
		b.ReportMetric(per(start, end), "all-B/deployment")
		runtime.KeepAlive([]any{rolledBundles, repo, rolledClusters, groups})
	}
	runtime.KeepAlive(deployments)
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
