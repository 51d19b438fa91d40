// Package garbagecollector tests what the garbage collector takes away, what it holds, and who may say otherwise: on a real hub, with
// the real manager, which some tests stop and start. Agents are played by the tests.
package garbagecollector

import (
	"context"
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
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{}, func(e *harness.Environment) { env = e }))
}

var prod = map[string]string{"env": "prod"}

// clusters makes Clusters without agents and waits until each has its place.
func clusters(t *testing.T, workspace string, n int, labels map[string]string) []kube.Key {
	t.Helper()
	var keys []kube.Key
	for i := range n {
		made := env.Clusters.Make(t, harness.NewCluster(workspace, fmt.Sprintf("c%02d", i), labels))
		keys = append(keys, harness.KeyOf(made))
	}
	for _, key := range keys {
		env.Clusters.Await(t, key, func(c *fleet.Cluster) error {
			if c.Status.Namespace == "" {
				return errors.New("it has no namespace yet")
			}
			return nil
		})
	}
	return keys
}

func relabel(t *testing.T, keys []kube.Key, value string) {
	t.Helper()
	for _, key := range keys {
		env.Clusters.Edit(t, key, func(c *fleet.Cluster) { c.Labels = map[string]string{"env": value} })
	}
}

// bundle makes a Bundle of one ConfigMap.
func bundle(t *testing.T, workspace, name string, targets ...fleet.BundleTarget) kube.Key {
	t.Helper()
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name}}
	b.Spec.Resources = []fleet.BundleResource{{
		Name: "configmap.yaml", Content: "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + workspace + "\n",
	}}
	b.Spec.Targets = targets
	return harness.KeyOf(env.Bundles.Make(t, b))
}

func inEnv(value string) fleet.BundleTarget {
	return fleet.BundleTarget{Name: value, ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": value}}}
}

func everywhere() fleet.BundleTarget {
	return fleet.BundleTarget{Name: "all", ClusterSelector: &metav1.LabelSelector{}}
}

func target(t *testing.T, bundle kube.Key, targets ...fleet.BundleTarget) {
	t.Helper()
	env.Bundles.Edit(t, bundle, func(b *fleet.Bundle) { b.Spec.Targets = targets })
}

func annotateBundle(t *testing.T, bundle kube.Key, key, value string) {
	t.Helper()
	env.Bundles.Edit(t, bundle, func(b *fleet.Bundle) { annotate(&b.ObjectMeta, key, value) })
}

// annotate sets an annotation; an empty value takes it off.
func annotate(meta *metav1.ObjectMeta, key, value string) {
	if value == "" {
		delete(meta.Annotations, key)
		return
	}
	if meta.Annotations == nil {
		meta.Annotations = map[string]string{}
	}
	meta.Annotations[key] = value
}

// deployment is the key of a bundle's deployment on a cluster.
func deployment(bundle, cluster kube.Key) kube.Key {
	return kube.Key{Namespace: names.ClusterNamespace(cluster.Namespace, cluster.Name), Name: bundle.Name}
}

// deployedOn returns how many deployments the bundle has that are not being removed.
func deployedOn(t *testing.T, bundle kube.Key) int {
	t.Helper()
	n := 0
	for _, bd := range env.BundleDeployments.All(t, "", labels.Set{
		names.LabelBundleName: bundle.Name, names.LabelBundleNamespace: bundle.Namespace,
	}).Items {
		if bd.DeletionTimestamp == nil {
			n++
		}
	}
	return n
}

func awaitDeployments(t *testing.T, bundle kube.Key, want int) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("bundle %s has %d deployments", bundle, want), func(context.Context) error {
		if got := deployedOn(t, bundle); got != want {
			return fmt.Errorf("it has %d", got)
		}
		return nil
	})
}

// awaitSettled waits until the bundle says that the removals of its targets are complete.
func awaitSettled(t *testing.T, bundle kube.Key) {
	t.Helper()
	env.Bundles.Await(t, bundle, func(b *fleet.Bundle) error {
		if got, want := b.Annotations[names.AnnotationSettledTargets], ownership.TargetsDigest(&b.Spec); got != want {
			return fmt.Errorf("it is settled for %q, its targets are %q", got, want)
		}
		return nil
	})
}

// awaitNotHeld waits until the bundle no longer says that something is held.
func awaitNotHeld(t *testing.T, bundle kube.Key) {
	t.Helper()
	env.Bundles.Await(t, bundle, func(b *fleet.Bundle) error { return notHeld(b.Status.Conditions) })
}

func notHeld(conditions []fleet.Condition) error {
	for _, c := range conditions {
		if c.Type == fleet.ConditionPruneHeld {
			return fmt.Errorf("it still says %q", c.Message)
		}
	}
	return nil
}

func held(reason, message string) fleet.Condition {
	return fleet.Condition{Type: fleet.ConditionPruneHeld, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

// awaitWordDone waits until the word of a person that releases what is held was carried out.
func awaitWordDone(t *testing.T, bundle kube.Key) {
	t.Helper()
	env.Bundles.Await(t, bundle, func(b *fleet.Bundle) error {
		if _, there := b.Annotations[names.AnnotationReleaseHeld]; there {
			return errors.New("it is still there")
		}
		return nil
	})
}

// probe makes a bundle for all clusters of a workspace, waits for it and takes it away again: what the manager was told before, it
// has acted on by then.
func probe(t *testing.T, workspace string, clusters int) {
	t.Helper()
	b := bundle(t, workspace, "probe", everywhere())
	awaitDeployments(t, b, clusters)
	env.Bundles.Remove(t, b)
	env.Bundles.AwaitGone(t, b)
}

// agents makes the clusters ones whose agents have reported.
func agents(t *testing.T, keys ...kube.Key) {
	t.Helper()
	for _, key := range keys {
		env.Clusters.EditStatus(t, key, func(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.Now() })
	}
}

// awaitOurs waits until the deployment has our finalizer, and returns it.
func awaitOurs(t *testing.T, key kube.Key) *fleet.BundleDeployment {
	t.Helper()
	return env.BundleDeployments.Await(t, key, func(bd *fleet.BundleDeployment) error {
		if bd.DeletionTimestamp != nil || !slices.Contains(bd.Finalizers, names.FinalizerDeployment) {
			return errors.New("it is being removed, or has no finalizer of ours")
		}
		return nil
	})
}
