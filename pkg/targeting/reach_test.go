package targeting_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

func TestReachOf(t *testing.T) {
	labelled := func(name string, labels map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Labels: labels}
	}
	b := &fleet.Bundle{ObjectMeta: labelled("web", map[string]string{"team": "a"})}
	b.Namespace = workspace
	var namespaces []*corev1.Namespace
	for _, meta := range []metav1.ObjectMeta{
		labelled(workspace, map[string]string{"stage": "test"}), labelled("z-test", map[string]string{"stage": "test"}),
		labelled("a-test", map[string]string{"stage": "test"}), labelled("prod", map[string]string{"stage": "prod"}),
	} {
		namespaces = append(namespaces, &corev1.Namespace{ObjectMeta: meta})
	}
	mapping := func(bundles, targets *metav1.LabelSelector) *fleet.BundleNamespaceMapping {
		return &fleet.BundleNamespaceMapping{ObjectMeta: metav1.ObjectMeta{Name: "m"}, BundleSelector: bundles, NamespaceSelector: targets}
	}
	label := func(key, value string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
	}
	tests := []struct {
		name     string
		mappings []*fleet.BundleNamespaceMapping
		want     []string
		problems int
	}{
		{name: "no mapping", want: []string{workspace}},
		{
			name:     "the bundle's own namespace comes first, and once",
			mappings: []*fleet.BundleNamespaceMapping{mapping(label("team", "a"), label("stage", "test")), mapping(label("team", "a"), label("stage", "test"))},
			want:     []string{workspace, "a-test", "z-test"},
		},
		{name: "a mapping for other bundles", mappings: []*fleet.BundleNamespaceMapping{mapping(label("team", "b"), label("stage", "prod"))}, want: []string{workspace}},
		{name: "a mapping without selectors opens nothing", mappings: []*fleet.BundleNamespaceMapping{mapping(nil, nil)}, want: []string{workspace}},
		{
			name:     "a mapping that does not parse is a problem, the others hold",
			mappings: []*fleet.BundleNamespaceMapping{mapping(broken(), label("stage", "test")), mapping(label("team", "a"), label("stage", "prod"))},
			want:     []string{workspace, "prod"},
			problems: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := targeting.ReachOf(b, tt.mappings, namespaces)
			if diff := cmp.Diff(tt.want, got.Namespaces); diff != "" {
				t.Errorf("Namespaces differ (-want +got):\n%s", diff)
			}
			if len(got.Problems) != tt.problems {
				t.Errorf("Problems = %v, want %d", got.Problems, tt.problems)
			}
			for _, ns := range namespaces {
				want := false
				for _, name := range tt.want {
					want = want || name == ns.Name
				}
				if got.Contains(ns.Name) != want {
					t.Errorf("Contains(%s) = %v", ns.Name, !want)
				}
			}
		})
	}
}
