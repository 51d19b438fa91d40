package clustergroups

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func groupOf(name string, generation int64, selector *metav1.LabelSelector) *fleet.ClusterGroup {
	return &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: name, Generation: generation},
		Spec:       fleet.ClusterGroupSpec{Selector: selector},
	}
}

// Clusters come, go and are relabelled, groups are edited and deleted: at any time every group says what counting
// its clusters says, and whoever sees another status was woken for it.
func TestRollupsFollowLabelsAndSelectors(t *testing.T) {
	const stories, steps = 25, 80
	values := []string{"dev", "test", "prod"}
	for seed := range uint64(stories) {
		rng := rand.New(rand.NewPCG(seed, 7))
		r := newRollups()
		clusters, groups := map[string]*fleet.Cluster{}, map[string]*fleet.ClusterGroup{}
		shown := map[string]fleet.ClusterGroupStatus{}
		for step := range steps {
			woken := map[string]bool{}
			if rng.IntN(4) == 0 {
				name := fmt.Sprint("g", rng.IntN(4))
				e := kube.Event[*fleet.ClusterGroup]{Old: groups[name]}
				if e.Old == nil || rng.IntN(3) > 0 {
					e.New = groupOf(name, int64(step), &metav1.LabelSelector{MatchLabels: map[string]string{"env": values[rng.IntN(3)]}})
					switch rng.IntN(6) {
					case 0:
						e.New.Spec.Selector = &metav1.LabelSelector{}
					case 1:
						e.New.Spec.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Resembles"}}
					}
					groups[name] = e.New
				} else {
					delete(groups, name)
				}
				woken[name] = true
				r.group(e)
			} else {
				name := fmt.Sprint("c", rng.IntN(12))
				e := kube.Event[*fleet.Cluster]{Old: clusters[name]}
				if e.Old == nil || rng.IntN(4) > 0 {
					e.New = &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: name, Labels: map[string]string{"env": values[rng.IntN(3)]}}}
					e.New.Status.Display.State = []string{"Ready", "Modified", "Offline"}[rng.IntN(3)]
					e.New.Status.Summary = fleet.BundleSummary{Ready: rng.IntN(2), DesiredReady: 2}
					if e.Old != nil && rng.IntN(3) > 0 {
						e.New.Labels = e.Old.Labels
					}
					clusters[name] = e.New
				} else {
					delete(clusters, name)
				}
				for _, key := range r.cluster(e) {
					woken[key.Name] = true
				}
			}
			for name, group := range groups {
				facts := status.ClusterGroupFacts{Group: group}
				got, want := r.status(facts), recounted(facts, clusters)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("seed %d, step %d, group %s (-recounted +rolled up):\n%s", seed, step, name, diff)
				}
				if diff := cmp.Diff(shown[name], got); diff != "" && !woken[name] {
					t.Fatalf("seed %d, step %d: group %s was not woken:\n%s", seed, step, name, diff)
				}
				shown[name] = got
			}
		}
	}
}

func recounted(facts status.ClusterGroupFacts, clusters map[string]*fleet.Cluster) fleet.ClusterGroupStatus {
	selector, err := selectorOf(facts.Group)
	if err != nil {
		facts.Problem = fmt.Sprintf("spec.selector: %v", err)
		return status.ForClusterGroup(facts)
	}
	for _, c := range clusters {
		if selector.Matches(labels.Set(c.Labels)) {
			facts.Clusters = append(facts.Clusters, c)
		}
	}
	return status.ForClusterGroup(facts)
}

// What is kept may be wrong, by a mistake of ours or of a library: counting anew puts it right.
func TestRebuild(t *testing.T) {
	r := newRollups()
	everything := groupOf("all", 1, &metav1.LabelSelector{})
	r.group(kube.Event[*fleet.ClusterGroup]{New: everything})
	stale := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "gone"}}
	missed := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "missed"}}
	missed.Status.Summary = fleet.BundleSummary{Ready: 3, DesiredReady: 3}
	r.cluster(kube.Event[*fleet.Cluster]{New: stale})
	r.rebuild(everything, []*fleet.Cluster{missed})
	got := r.status(status.ClusterGroupFacts{Group: everything})
	if got.ClusterCount != 1 || !slices.Equal(got.NonReadyClusters, []string{"missed"}) || got.Summary.Ready != 3 {
		t.Errorf("status is %+v", got)
	}
}

// A heartbeat costs the groups nothing, and leaves nothing behind.
func TestHeartbeatsAreForgotten(t *testing.T) {
	r := newRollups()
	r.group(kube.Event[*fleet.ClusterGroup]{New: groupOf("all", 1, &metav1.LabelSelector{})})
	first := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "c"}}
	if show := r.cluster(kube.Event[*fleet.Cluster]{New: first}); len(show) != 1 {
		t.Errorf("a new cluster shows in %v", show)
	}
	beat := first.DeepCopy()
	beat.Status.Agent.LastSeen = metav1.Now()
	if show := r.cluster(kube.Event[*fleet.Cluster]{Old: first, New: beat}); len(show) != 0 {
		t.Errorf("a heartbeat shows in %v", show)
	}
	r.cluster(kube.Event[*fleet.Cluster]{Old: beat})
	r.group(kube.Event[*fleet.ClusterGroup]{Old: groupOf("all", 1, nil)})
	if len(r.workspaces) != 0 {
		t.Errorf("%d workspaces are kept", len(r.workspaces))
	}
}
