package removals

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func accept[T any](T) error { return nil }

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// place is the key of the namespace that the hub keeps for a cluster.
func (m *member) place() kube.Key {
	return kube.Key{Name: names.ClusterNamespace(m.key.Namespace, m.key.Name)}
}

// awaitOwner waits until an object belongs to a release.
func (w *world) awaitOwner(cluster, object, release string) {
	w.t.Helper()
	client := w.members[cluster].downstream.Kubernetes.CoreV1().ConfigMaps(w.workspace)
	harness.Eventually(w.t, fmt.Sprintf("%s belongs to %s", object, release), func(ctx context.Context) error {
		cm, err := client.Get(ctx, object, metav1.GetOptions{})
		if err == nil && cm.Annotations["meta.helm.sh/release-name"] != release {
			return fmt.Errorf("it belongs to %s", cm.Annotations["meta.helm.sh/release-name"])
		}
		return err
	})
}

// A cluster that is deleted is unregistered: its workloads stay, as nobody
// asked for them to go, although its agent runs on.
func clusterDeleted(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.bundle("web")
	w.awaitRuns(where{"web": on("one", "two")})
	before := w.traces(where{"web": on("one", "two")})

	hub.Clusters.Remove(t, w.key("one"))
	w.await(want{runs: where{"web": on("two")}, left: where{"web": on("one")}, gone: on("one")})
	hub.Namespaces.AwaitGone(t, w.members["one"].place())
	w.untouched(before)
}

// The namespace that the hub keeps for a cluster is deleted, which marks every
// deployment in it. It and they are made anew, and the agent takes up what it
// finds.
func clusterNamespaceDeleted(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.bundle("web")
	w.awaitRuns(where{"web": on("one", "two")})
	before := w.traces(where{"web": on("one", "two")})
	place := w.members["one"].place()
	was := hub.Namespaces.Await(t, place, accept)

	hub.Namespaces.Remove(t, place)
	hub.Namespaces.Await(t, place, func(ns *corev1.Namespace) error {
		if ns.UID == was.UID {
			return errors.New("it is still the deleted one")
		}
		return nil
	})
	w.awaitRuns(where{"web": on("one", "two")})
	w.untouched(before)
}

// With the workspace go its bundles and its clusters, in no particular order.
// Its clusters are unregistered all the same.
func workspaceDeleted(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.repository("web")
	w.bundle("other")
	there := where{"shop-web": on("one", "two"), "other": on("one", "two")}
	w.awaitRuns(there)
	before := w.traces(there)

	hub.Namespaces.Remove(t, kube.Key{Name: w.workspace})
	hub.Namespaces.AwaitGone(t, kube.Key{Name: w.workspace})
	for _, m := range w.members {
		hub.Namespaces.AwaitGone(t, m.place())
	}
	w.await(want{left: there, gone: on("one", "two")})
	w.untouched(before)
}

func clusterRelabelled(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.bundle("web", func(b *fleet.Bundle) { b.Spec.Targets = []fleet.BundleTarget{{ClusterSelector: labelled("prod")}} })
	w.awaitRuns(where{"web": on("one", "two")})
	before := w.traces(where{"web": on("two")})
	w.relabel("one", "dev")
	w.awaitRuns(where{"web": on("two")})
	w.relabel("one", "prod")
	w.awaitRuns(where{"web": on("one", "two")})
	w.untouched(before)
}

// group makes a ClusterGroup of the clusters with the label env=prod.
func (w *world) group() kube.Key {
	w.t.Helper()
	return harness.KeyOf(hub.ClusterGroups.Make(w.t, &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.workspace, Name: "group", Labels: map[string]string{"tier": "gold"}},
		Spec:       fleet.ClusterGroupSpec{Selector: labelled("prod")},
	}))
}

func clusterGroupEdited(t *testing.T) {
	w := newWorld(t, "one", "two")
	group := w.group()
	w.bundle("web", func(b *fleet.Bundle) { b.Spec.Targets = []fleet.BundleTarget{{ClusterGroup: "group"}} })
	w.awaitRuns(where{"web": on("one", "two")})
	before := w.traces(where{"web": on("two")})
	hub.ClusterGroups.Edit(t, group, func(g *fleet.ClusterGroup) {
		g.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"name": "two"}}
	})
	w.awaitRuns(where{"web": on("two")})
	w.untouched(before)
}

// A target that finds groups by their labels finds one less. A target that
// names a group which is not there may be a mistake: nothing is removed, and
// the bundle says so.
func clusterGroupDeleted(t *testing.T) {
	w := newWorld(t, "one", "two")
	group := w.group()
	w.bundle("found", func(b *fleet.Bundle) {
		b.Spec.Targets = []fleet.BundleTarget{{ClusterGroupSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}}}
	})
	named := w.bundle("named", func(b *fleet.Bundle) { b.Spec.Targets = []fleet.BundleTarget{{ClusterGroup: "group"}} })
	w.awaitRuns(where{"found": on("one", "two"), "named": on("one", "two")})
	before := w.traces(where{"named": on("one", "two")})

	hub.ClusterGroups.Remove(t, group)
	w.await(want{runs: where{"found": nil, "named": on("one", "two")}, troubled: []string{"bundle named"}})
	hub.Bundles.AwaitCondition(t, named, fleet.Condition{
		Type: fleet.ConditionStalled, Status: metav1.ConditionTrue, Message: `there is no ClusterGroup "group"`,
	})
	w.untouched(before)

	w.group()
	w.awaitRuns(where{"found": on("one", "two"), "named": on("one", "two")})
	w.untouched(before)
}

func mappingRemoved(t *testing.T) {
	w := newWorld(t, "own")
	other := hub.Workspace(t)
	w.join(other, "foreign", downstream[1]).awaitAnnounced()
	mapping := hub.BundleNamespaceMappings.Make(t, &fleet.BundleNamespaceMapping{
		ObjectMeta:        metav1.ObjectMeta{Namespace: w.workspace, Name: "share"},
		BundleSelector:    &metav1.LabelSelector{},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: other}},
	})
	w.bundle("web")
	w.awaitRuns(where{"web": on("own", "foreign")})
	before := w.traces(where{"web": on("own")})
	hub.BundleNamespaceMappings.Remove(t, harness.KeyOf(mapping))
	w.awaitRuns(where{"web": on("own")})
	w.untouched(before)
}

func restrictionTightened(t *testing.T) {
	w := newWorld(t, "one", "two")
	web := w.bundle("web")
	w.awaitRuns(where{"web": on("one", "two")})
	before := w.traces(where{"web": on("two")})
	hub.Bundles.Edit(t, web, func(b *fleet.Bundle) {
		b.Spec.TargetRestrictions = []fleet.BundleTargetRestriction{{Name: "two only", ClusterName: "two"}}
	})
	w.awaitRuns(where{"web": on("two")})
	w.untouched(before)
}
