package garbagecollector

import (
	"context"
	"errors"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// removed returns the condition in which an agent reports on a removal.
func removed(status metav1.ConditionStatus, reason string) []fleet.Condition {
	return []fleet.Condition{{Type: fleet.ConditionRemoved, Status: status, Reason: reason}}
}

func awaitRemoving(t *testing.T, key kube.Key) *fleet.BundleDeployment {
	t.Helper()
	return env.BundleDeployments.Await(t, key, func(bd *fleet.BundleDeployment) error {
		if bd.DeletionTimestamp == nil {
			return errors.New("it is not being removed")
		}
		return nil
	})
}

func awaitAnew(t *testing.T, key kube.Key, before *fleet.BundleDeployment) *fleet.BundleDeployment {
	t.Helper()
	return env.BundleDeployments.Await(t, key, func(bd *fleet.BundleDeployment) error {
		if bd.UID == before.UID || bd.DeletionTimestamp != nil {
			return errors.New("it is still the old one")
		}
		return nil
	})
}

func TestTargetedAgainBeforeTheAgentBegan(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	one := clusters(t, ws, 1, prod)[0]
	agents(t, one)
	b := bundle(t, ws, "web", inEnv("prod"))
	key := deployment(b, one)
	before := awaitOurs(t, key)
	for _, condition := range [][]fleet.Condition{nil, removed(metav1.ConditionFalse, "Refused"), removed(metav1.ConditionFalse, "WaitingForDependents")} {
		target(t, b, inEnv("none"))
		awaitRemoving(t, key)
		if condition != nil {
			env.BundleDeployments.EditStatus(t, key, func(bd *fleet.BundleDeployment) { bd.Status.Conditions = condition })
		}
		target(t, b, inEnv("prod"))
		before = awaitAnew(t, key, before)
	}
	// By a label, too.
	relabel(t, []kube.Key{one}, "test")
	awaitRemoving(t, key)
	relabel(t, []kube.Key{one}, "prod")
	awaitAnew(t, key, before)
}

func TestTargetedAgainAfterTheAgentBegan(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	one := clusters(t, ws, 1, prod)[0]
	agents(t, one)
	b := bundle(t, ws, "web", inEnv("prod"))
	key := deployment(b, one)
	before := awaitOurs(t, key)
	target(t, b, inEnv("none"))
	awaitRemoving(t, key)
	env.BundleDeployments.EditStatus(t, key, func(bd *fleet.BundleDeployment) {
		bd.Status.Conditions = removed(metav1.ConditionFalse, fleet.ReasonUninstalling)
	})
	target(t, b, inEnv("prod"))
	probe(t, ws, 1)
	if now := awaitRemoving(t, key); now.UID != before.UID {
		t.Fatal("the deployment was let go while its agent removes it")
	}
	env.BundleDeployments.EditStatus(t, key, func(bd *fleet.BundleDeployment) {
		bd.Status.Conditions = removed(metav1.ConditionTrue, "Removed")
	})
	awaitAnew(t, key, before)
}

// The agent begins in the very moment in which the pair matches again. Either its word comes first, and the removal runs to its end,
// or the deployment is let go, and the agent's word finds nothing to stand on.
func TestAgentThatBeginsWhileThePairMatchesAgain(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	one := clusters(t, ws, 1, prod)[0]
	agents(t, one)
	b := bundle(t, ws, "web", inEnv("prod"))
	key := deployment(b, one)
	before := awaitOurs(t, key)
	begun, adopted := 0, 0
	for range 20 {
		target(t, b, inEnv("none"))
		seen := awaitRemoving(t, key)
		var race sync.WaitGroup
		var refused error
		race.Go(func() {
			after := seen.DeepCopy()
			after.Status.Conditions = removed(metav1.ConditionFalse, fleet.ReasonUninstalling)
			_, refused = env.BundleDeployments.PatchStatus(t.Context(), seen, after)
		})
		race.Go(func() { target(t, b, inEnv("prod")) })
		race.Wait()
		if refused == nil {
			begun++
			if now := awaitRemoving(t, key); now.UID != before.UID {
				t.Fatal("the deployment was let go after its agent had begun")
			}
			env.BundleDeployments.EditStatus(t, key, func(bd *fleet.BundleDeployment) {
				bd.Status.Conditions = removed(metav1.ConditionTrue, "Removed")
			})
		} else {
			adopted++
		}
		before = awaitAnew(t, key, before)
		awaitOurs(t, key)
	}
	t.Logf("the agent had begun %d times, the deployment was let go %d times", begun, adopted)
}

// A cluster namespace that is made a moment after its cluster was unregistered goes, too. One of a Cluster that nobody saw leaving
// stays: that is what a restored backup looks like.
func TestNamespaceThatOutlivesItsCluster(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	one := clusters(t, ws, 1, nil)[0]
	place := names.ClusterNamespace(ws, one.Name)
	live := env.Namespaces.Await(t, kube.Key{Name: place}, func(*corev1.Namespace) error { return nil })
	env.Clusters.Remove(t, one)
	env.Clusters.AwaitGone(t, one)
	env.Namespaces.AwaitGone(t, kube.Key{Name: place})
	anew := func(name, cluster string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: live.Labels,
			Annotations: map[string]string{names.AnnotationCluster: cluster, names.AnnotationClusterNamespace: ws},
		}}
	}
	late := env.Namespaces.Make(t, anew(place, one.Name))
	restored := env.Namespaces.Make(t, anew(names.ClusterNamespace(ws, "restored"), "restored"))
	t.Cleanup(func() { _ = env.Namespaces.Delete(context.WithoutCancel(t.Context()), restored) })
	env.Namespaces.AwaitGone(t, harness.KeyOf(late))
	probed := harness.KeyOf(env.Clusters.Make(t, harness.NewCluster(ws, "probe", nil)))
	env.Clusters.AwaitCondition(t, probed, fleet.Condition{Type: fleet.ConditionProcessed, Status: metav1.ConditionTrue})
	if now := env.Namespaces.Await(t, harness.KeyOf(restored), func(*corev1.Namespace) error { return nil }); now.DeletionTimestamp != nil {
		t.Error("a namespace was deleted because its Cluster is merely not there")
	}
}
