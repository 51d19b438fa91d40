package oracle

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

func in(environment string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"env": environment}}
}

// garbled is a selector that nobody understands.
func garbled() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: "Like"}}}
}

func group(w *World, name string, selector *metav1.LabelSelector) {
	w.Groups[kube.Key{Namespace: "ws", Name: name}] = &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: name, Labels: map[string]string{"tier": "gold"}},
		Spec:       fleet.ClusterGroupSpec{Selector: selector},
	}
}

func TestMatch(t *testing.T) {
	prod := fleet.BundleTarget{ClusterSelector: in("prod")}
	custom := func(target fleet.BundleTarget) fleet.BundleTarget {
		target.DefaultNamespace = "custom"
		return target
	}
	not := func(target fleet.BundleTarget) fleet.BundleTarget {
		target.DoNotDeploy = true
		return target
	}
	vague := fleet.BundleTarget{ClusterSelector: garbled()}
	undecided, left, deployed := Verdict{}, Verdict{Decided: true}, Verdict{Decided: true, Deployed: true}
	tests := []struct {
		name         string
		targets      []fleet.BundleTarget
		restrictions []fleet.BundleTargetRestriction
		mode         fleet.TargetCustomizationMode
		want         Verdict
	}{
		{name: "no target", want: left},
		{name: "an empty target", targets: []fleet.BundleTarget{{}}, want: left},
		{name: "a selector that matches", targets: []fleet.BundleTarget{prod}, want: deployed},
		{name: "a selector that does not match", targets: []fleet.BundleTarget{{ClusterSelector: in("dev")}}, want: left},
		{name: "the name", targets: []fleet.BundleTarget{{ClusterName: "one"}}, want: deployed},
		{name: "a group", targets: []fleet.BundleTarget{{ClusterGroup: "prod"}}, want: deployed},
		{name: "a group and a selector", targets: []fleet.BundleTarget{{ClusterGroup: "prod", ClusterSelector: in("dev")}}, want: left},
		{name: "a group that is missing", targets: []fleet.BundleTarget{{ClusterGroup: "none"}}, want: undecided},
		{name: "a group that nobody understands", targets: []fleet.BundleTarget{{ClusterGroup: "garbled"}}, want: undecided},
		{name: "groups by their labels", targets: []fleet.BundleTarget{{ClusterGroupSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}}}, want: deployed},
		{name: "doNotDeploy comes first", targets: []fleet.BundleTarget{not(prod), prod}, want: left},
		{name: "doNotDeploy comes second", targets: []fleet.BundleTarget{prod, not(prod)}, want: deployed},
		{name: "doNotDeploy of all", targets: []fleet.BundleTarget{prod, not(prod)}, mode: fleet.AllMatches, want: left},
		{name: "what is vague does not matter after a match", targets: []fleet.BundleTarget{prod, vague}, want: deployed},
		{name: "what is vague would do the same", targets: []fleet.BundleTarget{vague, prod}, want: deployed},
		{name: "what is vague would do something else", targets: []fleet.BundleTarget{custom(vague), prod}, want: undecided},
		{name: "what is vague would forbid", targets: []fleet.BundleTarget{not(vague), prod}, want: undecided},
		{name: "what is vague would allow", targets: []fleet.BundleTarget{vague}, want: undecided},
		{name: "restricted to another", targets: []fleet.BundleTarget{prod}, restrictions: []fleet.BundleTargetRestriction{{ClusterName: "two"}}, want: left},
		{name: "restricted to it", targets: []fleet.BundleTarget{prod}, restrictions: []fleet.BundleTargetRestriction{{ClusterName: "one"}}, want: deployed},
		{name: "restricted in a vague way", targets: []fleet.BundleTarget{prod}, restrictions: []fleet.BundleTargetRestriction{{ClusterSelector: garbled()}}, want: undecided},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWorld(nil)
			group(w, "prod", in("prod"))
			group(w, "garbled", garbled())
			b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "web"}}
			b.Spec.Targets, b.Spec.TargetRestrictions, b.Spec.TargetCustomizationMode = tt.targets, tt.restrictions, tt.mode
			c := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "one", Labels: map[string]string{"env": "prod"}}}
			if got := w.Match(b, c); got.Decided != tt.want.Decided || got.Deployed != tt.want.Deployed {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestReach(t *testing.T) {
	all := &metav1.LabelSelector{}
	tests := []struct {
		name                string
		bundles, namespaces *metav1.LabelSelector
		want                answer
	}{
		{"mapped", all, all, yes},
		{"another bundle is", in("prod"), all, no},
		{"another namespace is", all, in("prod"), no},
		{"nobody knows", garbled(), in("prod"), unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWorld(map[string]map[string]string{"far": {"env": "dev"}})
			w.Mappings[kube.Key{Namespace: "ws", Name: "m"}] = &fleet.BundleNamespaceMapping{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "m"}, BundleSelector: tt.bundles, NamespaceSelector: tt.namespaces,
			}
			b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "web"}}
			if got := w.reaches(b, "far"); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
