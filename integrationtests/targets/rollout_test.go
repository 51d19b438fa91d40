package targets

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// fleetOf makes clusters whose agents have reported.
func fleetOf(t *testing.T, workspace string, clusters ...string) map[string]kube.Key {
	t.Helper()
	keys := map[string]kube.Key{}
	for _, name := range clusters {
		keys[name] = cluster(t, workspace, name, map[string]string{"name": name})
		agent(t, keys[name])
	}
	return keys
}

// answer has the agent of a cluster report that the bundle's deployment runs.
func answer(t *testing.T, bundle, cluster kube.Key) {
	t.Helper()
	key := deployment(bundle, cluster)
	env.BundleDeployments.Await(t, key, func(bd *fleet.BundleDeployment) error {
		if bd.Applied() {
			return errors.New("there is nothing new for its agent")
		}
		return nil
	})
	env.BundleDeployments.EditStatus(t, key, func(bd *fleet.BundleDeployment) {
		bd.Status.AppliedDeploymentID = bd.Spec.DeploymentID
		bd.Status.DownstreamResourcesGeneration = bd.Spec.DownstreamResourcesGeneration
		bd.Status.Ready, bd.Status.NonModified = true, true
	})
}

// content gives the bundle another content.
func content(text string) func(*fleet.Bundle) {
	return func(b *fleet.Bundle) {
		b.Spec.Resources[0].Content = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map\ndata:\n  text: " + text + "\n"
	}
}

// changed returns the clusters whose deployments are to run something else
// than before.
func changed(t *testing.T, bundle kube.Key, before map[string]string) []string {
	t.Helper()
	var clusters []string
	for cluster, id := range current(t, bundle) {
		if before[cluster] != id {
			clusters = append(clusters, cluster)
		}
	}
	slices.Sort(clusters)
	return clusters
}

// current returns what every cluster is to run now.
func current(t *testing.T, bundle kube.Key) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for _, bd := range deploymentsOf(t, bundle) {
		ids[bd.Labels["fleet.cattle.io/cluster"]] = bd.Spec.DeploymentID
	}
	return ids
}

func awaitChanged(t *testing.T, bundle kube.Key, before map[string]string, clusters ...string) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("exactly %q have something new", clusters), func(_ ctx) error {
		if got := changed(t, bundle, before); !slices.Equal(got, clusters) {
			return fmt.Errorf("%q have", got)
		}
		return nil
	})
}

func TestPartitionsGoOneAfterTheOther(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	clusters := fleetOf(t, ws, "a", "b", "c", "d")
	one := intstr.FromInt32(1)
	b := bundle(t, ws, "web", func(b *fleet.Bundle) {
		b.Spec.RolloutStrategy = &fleet.RolloutStrategy{
			MaxUnavailable: &one,
			Partitions: []fleet.Partition{{Name: "canary", ClusterSelector: &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "name", Operator: metav1.LabelSelectorOpIn, Values: []string{"c", "d"}}},
			}}},
		}
	})
	for _, name := range []string{"c", "d", "a", "b"} {
		answer(t, b, clusters[name])
	}
	env.Bundles.AwaitCondition(t, b, fleet.Condition{Type: fleet.ConditionReady, Status: "True"})

	before := current(t, b)
	env.Bundles.Edit(t, b, content("new"))
	awaitChanged(t, b, before, "c")
	env.Bundles.Await(t, b, func(b *fleet.Bundle) error {
		switch s := b.Status; {
		case len(s.PartitionStatus) != 2 || s.PartitionStatus[0].Name != "canary" || s.PartitionStatus[0].Count != 2 || s.PartitionStatus[1].Count != 2:
			return fmt.Errorf("partitions are %+v", s.PartitionStatus)
		case s.Summary.Ready != 0 || s.Summary.DesiredReady != 4:
			return fmt.Errorf("%d/%d ready", s.Summary.Ready, s.Summary.DesiredReady)
		case !strings.Contains(fmt.Sprint(s.Summary.NonReadyResources), "canary"):
			return fmt.Errorf("nothing says what is waited for: %+v", s.Summary.NonReadyResources)
		}
		return nil
	})
	// Whatever the manager was told before, it has acted on by now: one cluster
	// of the canary is all that may be unavailable.
	probe(t, ws, "a", "b", "c", "d")
	awaitChanged(t, b, before, "c")

	// One of the canary may be behind while the rest begins, but of the whole
	// bundle no more than one is unavailable at a time.
	answer(t, b, clusters["c"])
	awaitChanged(t, b, before, "c", "d")
	answer(t, b, clusters["d"])
	awaitChanged(t, b, before, "a", "c", "d")
	answer(t, b, clusters["a"])
	answer(t, b, clusters["b"])
	env.Bundles.AwaitCondition(t, b, fleet.Condition{Type: fleet.ConditionReady, Status: "True"})
}

func TestMaxNewWaitsForAgents(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	clusters := fleetOf(t, ws, "a", "b", "c")
	cluster(t, ws, "d", nil)
	b := bundle(t, ws, "web", func(b *fleet.Bundle) {
		most := 1
		b.Spec.RolloutStrategy = &fleet.RolloutStrategy{MaxNew: &most}
	})
	// The cluster without an agent keeps nobody waiting.
	harness.Eventually(t, "a and d have a deployment", func(_ ctx) error {
		if on := deployedOn(t, b); !slices.Equal(on, []string{"a", "d"}) {
			return fmt.Errorf("%q have", on)
		}
		return nil
	})
	answer(t, b, clusters["a"])
	answer(t, b, clusters["b"])
	awaitOn(t, b, "a", "b", "c", "d")
}

func TestPauseHoldsWhatIsStaged(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	cluster(t, ws, "two", nil)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, "one", "two")
	before := current(t, b)
	env.Clusters.Edit(t, one, func(c *fleet.Cluster) { c.Spec.Paused = true })
	env.BundleDeployments.Await(t, deployment(b, one), func(bd *fleet.BundleDeployment) error {
		if !bd.Spec.Paused {
			return errors.New("it is not paused")
		}
		return nil
	})
	env.Bundles.Edit(t, b, content("new"))
	awaitChanged(t, b, before, "two")
	env.BundleDeployments.Await(t, deployment(b, one), func(bd *fleet.BundleDeployment) error {
		if bd.Spec.StagedDeploymentID == before["one"] || bd.Spec.DeploymentID != before["one"] {
			return fmt.Errorf("staged %s, current %s", bd.Spec.StagedDeploymentID, bd.Spec.DeploymentID)
		}
		return nil
	})
	env.Clusters.Edit(t, one, func(c *fleet.Cluster) { c.Spec.Paused = false })
	awaitChanged(t, b, before, "one", "two")
	if got := current(t, b); got["one"] != got["two"] {
		t.Errorf("they run %v", got)
	}
}
