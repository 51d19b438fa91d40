package ownership

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// settledBundle returns a bundle whose removals are complete. Edits come after.
func settledBundle(edits ...func(*fleet.Bundle)) *fleet.Bundle {
	b := &fleet.Bundle{Spec: fleet.BundleSpec{Targets: []fleet.BundleTarget{{ClusterName: "one"}}}}
	b.Annotations = map[string]string{names.AnnotationSettledTargets: TargetsDigest(&b.Spec)}
	for _, edit := range edits {
		edit(b)
	}
	return b
}

func annotated(key, value string) func(*fleet.Bundle) {
	return func(b *fleet.Bundle) { b.Annotations[key] = value }
}

func retargeted(b *fleet.Bundle) { b.Spec.Targets[0].ClusterName = "two" }

func unsettled(b *fleet.Bundle) { b.Annotations = map[string]string{} }

func leavingBundle(b *fleet.Bundle) { deleted(&b.ObjectMeta) }

func TestJudge(t *testing.T) {
	held := &fleet.GitRepo{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{names.AnnotationHold: "true"}}}
	released := &fleet.GitRepo{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{names.AnnotationReleaseHeld: "now"}}}
	tests := []struct {
		name  string
		scene Scene
		pair  Pair
		match Match
		want  string // which list, and why
	}{
		{"matching", Scene{Bundle: settledBundle()}, Pair{}, MatchYes, "keep"},
		{"in doubt", Scene{Bundle: settledBundle(retargeted)}, Pair{}, MatchUnknown, "keep"},
		{"the cluster was relabelled", Scene{Bundle: settledBundle()}, Pair{}, MatchNo, "side effect"},
		{"the targets were edited", Scene{Bundle: settledBundle(retargeted)}, Pair{}, MatchNo, "delete"},
		{"an edit that was not recorded, but seen", Scene{Bundle: settledBundle(unsettled), Edited: true}, Pair{}, MatchNo, "delete"},
		{"no record and nothing seen", Scene{Bundle: settledBundle(unsettled)}, Pair{}, MatchNo, "side effect"},
		{"settled counts more than what was seen before", Scene{Bundle: settledBundle(), Edited: true}, Pair{}, MatchNo, "side effect"},
		{"made by a write that was under way during an edit", Scene{Bundle: settledBundle()}, Pair{Fresh: true}, MatchNo, "delete"},
		{"held, and nobody has said a word", Scene{Bundle: settledBundle()}, Pair{Held: true}, MatchNo, "held SideEffects"},
		{"held, and the targets were edited since", Scene{Bundle: settledBundle(retargeted)}, Pair{Held: true}, MatchNo, "held SideEffects"},
		{"held, but it matches again", Scene{Bundle: settledBundle()}, Pair{Held: true}, MatchYes, "keep"},
		{"released on the bundle", Scene{Bundle: settledBundle(annotated(names.AnnotationReleaseHeld, ""))}, Pair{Held: true}, MatchNo, "delete"},
		{"released on the GitRepo", Scene{Bundle: settledBundle(), GitRepo: released}, Pair{Held: true}, MatchNo, "delete"},
		{"held by a person on the bundle", Scene{Bundle: settledBundle(retargeted, annotated(names.AnnotationHold, "true"))}, Pair{}, MatchNo, "held HeldByUser"},
		{"held by a person on the GitRepo", Scene{Bundle: settledBundle(retargeted), GitRepo: held}, Pair{}, MatchNo, "held HeldByUser"},
		{"hold counts more than release", Scene{Bundle: settledBundle(annotated(names.AnnotationReleaseHeld, "")), GitRepo: held}, Pair{}, MatchNo, "held HeldByUser"},
		{"hold says true or nothing", Scene{Bundle: settledBundle(retargeted, annotated(names.AnnotationHold, "false"))}, Pair{}, MatchNo, "delete"},
		{"a delete counts in spite of hold", Scene{Bundle: settledBundle(leavingBundle, annotated(names.AnnotationHold, "true"))}, Pair{}, MatchYes, "delete"},
		{"a delete counts in spite of the brake", Scene{Bundle: settledBundle(leavingBundle)}, Pair{Held: true}, MatchNo, "delete"},
		{"the kind is deleted, not the bundle", Scene{Bundle: settledBundle(leavingBundle), KindLeaves: true}, Pair{}, MatchYes, "held KindLeaving"},
		{"the cluster leaves", Scene{Bundle: settledBundle(leavingBundle)}, Pair{ClusterLeaves: true}, MatchNo, "keep"},
		{"nobody knows the bundle", Scene{}, Pair{}, MatchNo, "orphan"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.pair.Deployment, tt.pair.Cluster = &fleet.BundleDeployment{}, &fleet.Cluster{}
			j := Judge(tt.scene, []Pair{tt.pair}, func(*fleet.Bundle, *fleet.Cluster) Match { return tt.match })
			if got := listOf(j); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func listOf(j Judgement) string {
	var lists []string
	for range j.Keep {
		lists = append(lists, "keep")
	}
	for range j.Delete {
		lists = append(lists, "delete")
	}
	for range j.SideEffects {
		lists = append(lists, "side effect")
	}
	for _, c := range j.Held {
		lists = append(lists, "held "+c.HeldBy)
	}
	for range j.Adopt {
		lists = append(lists, "adopt")
	}
	for range j.Orphans {
		lists = append(lists, "orphan")
	}
	return strings.Join(lists, ", ")
}

func TestAdoption(t *testing.T) {
	removed := func(status metav1.ConditionStatus, reason string) []fleet.Condition {
		return []fleet.Condition{{Type: fleet.ConditionRemoved, Status: status, Reason: reason}}
	}
	tests := []struct {
		name       string
		conditions []fleet.Condition
		finalizer  bool
		match      Match
		leaves     bool
		want       string
	}{
		{"the agent is silent", nil, true, MatchYes, false, "adopt"},
		{"the agent waits for dependents", removed(metav1.ConditionFalse, "WaitingForDependents"), true, MatchYes, false, "adopt"},
		{"the agent refuses", removed(metav1.ConditionFalse, "Refused"), true, MatchYes, false, "adopt"},
		{"the agent has begun", removed(metav1.ConditionFalse, fleet.ReasonUninstalling), true, MatchYes, false, ""},
		{"the agent is done", removed(metav1.ConditionTrue, "Removed"), true, MatchYes, false, ""},
		{"no finalizer of ours", nil, false, MatchYes, false, ""},
		{"it does not match", nil, true, MatchNo, false, ""},
		{"nobody knows whether it matches", nil, true, MatchUnknown, false, ""},
		{"the cluster leaves", nil, true, MatchYes, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bd := &fleet.BundleDeployment{Status: fleet.BundleDeploymentStatus{Conditions: tt.conditions}}
			deleted(&bd.ObjectMeta)
			if tt.finalizer {
				bd.Finalizers = []string{names.FinalizerDeployment}
			}
			pair := Pair{Deployment: bd, Cluster: &fleet.Cluster{}, ClusterLeaves: tt.leaves}
			j := Judge(Scene{Bundle: settledBundle()}, []Pair{pair}, func(*fleet.Bundle, *fleet.Cluster) Match { return tt.match })
			if got := listOf(j); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTargetsDigest(t *testing.T) {
	digest := func(edit func(*fleet.BundleSpec)) string {
		spec := fleet.BundleSpec{Targets: []fleet.BundleTarget{{
			ClusterName: "one", ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "1", "b": "2"}},
		}}}
		edit(&spec)
		return TargetsDigest(&spec)
	}
	before := digest(func(*fleet.BundleSpec) {})
	same := map[string]func(*fleet.BundleSpec){
		"options of the bundle": func(s *fleet.BundleSpec) { s.DefaultNamespace = "shop" },
		"options of a target":   func(s *fleet.BundleSpec) { s.Targets[0].TargetNamespace = "shop" },
		"the name of a target":  func(s *fleet.BundleSpec) { s.Targets[0].Name = "prod" },
		"the default mode":      func(s *fleet.BundleSpec) { s.TargetCustomizationMode = fleet.FirstMatch },
	}
	for name, edit := range same {
		if digest(edit) != before {
			t.Errorf("%s: the digest changes, but which clusters are asked for does not", name)
		}
	}
	differs := map[string]func(*fleet.BundleSpec){
		"a name":      func(s *fleet.BundleSpec) { s.Targets[0].ClusterName = "two" },
		"a selector":  func(s *fleet.BundleSpec) { s.Targets[0].ClusterSelector.MatchLabels["a"] = "2" },
		"a group":     func(s *fleet.BundleSpec) { s.Targets[0].ClusterGroup = "g" },
		"doNotDeploy": func(s *fleet.BundleSpec) { s.Targets[0].DoNotDeploy = true },
		"mode":        func(s *fleet.BundleSpec) { s.TargetCustomizationMode = fleet.AllMatches },
		"one more":    func(s *fleet.BundleSpec) { s.Targets = append(s.Targets, fleet.BundleTarget{ClusterName: "two"}) },
		"none":        func(s *fleet.BundleSpec) { s.Targets = nil },
		"a restriction": func(s *fleet.BundleSpec) {
			s.TargetRestrictions = []fleet.BundleTargetRestriction{{ClusterName: "one"}}
		},
	}
	seen := map[string]string{before: "nothing"}
	for name, edit := range differs {
		d := digest(edit)
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[d] = name
	}
}

func TestJudgeBundles(t *testing.T) {
	repo := func(annotations map[string]string, leaving bool) *fleet.GitRepo {
		r := &fleet.GitRepo{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}}
		if leaving {
			deleted(&r.ObjectMeta)
		}
		return r
	}
	bundles := func(total, gone int, share string) []*fleet.Bundle {
		var made []*fleet.Bundle
		for i := range total {
			b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{
				Labels: map[string]string{names.LabelRepoName: "shop"}, Annotations: map[string]string{},
			}}
			if i < gone {
				b.Annotations[names.AnnotationGone] = "c2"
				if share != "" {
					b.Annotations[names.AnnotationGoneShare] = share
				}
			}
			made = append(made, b)
		}
		return made
	}
	op := &fleet.HelmOp{}
	deleted(&op.ObjectMeta)
	ofOp := []*fleet.Bundle{{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{names.LabelHelmName: "op"}}}}
	tests := []struct {
		name                  string
		owner                 Owner
		bundles               []*fleet.Bundle
		delete, held, orphans int
		heldBy                string
	}{
		{"nothing is gone", Owner{GitRepo: repo(nil, false)}, bundles(4, 0, ""), 0, 0, 0, ""},
		{"half is gone", Owner{GitRepo: repo(nil, false)}, bundles(4, 2, "2/4"), 2, 0, 0, ""},
		{"more than half is gone", Owner{GitRepo: repo(nil, false)}, bundles(4, 3, "3/4"), 0, 3, 0, fleet.ReasonFoldersGone},
		{"the note counts, not what is left by now", Owner{GitRepo: repo(nil, false)}, bundles(3, 2, "2/8"), 2, 0, 0, ""},
		{"a commit that was only half marked is judged as a whole", Owner{GitRepo: repo(nil, false)}, bundles(10, 1, "6/10"), 0, 1, 0, fleet.ReasonFoldersGone},
		{"without a note, what is there counts", Owner{GitRepo: repo(nil, false)}, bundles(4, 3, ""), 0, 3, 0, fleet.ReasonFoldersGone},
		{"a note that makes no sense is none", Owner{GitRepo: repo(nil, false)}, bundles(4, 3, "3/1"), 0, 3, 0, fleet.ReasonFoldersGone},
		{"released", Owner{GitRepo: repo(map[string]string{names.AnnotationReleaseHeld: "x"}, false)}, bundles(4, 4, "4/4"), 4, 0, 0, ""},
		{"held by a person", Owner{GitRepo: repo(map[string]string{names.AnnotationHold: "true"}, false)}, bundles(4, 1, "1/4"), 0, 1, 0, fleet.ReasonHeldByUser},
		{"the GitRepo is deleted", Owner{GitRepo: repo(map[string]string{names.AnnotationHold: "true"}, true)}, bundles(4, 1, "1/4"), 4, 0, 0, ""},
		{"the kind is deleted, not the GitRepo", Owner{GitRepo: repo(nil, true), KindLeaves: true}, bundles(2, 0, ""), 0, 2, 0, fleet.ReasonKindLeaving},
		{"nobody knows the GitRepo", Owner{}, bundles(2, 1, ""), 0, 0, 2, ""},
		{"the HelmOp is deleted", Owner{HelmOp: op}, ofOp, 1, 0, 0, ""},
		{"nobody knows the HelmOp", Owner{}, ofOp, 0, 0, 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			leaving := settledBundle(leavingBundle)
			j := JudgeBundles(tt.owner, append(slices.Clone(tt.bundles), leaving))
			got := []int{len(j.Delete), len(j.Held), len(j.Orphans)}
			if diff := cmp.Diff([]int{tt.delete, tt.held, tt.orphans}, got); diff != "" {
				t.Errorf("delete, held, orphans (-want +got):\n%s", diff)
			}
			for _, c := range j.Held {
				if c.HeldBy != tt.heldBy {
					t.Errorf("held by %s, want %s", c.HeldBy, tt.heldBy)
				}
			}
		})
	}
}

func TestHeldCondition(t *testing.T) {
	var clusters []string
	for _, c := range "mlkjihgfedcba" {
		clusters = append(clusters, "ws/"+string(c))
	}
	limits := Limits{}.OrDefaults()
	tests := []struct {
		name   string
		held   Held
		reason string
		says   []string
	}{
		{"nothing", Held{}, "", nil},
		{"one deployment", Held{Kind: KindBundle, Namespace: "ws", Name: "web", Deployments: []string{"ws/a"}, Count: 1, Reasons: []string{fleet.ReasonHeldByUser}, Limits: limits},
			fleet.ReasonHeldByUser, []string{"1 deployment is held (ws/a)", names.AnnotationHold, "remove the annotation"}},
		{"many deployments", Held{Kind: KindBundle, Namespace: "ws", Name: "web", Deployments: clusters, Count: 13, Reasons: []string{fleet.ReasonHeldByUser, fleet.ReasonSideEffects}, Limits: limits},
			fleet.ReasonSideEffects, []string{
				"13 deployments are held (ws/a, ", "ws/j and 3 more)", "more than 10 and 25 %", "within 10m0s",
				"flotilla gc release -n ws bundle/web", "annotate it with flotilla-gitops.github.io/release-held=yes",
			}},
		{"folders", Held{Kind: KindGitRepo, Namespace: "ws", Name: "shop", Bundles: []string{"b", "a"}, Reasons: []string{fleet.ReasonFoldersGone, fleet.ReasonFoldersGone}, Limits: limits},
			fleet.ReasonFoldersGone, []string{"2 bundles are held (a, b)", "flotilla gc release -n ws gitrepo/shop"}},
		{"a kind", Held{Kind: KindBundle, Deployments: []string{"ws/a"}, Count: 1, Reasons: []string{fleet.ReasonKindLeaving, fleet.ReasonSideEffects}, Limits: limits},
			fleet.ReasonKindLeaving, []string{"definition of the kind"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.held.Condition()
			if tt.reason == "" {
				if c != nil {
					t.Fatalf("got %+v, want none", c)
				}
				return
			}
			if c == nil || c.Type != fleet.ConditionPruneHeld || c.Status != metav1.ConditionTrue || c.Reason != tt.reason {
				t.Fatalf("got %+v", c)
			}
			for _, part := range tt.says {
				if !strings.Contains(c.Message, part) {
					t.Errorf("%q does not say %q", c.Message, part)
				}
			}
		})
	}
}
