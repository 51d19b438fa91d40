package targeting_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// Whatever changes in the fleet, every cluster for which a bundle's targets
// say anything but "no target matches" is a candidate, and once.
func TestCandidatesLeaveNoneOut(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	all := groups(t)
	fleetOf := map[string]*fleet.Cluster{}
	index := targeting.NewClusters()
	asked, found := 0, 0
	for round := range 2000 {
		change(r, index, fleetOf)
		spec := randomSpec(r)
		m := targeting.Compile(workspace, spec, all)
		candidates := map[string]int{}
		index.Candidates(workspace, m, func(c *fleet.Cluster) {
			candidates[c.Name]++
			if c != fleetOf[c.Name] {
				t.Fatalf("round %d: the candidate %s is not the newest state", round, c.Name)
			}
		})
		for name, c := range fleetOf {
			asked++
			d := m.Match(c)
			if d.Outcome != targeting.Unmatched && candidates[name] != 1 {
				t.Fatalf("round %d: cluster %s with %v is %s (%v), but %d times a candidate\n%s",
					round, name, c.Labels, d.Reason, d.Outcome, candidates[name], asJSON(t, spec))
			}
		}
		found += len(candidates)
	}
	if found == 0 || found > asked*9/10 {
		t.Errorf("%d candidates of %d: the index narrows nothing", found, asked)
	}
}

// change adds, relabels or removes a cluster.
func change(r *rand.Rand, index *targeting.Clusters, fleetOf map[string]*fleet.Cluster) {
	known := clusters()
	c := known[r.IntN(len(known))].DeepCopy()
	c.Namespace = workspace
	switch r.IntN(4) {
	case 0:
		delete(fleetOf, c.Name)
		index.Delete(c.Namespace, c.Name)
		return
	case 1:
		c.Labels = known[r.IntN(len(known))].Labels
	}
	fleetOf[c.Name] = c
	index.Set(c)
}

func TestClustersForgetsWhatIsGone(t *testing.T) {
	index := targeting.NewClusters()
	c := cluster("a", map[string]string{"env": "dev"})
	c.Namespace = workspace
	index.Set(c)
	if index.Get(workspace, "a") != c {
		t.Error("the cluster is not there")
	}
	index.Delete(workspace, "a")
	index.Delete(workspace, "a")
	if index.Get(workspace, "a") != nil || index.Get("elsewhere", "a") != nil {
		t.Error("the cluster is still there")
	}
	index.Candidates(workspace, targeting.Compile(workspace, specOf(t, `targets: [{clusterSelector: {}}]`), nil), func(c *fleet.Cluster) {
		t.Errorf("candidate %s", c.Name)
	})
}

func TestPartition(t *testing.T) {
	spec := specOf(t, `
targets: [{clusterSelector: {}}]
rolloutStrategy:
  partitions:
  - {name: canary, clusterName: a}
  - {name: broken, clusterGroup: missing}
  - {name: dev, clusterSelector: {matchLabels: {env: dev}}}
  - {name: nothing}`)
	m := targeting.Compile(workspace, spec, groups(t))
	for name, want := range map[string]int{"a": 0, "b": 2, "c": targeting.NoPartition} {
		env := map[string]string{"a": "dev", "b": "dev", "c": "prod"}[name]
		if got := m.Partition(cluster(name, map[string]string{"env": env})); got != want {
			t.Errorf("cluster %s is in partition %d, want %d", name, got, want)
		}
	}
	problems := fmt.Sprint(m.Problems())
	if len(m.Problems()) != 1 {
		t.Errorf("problems: %s", problems)
	}
	if d := m.Match(cluster("c", nil)); d.Outcome != targeting.Matched {
		t.Errorf("a partition that cannot be evaluated has turned the match: %+v", d)
	}
}

// BenchmarkCandidates asks for the candidates of a narrow bundle in a large
// fleet.
func BenchmarkCandidates(b *testing.B) {
	const size = 10_000
	index := targeting.NewClusters()
	for i := range size {
		c := cluster(fmt.Sprintf("cluster-%05d", i), map[string]string{"env": fmt.Sprint("env", i%3), "site": fmt.Sprint("site", i%1000)})
		c.Namespace = workspace
		index.Set(c)
	}
	m := targeting.Compile(workspace, specOf(b, `targets: [{clusterSelector: {matchLabels: {env: env1, site: site7}}}]`), nil)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		index.Candidates(workspace, m, func(*fleet.Cluster) { n++ })
		if n != size/1000 {
			b.Fatal(n)
		}
	}
}
