package targeting_test

import (
	"encoding/json"
	"testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// FuzzMatch: whatever selectors users write, there is an answer, the same one
// twice, and where it is Unknown there is a problem that says why.
func FuzzMatch(f *testing.F) {
	f.Add(`{"matchLabels":{"env":"dev"}}`, `{}`, "devs", "one", true)
	f.Add(`{"matchExpressions":[{"key":"a","operator":"Oops"}]}`, `null`, "missing", "", false)
	f.Add(`{"matchLabels":{"in valid":"x y"}}`, `{"matchExpressions":[{"key":"a","operator":"Gt","values":["x"]}]}`, "broken", "Zwei", true)
	f.Fuzz(func(t *testing.T, selector, ofGroups, group, name string, all bool) {
		spec := new(fleet.BundleSpec)
		if all {
			spec.TargetCustomizationMode = fleet.AllMatches
		}
		first, second := fleet.BundleTarget{ClusterGroup: group}, fleet.BundleTarget{ClusterName: name}
		_ = json.Unmarshal([]byte(selector), &first.ClusterSelector)
		_ = json.Unmarshal([]byte(ofGroups), &second.ClusterGroupSelector)
		second.TargetNamespace = "other"
		spec.Targets = []fleet.BundleTarget{first, second}
		spec.TargetRestrictions = []fleet.BundleTargetRestriction{{ClusterSelector: first.ClusterSelector}, {ClusterName: "one"}}
		m := targeting.Compile(workspace, spec, groups(t))
		again := targeting.Compile(workspace, spec, groups(t))
		for _, c := range clusters() {
			d := m.Match(c)
			if show(d) != show(again.Match(c)) {
				t.Fatalf("two answers for cluster %s", c.Name)
			}
			if d.Outcome == targeting.Unknown && len(m.Problems()) == 0 {
				t.Fatalf("cluster %s is undecided, and nothing says why", c.Name)
			}
			if d.Outcome == targeting.Matched && d.TargetName == "" {
				t.Fatalf("cluster %s is matched by nobody", c.Name)
			}
		}
	})
}
