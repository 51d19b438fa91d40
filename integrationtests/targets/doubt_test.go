package targets

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

type secret = corev1.Secret

func accept[T any](T) error { return nil }

func namespaceKey(name string) kube.Key { return kube.Key{Name: name} }

func contentOf(bd *fleet.BundleDeployment) kube.Key {
	name, _, _ := strings.Cut(bd.Spec.DeploymentID, ":")
	return kube.Key{Name: name}
}

// stillOn fails unless the very deployment of before is there and not marked.
func stillOn(t *testing.T, before *fleet.BundleDeployment) {
	t.Helper()
	live, err := env.BundleDeployments.Get(t.Context(), before.Namespace, before.Name)
	if err != nil {
		t.Fatalf("the deployment is gone: %v", err)
	}
	if live.UID != before.UID || live.DeletionTimestamp != nil {
		t.Fatalf("the deployment was deleted")
	}
}

func TestMissingGroupDeletesNothing(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	group := env.ClusterGroups.Make(t, &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "group"},
		Spec:       fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{}},
	})
	b := bundle(t, ws, "web", targets(inGroup("group")))
	awaitOn(t, b, "one")
	before := env.BundleDeployments.Await(t, deployment(b, one), accept)
	env.ClusterGroups.Remove(t, harness.KeyOf(group))
	awaitStalled(t, b, `there is no ClusterGroup "group"`)
	probe(t, ws, "one")
	stillOn(t, before)
	// What runs counts, although nobody can say whether it should.
	awaitOn(t, b, "one")
}

func TestSelectorThatDoesNotParseDeletesNothing(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, "one")
	before := env.BundleDeployments.Await(t, deployment(b, one), accept)
	env.Bundles.Edit(t, b, func(b *fleet.Bundle) {
		b.Spec.Targets[0].ClusterSelector = &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: "Like", Values: []string{"p*"}}},
		}
	})
	awaitStalled(t, b, "spec.targets[0].clusterSelector")
	probe(t, ws, "one")
	stillOn(t, before)
	env.Bundles.Edit(t, b, targets(everywhere()))
	env.Bundles.Await(t, b, func(b *fleet.Bundle) error {
		for _, c := range b.Status.Conditions {
			if c.Type == fleet.ConditionStalled {
				return errors.New("it is still stalled: " + c.Message)
			}
		}
		return nil
	})
}

func TestDeploymentWhoseOwnerWasNeverSeenLeavingIsKept(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, "one")
	before := env.BundleDeployments.Await(t, deployment(b, one), accept)
	// What a restored backup or a list that came back short looks like.
	orphan := before.DeepCopy()
	orphan.ObjectMeta = metav1.ObjectMeta{
		Name: "lost", Namespace: before.Namespace, Labels: map[string]string{
			names.LabelBundleName: "lost", names.LabelBundleNamespace: ws,
			names.LabelCluster: "one", names.LabelClusterNamespace: ws,
		},
	}
	kept := env.BundleDeployments.Make(t, orphan)
	probe(t, ws, "one")
	stillOn(t, kept)
}
