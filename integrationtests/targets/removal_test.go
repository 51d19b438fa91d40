package targets

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func TestDeletedBundleTakesItsDeploymentsAlong(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	b := bundle(t, ws, "web", func(b *fleet.Bundle) {
		b.Spec.Helm = &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"a": "b"}}}
	})
	awaitOn(t, b, "one")
	bd, err := env.BundleDeployments.Get(t.Context(), deployment(b, one).Namespace, b.Name)
	if err != nil {
		t.Fatal(err)
	}
	content := contentOf(bd)
	env.Bundles.Remove(t, b)
	env.Bundles.AwaitGone(t, b)
	env.BundleDeployments.AwaitGone(t, deployment(b, one))
	env.Contents.Await(t, content, func(c *fleet.Content) error {
		if c.Annotations[names.AnnotationUnused] == "" {
			return errors.New("it is not marked as unused")
		}
		return nil
	})
	// Used again in its grace period, it stays.
	awaitOn(t, bundle(t, ws, "again", nil), "one")
	env.Contents.Await(t, content, func(c *fleet.Content) error {
		if c.Annotations[names.AnnotationUnused] != "" {
			return errors.New("it is still marked as unused")
		}
		return nil
	})
}

func TestAgentConfirmsBeforeADeploymentIsGone(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	agent(t, one)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, "one")
	bd := env.BundleDeployments.Await(t, deployment(b, one), func(bd *fleet.BundleDeployment) error {
		if !slices.Contains(bd.Finalizers, names.FinalizerDeployment) {
			return errors.New("it has no finalizer of ours")
		}
		return nil
	})
	env.Bundles.Edit(t, b, targets())
	// It leaves the counts at once, and shows as removing.
	env.Bundles.AwaitCondition(t, b, fleet.Condition{Type: fleet.ConditionRemoving, Status: "True", Message: "1 to confirm: " + ws + "/one"})
	awaitOn(t, b)
	if live, err := env.BundleDeployments.Get(t.Context(), bd.Namespace, bd.Name); err != nil || live.UID != bd.UID {
		t.Fatalf("the deployment did not wait for the agent: %v", err)
	}
	env.BundleDeployments.EditStatus(t, deployment(b, one), func(bd *fleet.BundleDeployment) {
		bd.Status.Conditions = append(bd.Status.Conditions, fleet.Condition{Type: fleet.ConditionRemoved, Status: metav1.ConditionTrue})
	})
	env.BundleDeployments.AwaitGone(t, deployment(b, one))
	env.Bundles.Await(t, b, func(b *fleet.Bundle) error {
		for _, c := range b.Status.Conditions {
			if c.Type == fleet.ConditionRemoving {
				return fmt.Errorf("it still says %q", c.Message)
			}
		}
		return nil
	})
}

func TestDeletedBundleDoesNotWaitForAgents(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	agent(t, one)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, "one")
	env.Bundles.Remove(t, b)
	env.Bundles.AwaitGone(t, b)
	bd := env.BundleDeployments.Await(t, deployment(b, one), func(bd *fleet.BundleDeployment) error { return nil })
	if bd.DeletionTimestamp == nil {
		t.Error("the bundle is gone and its deployment is not marked")
	}
}

func TestDeploymentGetsItsFinalizerWhenTheAgentArrives(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, "one")
	agent(t, one)
	env.BundleDeployments.Await(t, deployment(b, one), func(bd *fleet.BundleDeployment) error {
		if !slices.Contains(bd.Finalizers, names.FinalizerDeployment) {
			return errors.New("it has no finalizer of ours")
		}
		return nil
	})
}

func TestDeletedClusterIsUnregistered(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	cluster(t, ws, "two", nil)
	agent(t, one)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, "one", "two")
	env.Clusters.Remove(t, one)
	env.Clusters.AwaitGone(t, one)
	env.BundleDeployments.AwaitGone(t, deployment(b, one))
	env.Namespaces.AwaitGone(t, namespaceKey(deployment(b, one).Namespace))
	awaitOn(t, b, "two")
}

func TestDeletedDeploymentComesBack(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, "one")
	before, err := env.BundleDeployments.Get(t.Context(), deployment(b, one).Namespace, b.Name)
	if err != nil {
		t.Fatal(err)
	}
	env.BundleDeployments.Remove(t, deployment(b, one))
	env.BundleDeployments.Await(t, deployment(b, one), func(bd *fleet.BundleDeployment) error {
		if bd.UID == before.UID {
			return errors.New("it is still the deleted one")
		}
		return nil
	})
}

func TestDeletedValuesComeBack(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	b := bundle(t, ws, "web", func(b *fleet.Bundle) {
		b.Spec.Helm = &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"a": "b"}}}
	})
	awaitOn(t, b, "one")
	before := env.Secrets.Await(t, deployment(b, one), accept)
	env.Secrets.Remove(t, deployment(b, one))
	env.Secrets.Await(t, deployment(b, one), func(s *secret) error {
		if s.UID == before.UID {
			return errors.New("it is still the deleted one")
		}
		if string(s.Data["values"]) != string(before.Data["values"]) {
			return fmt.Errorf("it holds %q", s.Data)
		}
		return nil
	})
}
