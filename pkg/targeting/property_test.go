package targeting_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// completion is one of the ways in which a world that cannot be read in full
// may turn out: broken selectors select all or nothing, a missing group holds
// all or nobody.
type completion struct{ brokenSelects, missingHolds, brokenGroupHolds bool }

// No answer that is given despite a doubt depends on how the doubt resolves.
func TestAnswersDoNotDependOnWhatIsUnknown(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	all := groups(t)
	decided, open := 0, 0
	for range 1000 {
		spec := randomSpec(r)
		m := targeting.Compile(workspace, spec, all)
		for _, c := range clusters() {
			got := m.Match(c)
			if got.Outcome == targeting.Unknown {
				open++
				continue
			}
			decided++
			for _, brokenSelects := range []bool{true, false} {
				for _, missingHolds := range []bool{true, false} {
					for _, brokenGroupHolds := range []bool{true, false} {
						how := completion{brokenSelects, missingHolds, brokenGroupHolds}
						full, list := complete(spec, all, how)
						want := targeting.Compile(workspace, full, list).Match(c)
						if want.Outcome == targeting.Unknown {
							t.Fatal("the completion is not complete")
						}
						if meaning(t, got) != meaning(t, want) {
							t.Fatalf("cluster %s: %s, but %s if %+v\n%s", c.Name, meaning(t, got), meaning(t, want), how, asJSON(t, spec))
						}
					}
				}
			}
		}
	}
	if decided < 1000 || open < 100 {
		t.Errorf("%d decided, %d open: the worlds are too simple", decided, open)
	}
}

// meaning is what a decision comes to: not deployed, or with which options.
func meaning(t testing.TB, d targeting.Decision) string {
	t.Helper()
	if d.Outcome != targeting.Matched {
		return "not deployed"
	}
	text := "deployed"
	for _, custom := range d.Customizations {
		if options := asJSON(t, custom.BundleDeploymentOptions); options != "{}" {
			text += " with " + options
		}
	}
	return text
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func randomSpec(r *rand.Rand) *fleet.BundleSpec {
	spec := &fleet.BundleSpec{}
	if r.IntN(2) == 0 {
		spec.TargetCustomizationMode = fleet.AllMatches
	}
	for range 1 + r.IntN(4) {
		var t fleet.BundleTarget
		t.ClusterName, t.ClusterGroup, t.ClusterSelector, t.ClusterGroupSelector = randomCriteria(r)
		t.DoNotDeploy = r.IntN(4) == 0
		if r.IntN(3) == 0 {
			t.TargetNamespace = fmt.Sprint("ns", r.IntN(2))
		}
		spec.Targets = append(spec.Targets, t)
	}
	for range r.IntN(3) {
		var t fleet.BundleTargetRestriction
		t.ClusterName, t.ClusterGroup, t.ClusterSelector, t.ClusterGroupSelector = randomCriteria(r)
		spec.TargetRestrictions = append(spec.TargetRestrictions, t)
	}
	return spec
}

func randomCriteria(r *rand.Rand) (name, group string, selector, bySelector *metav1.LabelSelector) {
	if r.IntN(4) == 0 {
		name = []string{"one", "two", "nobody"}[r.IntN(3)]
	}
	if r.IntN(3) == 0 {
		group = []string{"devs", "everyone", "nobody", "missing", "broken"}[r.IntN(5)]
	}
	if r.IntN(2) == 0 {
		selector = []*metav1.LabelSelector{
			{}, {MatchLabels: map[string]string{"env": "dev"}}, {MatchLabels: map[string]string{"env": "prod"}}, broken(),
		}[r.IntN(4)]
	}
	if r.IntN(6) == 0 {
		bySelector = []*metav1.LabelSelector{
			{}, {MatchLabels: map[string]string{"kind": "env"}}, {MatchLabels: map[string]string{"kind": "broken"}}, broken(),
		}[r.IntN(4)]
	}
	return name, group, selector, bySelector
}

func broken() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Oops"}}}
}

// complete returns the bundle and the groups with everything put right in one
// of the possible ways.
func complete(spec *fleet.BundleSpec, groups []*fleet.ClusterGroup, how completion) (*fleet.BundleSpec, []*fleet.ClusterGroup) {
	spec = spec.DeepCopy()
	repair := func(group *string, selectors ...**metav1.LabelSelector) {
		for _, s := range selectors {
			if *s != nil && len((*s).MatchExpressions) > 0 {
				*s = selects(how.brokenSelects)
			}
		}
		if *group == "missing" {
			// Whoever is in it, its labels are as unknown as its clusters.
			*group, *selectors[1] = "nobody", nil
			if how.missingHolds {
				*group = "everyone"
			}
		}
	}
	for i := range spec.Targets {
		repair(&spec.Targets[i].ClusterGroup, &spec.Targets[i].ClusterSelector, &spec.Targets[i].ClusterGroupSelector)
	}
	for i := range spec.TargetRestrictions {
		r := &spec.TargetRestrictions[i]
		repair(&r.ClusterGroup, &r.ClusterSelector, &r.ClusterGroupSelector)
	}
	list := slices.Clone(groups)
	for i, g := range list {
		if g.Name == "broken" {
			list[i] = g.DeepCopy()
			list[i].Spec.Selector = selects(how.brokenGroupHolds)
		}
	}
	return spec, list
}

func selects(all bool) *metav1.LabelSelector {
	if all {
		return &metav1.LabelSelector{}
	}
	return &metav1.LabelSelector{MatchLabels: map[string]string{"nobody": "has this"}}
}
