package removals

import (
	"context"
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func agentDown(t *testing.T) {
	w := newWorld(t, "one", "two")
	web, api := w.bundle("web"), w.bundle("api")
	w.awaitRuns(where{"web": on("one", "two"), "api": on("one", "two")})
	before := w.traces(where{"web": on("one", "two"), "api": on("one")})

	w.members["one"].stop()
	hub.Bundles.Edit(t, web, only("two"))
	hub.Bundles.Remove(t, api)
	// Neither waits for the agent, and both say who has yet to confirm.
	w.await(want{runs: where{"web": on("two")}, removing: where{"web": on("one"), "api": on("one")}})
	hub.Bundles.AwaitGone(t, api)
	w.untouched(before)

	delete(before, "one/web")
	delete(before, "one/api")
	w.members["one"].start()
	w.awaitRuns(where{"web": on("two")})
	w.untouched(before)
}

// deployment is the key of a bundle's deployment on a cluster.
func (m *member) deployment(bundle string) kube.Key {
	return kube.Key{Namespace: m.place().Name, Name: bundle}
}

// awaitAnew waits until the deployment is another one than before, and stays.
func (m *member) awaitAnew(bundle string, was types.UID) *fleet.BundleDeployment {
	m.t.Helper()
	return hub.BundleDeployments.Await(m.t, m.deployment(bundle), func(bd *fleet.BundleDeployment) error {
		if bd.UID == was || bd.DeletionTimestamp != nil {
			return fmt.Errorf("it is %s, deleted %v", bd.UID, bd.DeletionTimestamp)
		}
		return nil
	})
}

func (m *member) uid(bundle string) types.UID {
	m.t.Helper()
	return hub.BundleDeployments.Await(m.t, m.deployment(bundle), accept).UID
}

// awaitOwned waits until the records of a release name the deployment.
func (w *world) awaitOwned(cluster, bundle string, uid types.UID) {
	w.t.Helper()
	harness.Eventually(w.t, fmt.Sprintf("the release %s on %s belongs to deployment %s", bundle, cluster, uid), func(ctx context.Context) error {
		records, err := w.members[cluster].records(ctx, w.workspace)
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.Labels["name"] == bundle && r.Labels[names.LabelDeploymentUID] == string(uid) {
				return nil
			}
		}
		return errors.New("it does not")
	})
}

// Untargeted and targeted again while the agent is away: the deployment is
// another one, and the workload the same.
func backWhileTheAgentIsDown(t *testing.T) {
	w := newWorld(t, "one", "two")
	one := w.members["one"]
	web := w.bundle("web")
	there := where{"web": on("one", "two")}
	w.awaitRuns(there)
	before, was := w.traces(there), one.uid("web")

	one.stop()
	hub.Bundles.Edit(t, web, only("two"))
	w.await(want{runs: where{"web": on("two")}, removing: where{"web": on("one")}})
	hub.Bundles.Edit(t, web, only("one", "two"))
	anew := one.awaitAnew("web", was)
	one.start()
	w.awaitRuns(there)
	w.awaitOwned("one", "web", anew.UID)
	w.untouched(before)

	// It is the new deployment's to remove.
	hub.Bundles.Remove(t, web)
	w.awaitRuns(where{})
}

// Targeted and untargeted time and again while the agent is away: whatever was
// asked for last holds, and the workload is nobody's at no time.
func backAndForthWhileTheAgentIsDown(t *testing.T) {
	w := newWorld(t, "one")
	one := w.members["one"]
	back, gone := w.bundle("back"), w.bundle("gone")
	there := where{"back": on("one"), "gone": on("one")}
	w.awaitRuns(there)
	before := w.traces(where{"back": on("one")})

	one.stop()
	for range 2 {
		for _, b := range []kube.Key{back, gone} {
			was := one.uid(b.Name)
			hub.Bundles.Edit(t, b, only())
			one.awaitMarked(b.Name)
			hub.Bundles.Edit(t, b, only("one"))
			one.awaitAnew(b.Name, was)
		}
	}
	hub.Bundles.Edit(t, gone, only())
	one.awaitMarked("gone")
	one.start()
	w.awaitRuns(where{"back": on("one"), "gone": nil})
	w.untouched(before)
}

// awaitMarked waits until the deployment is marked for deletion.
func (m *member) awaitMarked(bundle string) {
	m.t.Helper()
	hub.BundleDeployments.Await(m.t, m.deployment(bundle), func(bd *fleet.BundleDeployment) error {
		if bd.DeletionTimestamp == nil {
			return errors.New("it is not marked")
		}
		return nil
	})
}

// The same while the agent is at work, but has to wait before it begins: for
// something that depends on the bundle and is stuck.
func backBeforeTheAgentBegins(t *testing.T) {
	w := newWorld(t, "one")
	one := w.members["one"]
	base := w.bundle("base")
	w.awaitRuns(where{"base": on("one")})
	top := w.bundle("top", func(b *fleet.Bundle) { b.Spec.DependsOn = []fleet.BundleRef{{Name: "base"}} })
	w.awaitRuns(where{"base": on("one"), "top": on("one")})
	before, was := w.traces(where{"base": on("one")}), one.uid("base")
	w.hold("one", "top", "example.com/hold")

	hub.Bundles.Edit(t, top, only())
	hub.Bundles.Edit(t, base, only())
	hub.BundleDeployments.AwaitCondition(t, one.deployment("base"), fleet.Condition{
		Type: fleet.ConditionRemoved, Status: metav1.ConditionFalse, Reason: "WaitingForDependents",
	})
	hub.Bundles.Edit(t, base, only("one"))
	anew := one.awaitAnew("base", was)
	w.awaitOwned("one", "base", anew.UID)
	w.hold("one", "top")
	w.awaitRuns(where{"base": on("one"), "top": nil})
	w.untouched(before)
}

// A removal that has begun is finished, and the workload installed anew.
func backAfterTheAgentHasBegun(t *testing.T) {
	w := newWorld(t, "one")
	one := w.members["one"]
	web := w.bundle("web")
	w.awaitRuns(where{"web": on("one")})
	was := one.uid("web")
	w.hold("one", "web", "example.com/hold")

	hub.Bundles.Edit(t, web, only())
	hub.BundleDeployments.AwaitCondition(t, one.deployment("web"), fleet.Condition{
		Type: fleet.ConditionRemoved, Status: metav1.ConditionFalse, Reason: fleet.ReasonUninstalling, Message: "example.com/hold",
	})
	hub.Bundles.Edit(t, web, only("one"))
	// Something that comes after it, to show that the hub is past it.
	w.bundle("later")
	hub.Bundles.AwaitReady(t, w.key("later"))
	if now := one.uid("web"); now != was {
		t.Errorf("the deployment is %s, was %s: it was taken back in the middle of its removal", now, was)
	}
	// Another agent goes on where this one is stopped.
	one.stop()
	one.start()
	w.hold("one", "web")
	one.awaitAnew("web", was)
	w.awaitRuns(where{"web": on("one"), "later": on("one")})
}

// hold puts finalizers on an object, or takes them off.
func (w *world) hold(cluster, object string, finalizers ...string) {
	w.t.Helper()
	api := w.members[cluster].downstream.Kubernetes.CoreV1().ConfigMaps(w.workspace)
	harness.Eventually(w.t, "the finalizers are set", func(ctx context.Context) error {
		cm, err := api.Get(ctx, object, metav1.GetOptions{})
		if err != nil {
			return err
		}
		cm.Finalizers = finalizers
		_, err = api.Update(ctx, cm, metav1.UpdateOptions{})
		return err
	})
}
