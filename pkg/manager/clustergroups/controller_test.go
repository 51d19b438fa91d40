package clustergroups

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func TestSelectorOf(t *testing.T) {
	tests := []struct {
		name     string
		selector *metav1.LabelSelector
		matches  bool // a cluster with the label env=dev
	}{
		{"no selector selects nothing", nil, false},
		{"an empty one selects everything", &metav1.LabelSelector{}, true},
		{"by label", &metav1.LabelSelector{MatchLabels: map[string]string{"env": "dev"}}, true},
		{"by another label", &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}, false},
	}
	for _, tt := range tests {
		selector, err := selectorOf(&fleet.ClusterGroup{Spec: fleet.ClusterGroupSpec{Selector: tt.selector}})
		if err != nil {
			t.Fatal(err)
		}
		if got := selector.Matches(labels.Set{"env": "dev"}); got != tt.matches {
			t.Errorf("%s: matches = %v", tt.name, got)
		}
	}
	bad := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Resembles"}}}
	if _, err := selectorOf(&fleet.ClusterGroup{Spec: fleet.ClusterGroupSpec{Selector: bad}}); err == nil {
		t.Error("a selector that cannot be read selects something")
	}
}

// Ten thousand heartbeats a minute must not roll up a single group.
func TestShows(t *testing.T) {
	tests := []struct {
		name   string
		change func(*fleet.Cluster)
		want   bool
	}{
		{"nothing", func(*fleet.Cluster) {}, false},
		{"a heartbeat", func(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.NewTime(time.Now()) }, false},
		{"an annotation", func(c *fleet.Cluster) { c.Annotations = map[string]string{"a": "b"} }, false},
		{"another condition", func(c *fleet.Cluster) {
			c.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionImported, Status: "True"}}
		}, false},
		{"a label", func(c *fleet.Cluster) { c.Labels = map[string]string{"env": "prod"} }, true},
		{"readiness", func(c *fleet.Cluster) {
			c.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionReady, Status: "True"}}
		}, true},
		{"the counts", func(c *fleet.Cluster) { c.Status.Summary.Ready = 1 }, true},
		{"the objects", func(c *fleet.Cluster) { c.Status.ResourceCounts.Missing = 1 }, true},
		{"the state", func(c *fleet.Cluster) { c.Status.Display.State = "Modified" }, true},
	}
	for _, tt := range tests {
		before := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "c", Labels: map[string]string{"env": "dev"}}}
		after := before.DeepCopy()
		tt.change(after)
		if got := shows(before, after); got != tt.want {
			t.Errorf("%s: shows = %v", tt.name, got)
		}
	}
}
