package ownership

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func deleted(meta *metav1.ObjectMeta) {
	now := metav1.Now()
	meta.DeletionTimestamp = &now
}

func TestDeployment(t *testing.T) {
	there := func() *fleet.Bundle { return &fleet.Bundle{} }
	cluster := func() *fleet.Cluster { return &fleet.Cluster{} }
	leaving := &fleet.Bundle{}
	deleted(&leaving.ObjectMeta)
	tests := []struct {
		name    string
		bundle  *fleet.Bundle
		cluster *fleet.Cluster
		leaves  bool
		match   Match
		want    Verdict
	}{
		{"matching", there(), cluster(), false, MatchYes, Verdict{Keep, ReasonMatches}},
		{"no longer matching", there(), cluster(), false, MatchNo, Verdict{Delete, ReasonUntargeted}},
		{"unknown is not absent", there(), cluster(), false, MatchUnknown, Verdict{Keep, ReasonUndecided}},
		{"bundle seen leaving", leaving, cluster(), false, MatchYes, Verdict{Delete, ReasonBundleDeleted}},
		{"bundle leaving counts more than doubt", leaving, cluster(), false, MatchUnknown, Verdict{Delete, ReasonBundleDeleted}},
		{"cluster seen leaving: its workloads stay", there(), cluster(), true, MatchYes, Verdict{Wait, ReasonClusterDeleted}},
		{"a cluster that leaves takes no workload along, whatever else leaves", leaving, cluster(), true, MatchNo, Verdict{Wait, ReasonClusterDeleted}},
		{"bundle leaving while the cluster is missing", leaving, nil, false, MatchUnknown, Verdict{Delete, ReasonBundleDeleted}},
		{"bundle missing, never seen leaving", nil, cluster(), false, MatchNo, Verdict{Orphaned, ReasonOwnerMissing}},
		{"cluster missing, never seen leaving", there(), nil, false, MatchNo, Verdict{Orphaned, ReasonOwnerMissing}},
		{"both missing, as after a CRD was deleted", nil, nil, false, MatchNo, Verdict{Orphaned, ReasonOwnerMissing}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Deployment(DeploymentFacts{
				Bundle: tt.bundle, Cluster: tt.cluster, ClusterLeaves: tt.leaves,
				Match: func(b *fleet.Bundle, c *fleet.Cluster) Match {
					if b == nil || c == nil {
						t.Fatal("asked for a match without both sides")
					}
					return tt.match
				},
			})
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRemoving(t *testing.T) {
	removing := func(finalizer bool, conditions ...fleet.Condition) *fleet.BundleDeployment {
		bd := &fleet.BundleDeployment{}
		deleted(&bd.ObjectMeta)
		if finalizer {
			bd.Finalizers = []string{names.FinalizerDeployment}
		}
		bd.Status.Conditions = conditions
		return bd
	}
	removed := fleet.Condition{Type: fleet.ConditionRemoved, Status: metav1.ConditionTrue}
	notYet := fleet.Condition{Type: fleet.ConditionRemoved, Status: metav1.ConditionFalse}
	tests := []struct {
		name         string
		bd           *fleet.BundleDeployment
		unregistered bool
		want         Verdict
	}{
		{"agent silent", removing(true), false, Verdict{Wait, ReasonAwaitingAgent}},
		{"agent says something is stuck", removing(true, notYet), false, Verdict{Wait, ReasonAwaitingAgent}},
		{"agent confirmed", removing(true, removed), false, Verdict{Release, ReasonConfirmed}},
		{"cluster has left", removing(true), true, Verdict{Release, ReasonClusterDeleted}},
		{"nothing of ours holds it", removing(false), false, Verdict{Keep, ReasonConfirmed}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Removing(tt.bd, tt.unregistered); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestBundle(t *testing.T) {
	made := func(annotations map[string]string) *fleet.Bundle {
		return &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{
			Labels: map[string]string{names.LabelRepoName: "shop"}, Annotations: annotations,
		}}
	}
	leaving := &fleet.GitRepo{}
	deleted(&leaving.ObjectMeta)
	gone := map[string]string{names.AnnotationGone: "c2"}
	tests := []struct {
		name   string
		bundle *fleet.Bundle
		repo   *fleet.GitRepo
		want   Verdict
	}{
		{"made by hand", &fleet.Bundle{}, nil, Verdict{Keep, ReasonReferenced}},
		{"still in git", made(nil), &fleet.GitRepo{}, Verdict{Keep, ReasonReferenced}},
		{"folder gone", made(gone), &fleet.GitRepo{}, Verdict{Delete, ReasonGoneFromGit}},
		{"repository seen leaving", made(nil), leaving, Verdict{Delete, ReasonGitRepoDeleted}},
		{"repository missing, never seen leaving", made(nil), nil, Verdict{Orphaned, ReasonOwnerMissing}},
		{"folder gone, but so is the witness", made(gone), nil, Verdict{Orphaned, ReasonOwnerMissing}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Bundle(BundleFacts{Bundle: tt.bundle, GitRepo: tt.repo}); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestParent(t *testing.T) {
	tests := []struct {
		name  string
		facts ParentFacts
		want  Verdict
	}{
		{"children may still be made", ParentFacts{Generation: 2, ObservedGeneration: 1}, Verdict{Wait, ReasonAwaitingController}},
		{"children not marked", ParentFacts{Generation: 2, ObservedGeneration: 2, Unmarked: 1}, Verdict{Wait, ReasonChildrenRemain}},
		{"all marked", ParentFacts{Generation: 2, ObservedGeneration: 2}, Verdict{Release, ReasonChildrenMarked}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Parent(tt.facts); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestContent(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	marked := func(ago time.Duration) map[string]string {
		return map[string]string{names.AnnotationUnused: now.Add(-ago).Format(time.RFC3339)}
	}
	tests := []struct {
		name        string
		annotations map[string]string
		used        bool
		age         time.Duration
		want        ContentAction
		wait        time.Duration
	}{
		{"in use", nil, true, 0, ContentKeep, 0},
		{"in use again", marked(time.Hour), true, time.Hour, ContentUnmark, 0},
		{"unused", nil, false, time.Hour, ContentMark, 0},
		{"new, so that its first user may be on its way", nil, false, 2 * time.Second, ContentWait, 3 * time.Second},
		{"unused, in its grace period", marked(4 * time.Minute), false, time.Hour, ContentWait, 6 * time.Minute},
		{"unused for long enough", marked(10 * time.Minute), false, time.Hour, ContentDelete, 0},
		{"a mark that does not parse starts anew", map[string]string{names.AnnotationUnused: "long ago"}, false, time.Hour, ContentMark, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			action, wait := Content(ContentFacts{
				Annotations: tt.annotations, Used: tt.used, Created: now.Add(-tt.age), Grace: 10 * time.Minute, Now: now,
			})
			if action != tt.want || wait != tt.wait {
				t.Errorf("got %v after %s, want %v after %s", action, wait, tt.want, tt.wait)
			}
		})
	}
}
