package status_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// A roll-up that was told of changes one by one, in any order, some twice and
// some never, as a watch may tell them, says what counting everything says.

// stories is how many sequences of events each of these tests runs; a longer
// run is `go test ./pkg/status -run Rollup -stories 20000 -seed 1`.
var (
	stories = flag.Int("stories", 150, "how many random sequences of events each property test runs")
	seed    = flag.Uint64("seed", 42, "where their seeds start")
)

const stepsPerStory = 60

// teller holds back what a roll-up is to be told, and tells it in an order of
// its own. Of two things to be told of one child, only the last is told: a
// relist leaves out what happened in between.
type teller struct {
	rng     *rand.Rand
	pending map[string]func()
}

func newTeller(rng *rand.Rand) *teller { return &teller{rng: rng, pending: map[string]func(){}} }

// later has the roll-up told at some time before the next look.
func (t *teller) later(child string, tell func()) { t.pending[child] = tell }

// flush tells all that is pending.
func (t *teller) flush() {
	children := slices.Sorted(maps.Keys(t.pending))
	t.rng.Shuffle(len(children), func(i, j int) { children[i], children[j] = children[j], children[i] })
	for _, child := range children {
		t.pending[child]()
		if t.rng.IntN(4) == 0 {
			t.pending[child]()
		}
	}
	clear(t.pending)
}

// story runs one random sequence: step changes the world and says so to the
// teller, check compares.
func story(t *testing.T, begin func(rng *rand.Rand, tell *teller) (step func(), check func() string)) {
	t.Helper()
	for n := range *stories {
		rng := rand.New(rand.NewPCG(*seed+uint64(n), 1))
		tell := newTeller(rng)
		step, check := begin(rng, tell)
		for i := range stepsPerStory {
			step()
			if rng.IntN(3) > 0 {
				continue
			}
			tell.flush()
			if diff := check(); diff != "" {
				t.Fatalf("seed %d, step %d (-recounted +rolled up):\n%s", *seed+uint64(n), i, diff)
			}
		}
	}
}

// pick returns one of several.
func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// anyState is a deployment in a random state, with what its agent may say.
func anyState(rng *rand.Rand, bundle, cluster string) *fleet.BundleDeployment {
	state := pick(rng, fleet.Ready, fleet.Ready, fleet.Ready, fleet.WaitApplied, fleet.ErrApplied, fleet.NotReady, fleet.OutOfSync, fleet.Modified)
	bd := deployment(bundle, cluster, state, withObjects("v1 ConfigMap x/"+bundle, "apps/v1 Deployment x/web"))
	bd.UID = types.UID(bundle + cluster)
	if rng.IntN(3) == 0 {
		notReady("apps/v1 Deployment x/web", pick(rng, "updating", "error"), "Available: 0/1")(bd)
	}
	if rng.IntN(4) == 0 {
		modified("v1 ConfigMap x/"+bundle, pick(rng, `{"a":1}`, "missing"))(bd)
	}
	bd.Status.ResourceCounts = fleet.ResourceCounts{
		Ready: pick(rng, 0, 3, -7, 1<<62), DesiredReady: rng.IntN(5), NotReady: rng.IntN(2), Modified: rng.IntN(2), Unknown: rng.IntN(2),
	}
	if rng.IntN(5) == 0 {
		bd.Spec.StagedDeploymentID = "newer"
	}
	if rng.IntN(8) == 0 {
		removing(bd)
	}
	return bd
}

// goOffline turns clusters offline and back.
func goOffline(rng *rand.Rand, offline status.Offline, cluster string) {
	c := clusterNamed(cluster)
	if _, away := offline[workspace+"/"+cluster]; !away || rng.IntN(4) == 0 {
		status.Set(&c.Status.Conditions, fleet.Condition{Type: fleet.ConditionClusterReachable, Status: "False"}, at(rng.IntN(3)))
	}
	offline.Note(c)
}

func TestBundleRollup(t *testing.T) {
	story(t, func(rng *rand.Rand, tell *teller) (func(), func() string) {
		offline := status.Offline{}
		rolled := status.NewBundleRollup(offline)
		deployments, wanted := map[string]*fleet.BundleDeployment{}, map[string]status.Target{}
		clusters := 1 + rng.IntN(40)
		change := func(cluster string) {
			before, now := deployments[cluster], anyState(rng, "web", cluster)
			if before != nil && rng.IntN(3) == 0 {
				delete(deployments, cluster)
				tell.later("bd "+cluster, func() { rolled.DeploymentGone(before) })
				return
			}
			if rng.IntN(10) == 0 {
				now.UID += "again"
			}
			deployments[cluster] = now
			tell.later("bd "+cluster, func() { rolled.Deployment(now) })
		}
		retarget := func(cluster string) {
			name := workspace + "/" + cluster
			if _, is := wanted[cluster]; is && rng.IntN(3) == 0 {
				delete(wanted, cluster)
				tell.later("target "+cluster, func() { rolled.TargetGone(name) })
				return
			}
			target := status.Target{Cluster: name, Fingerprint: pick(rng, "id", "newer", ""), Partition: rng.IntN(4) - 1}
			if rng.IntN(3) == 0 {
				target.Held, target.Reason = "held", "Partition"
				target.Invalid, target.Waits = rng.IntN(3) == 0, rng.IntN(2) == 0
			}
			wanted[cluster] = target
			tell.later("target "+cluster, func() { rolled.Target(target) })
		}
		step := func() {
			cluster := fmt.Sprintf("c%02d", rng.IntN(clusters))
			switch rng.IntN(8) {
			case 0:
				goOffline(rng, offline, cluster)
				rolled.Reached(workspace + "/" + cluster)
			case 1, 2, 3:
				retarget(cluster)
			default:
				change(cluster)
			}
		}
		check := func() string {
			facts := status.BundleFacts{
				Bundle: bundleNamed("web"), Known: true, Generation: 2, Now: at(1), Offline: offline,
				Deployments: slices.Collect(maps.Values(deployments)), Targets: slices.Collect(maps.Values(wanted)),
			}
			if rng.IntN(2) == 0 {
				facts.Rollout = &status.Rollout{Partitions: []fleet.PartitionStatus{{Name: "a", Count: 3}, {Name: "b"}, {Name: "c"}}, Unavailable: 1}
			}
			want := slices.SortedFunc(maps.Values(wanted), func(a, b status.Target) int { return strings.Compare(a.Cluster, b.Cluster) })
			return cmp.Diff(status.ForBundle(facts), rolled.Status(facts)) + cmp.Diff(want, rolled.Targets()) +
				cmp.Diff(len(deployments)+len(wanted) == 0, rolled.Empty())
		}
		return step, check
	})
}

// anyBundle is what a bundle may say of itself.
func anyBundle(rng *rand.Rand, name string) *fleet.Bundle {
	b := bundleNamed(name)
	b.UID = types.UID(name)
	b.Status.ObservedGeneration = b.Generation - int64(rng.IntN(4)/3)
	b.Status.Summary = fleet.BundleSummary{DesiredReady: rng.IntN(12), ErrApplied: rng.IntN(4) / 3, OutOfSync: rng.IntN(4) / 3, Unknown: rng.IntN(2)}
	for i := range b.Status.Summary.ErrApplied + b.Status.Summary.Unknown {
		b.Status.Summary.NonReadyResources = append(b.Status.Summary.NonReadyResources, fleet.NonReadyResource{
			Name: fmt.Sprintf("%s/c%02d", workspace, i), State: pick(rng, fleet.ErrApplied, fleet.Unknown), Message: "told",
		})
	}
	status.Set(&b.Status.Conditions, fleet.Condition{
		Type: fleet.ConditionReady, Status: pick[metav1.ConditionStatus](rng, "True", "False", "Unknown"), Reason: "X",
	}, at(0))
	if rng.IntN(6) == 0 {
		status.Set(&b.Status.Conditions, fleet.Condition{Type: fleet.ConditionStalled, Status: "True", Reason: "Invalid", Message: "no"}, at(0))
	}
	if rng.IntN(6) == 0 {
		now := at(0)
		b.DeletionTimestamp = &now
	}
	return b
}

func TestRepoRollup(t *testing.T) {
	story(t, func(rng *rand.Rand, tell *teller) (func(), func() string) {
		offline := status.Offline{}
		rolled := status.NewRepoRollup(offline)
		deployments, bundles := map[string]*fleet.BundleDeployment{}, map[string]*fleet.Bundle{}
		// More clusters than a status names, in some of the stories.
		clusters := pick(rng, 3, 20, 60)
		for c := range clusters {
			bd := anyState(rng, "b0", fmt.Sprintf("c%02d", c))
			deployments["b0 "+bd.Namespace] = bd
			rolled.Deployment(bd)
		}
		step := func() {
			cluster, bundle := fmt.Sprintf("c%02d", rng.IntN(clusters)), fmt.Sprintf("b%d", rng.IntN(3))
			now := anyState(rng, bundle, cluster)
			key := bundle + " " + now.Namespace
			before := deployments[key]
			switch n := rng.IntN(10); {
			case n == 0:
				goOffline(rng, offline, cluster)
				rolled.Reached(workspace + "/" + cluster)
			case n == 1:
				b := anyBundle(rng, bundle)
				bundles[bundle] = b
				tell.later(bundle, func() { rolled.Bundle(b) })
			case n == 2 && bundles[bundle] != nil:
				b := bundles[bundle]
				delete(bundles, bundle)
				tell.later(bundle, func() { rolled.BundleGone(b) })
			case n == 3:
				// The same deployment is another bundle's by its label.
				now.Labels[names.LabelBundleName] = "former-" + bundle
				fallthrough
			case n < 8 || before == nil:
				deployments[key] = now
				tell.later(key, func() { rolled.Deployment(now) })
			default:
				delete(deployments, key)
				tell.later(key, func() { rolled.DeploymentGone(before) })
			}
		}
		check := func() string {
			facts := status.GitRepoFacts{
				GitRepo: gitRepo(), Known: true, Commit: "c", Now: at(1), Offline: offline,
				Deployments: slices.Collect(maps.Values(deployments)), Bundles: slices.Collect(maps.Values(bundles)),
			}
			if rng.IntN(3) == 0 {
				facts.Stale = map[string]bool{"b1": true}
			}
			return cmp.Diff(status.ForGitRepo(facts), rolled.Status(facts)) +
				cmp.Diff(len(deployments)+len(bundles) == 0, rolled.Empty())
		}
		return step, check
	})
}

func TestClusterRollup(t *testing.T) {
	story(t, func(rng *rand.Rand, tell *teller) (func(), func() string) {
		var rolled status.ClusterRollup
		deployments := map[string]*fleet.BundleDeployment{}
		step := func() {
			bundle := fmt.Sprintf("b%02d", rng.IntN(25))
			before, now := deployments[bundle], anyState(rng, bundle, "one")
			now.Labels[names.LabelRepoName] = pick(rng, "", "one", "two", "three")
			if before != nil && rng.IntN(3) == 0 {
				delete(deployments, bundle)
				tell.later(bundle, func() { rolled.DeploymentGone(before) })
				return
			}
			deployments[bundle] = now
			tell.later(bundle, func() { rolled.Deployment(now) })
		}
		check := func() string {
			facts := status.ClusterFacts{Cluster: clusterNamed("one"), Deployments: slices.Collect(maps.Values(deployments)), Now: at(1)}
			return cmp.Diff(status.ForCluster(facts), rolled.Status(facts)) + cmp.Diff(len(deployments) == 0, rolled.Empty())
		}
		return step, check
	})
}

func TestGroupRollup(t *testing.T) {
	story(t, func(rng *rand.Rand, tell *teller) (func(), func() string) {
		rolled := status.NewGroupRollup()
		clusters := map[string]*fleet.Cluster{}
		step := func() {
			name := fmt.Sprintf("c%02d", rng.IntN(30))
			if clusters[name] != nil && rng.IntN(3) == 0 {
				delete(clusters, name)
				tell.later(name, func() { rolled.ClusterGone(name) })
				return
			}
			c := clusterNamed(name)
			c.Status.Summary = fleet.BundleSummary{Ready: rng.IntN(3), DesiredReady: rng.IntN(4), Unknown: rng.IntN(2)}
			c.Status.ResourceCounts = fleet.ResourceCounts{Ready: pick(rng, 1, -1, 1<<62), DesiredReady: rng.IntN(5)}
			c.Status.Display.State = pick(rng, "Ready", "Ready", "Offline", "ErrApplied", "NotReady", "WaitCheckIn", "")
			status.Set(&c.Status.Conditions, fleet.Condition{Type: fleet.ConditionReady, Status: "True"}, at(0))
			if rng.IntN(3) == 0 {
				c.Status.Conditions[0].Status = "False"
			}
			if rng.IntN(4) == 0 {
				status.Set(&c.Status.Conditions, fleet.Condition{Type: fleet.ConditionClusterReachable, Status: "False"}, at(rng.IntN(3)))
			}
			clusters[name] = c
			tell.later(name, func() { rolled.Cluster(c) })
		}
		check := func() string {
			facts := status.ClusterGroupFacts{Group: &fleet.ClusterGroup{}, Clusters: slices.Collect(maps.Values(clusters)), Now: at(1)}
			return cmp.Diff(status.ForClusterGroup(facts), rolled.Status(facts))
		}
		return step, check
	})
}
