package gitrepos

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func shopBundle(generation int64, changes ...func(*fleet.Bundle)) *fleet.Bundle {
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{
		Namespace: "fleet-default", Name: "shop-web", Generation: generation, Labels: map[string]string{names.LabelRepoName: "shop"},
	}}
	b.Status.ObservedGeneration = generation
	for _, change := range changes {
		change(b)
	}
	return b
}

func shopDeployment(changes ...func(*fleet.BundleDeployment)) *fleet.BundleDeployment {
	bd := &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{Namespace: "cluster-c", Name: "shop-web", Labels: map[string]string{
		names.LabelBundleName: "shop-web", names.LabelBundleNamespace: "fleet-default", names.LabelRepoName: "shop",
		names.LabelCluster: "c", names.LabelClusterNamespace: "fleet-default",
	}}}
	bd.Spec.DeploymentID, bd.Spec.StagedDeploymentID = "id", "id"
	bd.Status = fleet.BundleDeploymentStatus{AppliedDeploymentID: "id", Ready: true, NonModified: true}
	for _, change := range changes {
		change(bd)
	}
	return bd
}

func shop() kube.Key { return kube.Key{Namespace: "fleet-default", Name: "shop"} }

// told is the status of the GitRepo after some time.
func (r *rollups) told(after time.Duration) (fleet.GitRepoStatus, time.Duration) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).Add(after)
	repo := &fleet.GitRepo{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "shop"}}
	return r.status(status.GitRepoFacts{GitRepo: repo, Known: true, Commit: "c", Now: metav1.NewTime(now)}, now)
}

func start() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

func isReady(s fleet.GitRepoStatus) bool { return status.IsTrue(s.Conditions, fleet.ConditionReady) }

// A GitRepo is not ready at a commit before its bundles are that commit's, however the answer of a write and the watch race.
func TestRollupsOfABundleThatWasJustWritten(t *testing.T) {
	t.Run("the watch comes later", func(t *testing.T) {
		r := newRollups()
		r.deployment(kube.Event[*fleet.BundleDeployment]{New: shopDeployment()})
		r.bundle(kube.Event[*fleet.Bundle]{New: shopBundle(1)})
		if s, _ := r.told(0); !isReady(s) {
			t.Fatalf("it is not ready to begin with: %+v", s.Conditions)
		}
		r.wrote(shopBundle(2), start())
		if s, recheck := r.told(time.Second); isReady(s) || s.Summary.WaitApplied != 1 || recheck != unseenLimit-time.Second {
			t.Errorf("after the write: %+v, recheck %s", s.Conditions, recheck)
		}
		seen := shopBundle(2, func(b *fleet.Bundle) { b.Status.ObservedGeneration = 1 })
		r.bundle(kube.Event[*fleet.Bundle]{Old: shopBundle(1), New: seen})
		if s, recheck := r.told(time.Second); isReady(s) || recheck != 0 {
			t.Errorf("before the bundle was acted on: %+v, recheck %s", s.Conditions, recheck)
		}
		r.bundle(kube.Event[*fleet.Bundle]{Old: seen, New: shopBundle(2)})
		if s, _ := r.told(time.Second); !isReady(s) {
			t.Errorf("in the end: %+v", s.Conditions)
		}
	})
	t.Run("the watch comes first", func(t *testing.T) {
		r := newRollups()
		r.bundle(kube.Event[*fleet.Bundle]{New: shopBundle(2)})
		r.wrote(shopBundle(2), start())
		if s, recheck := r.told(time.Second); !isReady(s) || recheck != 0 {
			t.Errorf("%+v, recheck %s", s.Conditions, recheck)
		}
	})
	t.Run("no watch ever shows it: it came and went", func(t *testing.T) {
		r := newRollups()
		r.wrote(shopBundle(1), start())
		if s, recheck := r.told(0); isReady(s) || recheck != unseenLimit {
			t.Errorf("%+v, recheck %s", s.Conditions, recheck)
		}
		if s, recheck := r.told(unseenLimit); !isReady(s) || recheck != 0 {
			t.Errorf("%+v, recheck %s", s.Conditions, recheck)
		}
	})
	t.Run("it goes before it was seen to change", func(t *testing.T) {
		r := newRollups()
		r.bundle(kube.Event[*fleet.Bundle]{New: shopBundle(1)})
		r.wrote(shopBundle(2), start())
		r.bundle(kube.Event[*fleet.Bundle]{Old: shopBundle(1)})
		if s, recheck := r.told(0); !isReady(s) || recheck != 0 {
			t.Errorf("%+v, recheck %s", s.Conditions, recheck)
		}
	})
}

func TestRollupsOfWhatChangesHands(t *testing.T) {
	r := newRollups()
	theirs := func(bd *fleet.BundleDeployment) { bd.Labels[names.LabelRepoName] = "other" }
	r.deployment(kube.Event[*fleet.BundleDeployment]{New: shopDeployment()})
	r.bundle(kube.Event[*fleet.Bundle]{New: shopBundle(1)})
	if show := r.deployment(kube.Event[*fleet.BundleDeployment]{Old: shopDeployment(), New: shopDeployment(theirs)}); len(show) != 2 {
		t.Errorf("a deployment shows in %v", show)
	}
	show := r.bundle(kube.Event[*fleet.Bundle]{Old: shopBundle(1), New: shopBundle(1, func(b *fleet.Bundle) { b.Labels[names.LabelRepoName] = "other" })})
	if len(show) != 2 {
		t.Errorf("a bundle shows in %v", show)
	}
	if s, _ := r.told(0); s.Summary.DesiredReady != 0 {
		t.Errorf("what is no longer ours counts: %+v", s.Summary)
	}
	r.forget(shop())
	r.deployment(kube.Event[*fleet.BundleDeployment]{Old: shopDeployment(theirs)})
	r.bundle(kube.Event[*fleet.Bundle]{Old: shopBundle(1, func(b *fleet.Bundle) { b.Labels[names.LabelRepoName] = "other" })})
	if len(r.repos) != 0 {
		t.Errorf("%d GitRepos are kept", len(r.repos))
	}
}

func TestRollupsOfClustersThatGoOffline(t *testing.T) {
	r := newRollups()
	r.deployment(kube.Event[*fleet.BundleDeployment]{New: shopDeployment()})
	here := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "c"}}
	away := here.DeepCopy()
	status.Set(&away.Status.Conditions, fleet.Condition{Type: fleet.ConditionClusterReachable, Status: "False"}, metav1.Time{})
	if show := r.cluster(kube.Event[*fleet.Cluster]{Old: here, New: away}); len(show) != 1 {
		t.Errorf("going offline shows in %v", show)
	}
	if s, _ := r.told(0); s.Summary.Unknown != 1 || s.ReadyClusters != 0 {
		t.Errorf("summary %+v, %d clusters are ready", s.Summary, s.ReadyClusters)
	}
	if show := r.cluster(kube.Event[*fleet.Cluster]{Old: away, New: away}); len(show) != 0 {
		t.Errorf("nothing shows in %v", show)
	}
	if show := r.cluster(kube.Event[*fleet.Cluster]{Old: away, New: here}); len(show) != 1 {
		t.Errorf("coming back shows in %v", show)
	}
	if s, _ := r.told(0); s.Summary.Ready != 1 {
		t.Errorf("summary %+v", s.Summary)
	}
}
