// Package targets tests which clusters a bundle is deployed to, and that what
// no longer matches leaves: bundles, deployments, contents and values on a real
// hub, with the real manager. Agents are played by the tests.
package targets

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{Manager: true}, func(e *harness.Environment) { env = e }))
}

// cluster makes a Cluster without an agent and waits until it has its place.
func cluster(t *testing.T, workspace, name string, labels map[string]string) kube.Key {
	t.Helper()
	made := env.Clusters.Make(t, &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name, Labels: labels}})
	key := harness.KeyOf(made)
	env.Clusters.Await(t, key, func(c *fleet.Cluster) error {
		if c.Status.Namespace == "" {
			return errors.New("it has no namespace yet")
		}
		return nil
	})
	return key
}

// agent makes the cluster one whose agent has reported.
func agent(t *testing.T, key kube.Key) {
	t.Helper()
	env.Clusters.EditStatus(t, key, func(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.Now() })
}

// bundle makes a Bundle of one ConfigMap.
func bundle(t *testing.T, workspace, name string, edit func(*fleet.Bundle)) kube.Key {
	t.Helper()
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name}}
	b.Spec.Resources = []fleet.BundleResource{{
		Name: "configmap.yaml", Content: "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + workspace + "\n",
	}}
	b.Spec.Targets = []fleet.BundleTarget{everywhere()}
	if edit != nil {
		edit(b)
	}
	return harness.KeyOf(env.Bundles.Make(t, b))
}

func everywhere() fleet.BundleTarget {
	return fleet.BundleTarget{Name: "all", ClusterSelector: &metav1.LabelSelector{}}
}

func inEnv(value string) fleet.BundleTarget {
	return fleet.BundleTarget{Name: value, ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": value}}}
}

func inGroup(name string) fleet.BundleTarget {
	return fleet.BundleTarget{Name: name, ClusterGroup: name}
}

func targets(targets ...fleet.BundleTarget) func(*fleet.Bundle) {
	return func(b *fleet.Bundle) { b.Spec.Targets = targets }
}

// deployment is the key of a bundle's deployment on a cluster.
func deployment(bundle, cluster kube.Key) kube.Key {
	return kube.Key{Namespace: names.ClusterNamespace(cluster.Namespace, cluster.Name), Name: bundle.Name}
}

// awaitOn waits until the bundle has deployments on exactly these clusters,
// and its counts say so.
func awaitOn(t *testing.T, bundle kube.Key, clusters ...string) {
	t.Helper()
	slices.Sort(clusters)
	harness.Eventually(t, fmt.Sprintf("bundle %s is on %q", bundle, clusters), func(_ ctx) error {
		if on := deployedOn(t, bundle); !slices.Equal(on, clusters) {
			return fmt.Errorf("it is on %q", on)
		}
		return nil
	})
	env.Bundles.Await(t, bundle, func(b *fleet.Bundle) error {
		if got, want := b.Status.Summary.DesiredReady, len(clusters); got != want {
			return fmt.Errorf("desiredReady is %d, want %d", got, want)
		}
		return nil
	})
}

// deployedOn returns the clusters on which the bundle has a deployment that is
// not being removed.
func deployedOn(t *testing.T, bundle kube.Key) []string {
	t.Helper()
	var on []string
	for _, bd := range deploymentsOf(t, bundle) {
		if bd.DeletionTimestamp == nil {
			on = append(on, bd.Labels[names.LabelCluster])
		}
	}
	slices.Sort(on)
	return on
}

func deploymentsOf(t *testing.T, bundle kube.Key) []fleet.BundleDeployment {
	t.Helper()
	return env.BundleDeployments.All(t, "", labels.Set{
		names.LabelBundleName: bundle.Name, names.LabelBundleNamespace: bundle.Namespace,
	}).Items
}

// awaitStalled waits until the bundle says what a user has to do.
func awaitStalled(t *testing.T, bundle kube.Key, message string) {
	t.Helper()
	env.Bundles.AwaitCondition(t, bundle, fleet.Condition{Type: fleet.ConditionStalled, Status: "True", Message: message})
	env.Bundles.AwaitCondition(t, bundle, fleet.Condition{Type: fleet.ConditionReady, Status: "False", Message: message})
}

// probe makes a bundle for all clusters of a workspace and waits for it: what
// the manager was told before, it has acted on by then.
func probe(t *testing.T, workspace string, clusters ...string) {
	t.Helper()
	awaitOn(t, bundle(t, workspace, "probe", nil), clusters...)
}
