package targeting_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// What an explanation is made of comes to what Match decides, for whatever
// targets: nobody is told a reason that is none.
func TestExplanationsComeToWhatMatchDecides(t *testing.T) {
	const seed1, seed2 = 5, 6
	r := rand.New(rand.NewPCG(seed1, seed2))
	all := groups(t)
	outcomes := map[targeting.Outcome]int{}
	for range 5000 {
		spec := randomSpec(r)
		m := targeting.Compile(workspace, spec, all)
		for _, c := range clusters() {
			want, got := m.Match(c), m.Explain(c)
			outcomes[want.Outcome]++
			if diff := cmp.Diff(want, got.Decision); diff != "" {
				t.Fatalf("the decision differs (-Match +Explain):\n%s\n%s", diff, asJSON(t, spec))
			}
			if outcome := outcomeOf(got); outcome != want.Outcome {
				t.Fatalf("cluster %s: the explanation comes to %v, Match says %v\n%s\n%s",
					c.Name, outcome, want.Outcome, asJSON(t, spec), asJSON(t, got))
			}
			checkParts(t, got)
			if want.Outcome == targeting.Matched {
				if diff := cmp.Diff(fieldsOf(spec, want.Customizations), deciding(got.Targets)); diff != "" {
					t.Fatalf("the targets that count differ (-Match +Explain):\n%s\n%s", diff, asJSON(t, spec))
				}
			}
		}
	}
	for _, o := range []targeting.Outcome{targeting.Unknown, targeting.Matched, targeting.Unmatched, targeting.Excluded} {
		if outcomes[o] < 100 {
			t.Errorf("%v came up %d times: the worlds are too simple", o, outcomes[o])
		}
	}
}

// outcomeOf decides again, by what the parts of the explanation say.
func outcomeOf(e targeting.Explanation) targeting.Outcome {
	outcome := targeting.Unmatched
	for _, c := range e.Targets {
		switch {
		case !c.Decides:
		case c.Answer == targeting.AnswerUnknown:
			outcome = targeting.Unknown
		case c.DoNotDeploy:
			return targeting.Excluded
		default:
			outcome = targeting.Matched
		}
	}
	switch {
	case outcome == targeting.Unmatched || e.Permitted == targeting.AnswerYes:
		return outcome
	case e.Permitted == targeting.AnswerNo:
		return targeting.Unmatched
	}
	return targeting.Unknown
}

// checkParts: clauses are the "and" of their criteria, restrictions permit by
// "or", and everything says why.
func checkParts(t *testing.T, e targeting.Explanation) {
	t.Helper()
	weight := map[targeting.Answer]int{targeting.AnswerNo: 0, targeting.AnswerUnknown: 1, targeting.AnswerYes: 2}
	permitted := targeting.AnswerNo
	for _, c := range e.Restrictions {
		if weight[c.Answer] > weight[permitted] {
			permitted = c.Answer
		}
	}
	if len(e.Restrictions) > 0 && permitted != e.Permitted {
		t.Fatalf("restrictions say %s together, want %s", e.Permitted, permitted)
	}
	texts := []string{e.Why()}
	for _, c := range slices.Concat(e.Targets, e.Restrictions) {
		answer := targeting.AnswerYes
		if len(c.Criteria) == 0 {
			answer = targeting.AnswerNo
		}
		for _, criterion := range c.Criteria {
			if weight[criterion.Answer] < weight[answer] {
				answer = criterion.Answer
			}
			texts = append(texts, criterion.Message)
		}
		if answer != c.Answer {
			t.Fatalf("%s says %s, its criteria say %s: %s", c.Field, c.Answer, answer, asJSON(t, c))
		}
		if c.Decides && c.Answer == targeting.AnswerNo {
			t.Fatalf("%s decides with a no", c.Field)
		}
		texts = append(texts, c.Why())
	}
	for _, text := range texts {
		if text == "" || strings.Contains(text, "\n") {
			t.Fatalf("%q explains nothing: %s", text, asJSON(t, e))
		}
	}
}

func fieldsOf(spec *fleet.BundleSpec, targets []*fleet.BundleTarget) []string {
	var fields []string
	for i := range spec.Targets {
		if slices.Contains(targets, &spec.Targets[i]) {
			fields = append(fields, fmt.Sprintf("spec.targets[%d]", i))
		}
	}
	return fields
}

func deciding(clauses []targeting.Clause) []string {
	var fields []string
	for _, c := range clauses {
		if c.Decides {
			fields = append(fields, c.Field)
		}
	}
	return fields
}

// TestWhy says, for the clusters one, two and three, what they are told.
func TestWhy(t *testing.T) {
	const broken = `clusterSelector: {matchExpressions: [{key: a, operator: Oops}]}`
	tests := []struct {
		name string
		spec string
		want [3]string
	}{
		{"no targets", `targets: []`, [3]string{"the bundle has no targets", "the bundle has no targets", "the bundle has no targets"}},
		{"no criterion", `targets: [{name: x}]`, [3]string{
			"no target matches the cluster: target x: it has no criterion, so it matches nothing",
			"no target matches the cluster: target x: it has no criterion, so it matches nothing",
			"no target matches the cluster: target x: it has no criterion, so it matches nothing",
		}},
		{"all", `targets: [{name: x, clusterSelector: {}}]`, [3]string{
			"target x: clusterSelector {}: it selects every cluster",
			"target x: clusterSelector {}: it selects every cluster",
			"target x: clusterSelector {}: it selects every cluster",
		}},
		{"names", `targets: [{name: x, clusterName: one}, {name: z, clusterName: Zwei}]`, [3]string{
			"target x: clusterName one: that is its name",
			"target z: clusterName Zwei: that is its display name",
			"no target matches the cluster: target x: clusterName one: the cluster is called three; target z: clusterName Zwei: the cluster is called three",
		}},
		{"labels", `targets: [{name: x, clusterSelector: {matchLabels: {env: dev, num: "1"}}}]`, [3]string{
			"target x: clusterSelector env=dev,num=1: the cluster has env=dev, num=1",
			"no target matches the cluster: target x: clusterSelector env=dev,num=1: the cluster has env=prod",
			"no target matches the cluster: target x: clusterSelector env=dev,num=1: the cluster has no label env",
		}},
		{"a name and labels", `targets: [{name: x, clusterName: one, clusterSelector: {matchLabels: {env: prod}}}]`, [3]string{
			"no target matches the cluster: target x: clusterSelector env=prod: the cluster has env=dev",
			`no target matches the cluster: target x: clusterName one: the cluster is called two, display name "Zwei"`,
			"no target matches the cluster: target x: clusterName one: the cluster is called three; clusterSelector env=prod: the cluster has no label env",
		}},
		{"groups", `targets: [{name: x, clusterGroup: devs}, {name: z, clusterGroup: missing}]`, [3]string{
			"target x: clusterGroup devs: the cluster is in ClusterGroup devs",
			`target z: clusterGroup missing: there is no ClusterGroup "missing" in namespace fleet-default`,
			`target z: clusterGroup missing: there is no ClusterGroup "missing" in namespace fleet-default`,
		}},
		{"labels of groups", `targets: [{name: x, clusterGroupSelector: {matchLabels: {kind: env}}}]`, [3]string{
			"target x: clusterGroupSelector kind=env: the cluster is in ClusterGroup devs",
			"target x: clusterGroupSelector kind=env: the cluster is in ClusterGroup prods",
			"no target matches the cluster: target x: clusterGroupSelector kind=env: ClusterGroup devs (env=dev): the cluster has no label env; " +
				"ClusterGroup prods (env=prod): the cluster has no label env",
		}},
		{"a group with labels it does not have", `targets: [{name: x, clusterGroup: devs, clusterGroupSelector: {matchLabels: {kind: all}}}]`, [3]string{
			"no target matches the cluster: target x: clusterGroup devs with labels kind=all: no ClusterGroup of namespace fleet-default has these labels",
			"no target matches the cluster: target x: clusterGroup devs with labels kind=all: no ClusterGroup of namespace fleet-default has these labels",
			"no target matches the cluster: target x: clusterGroup devs with labels kind=all: no ClusterGroup of namespace fleet-default has these labels",
		}},
		{"a group without a selector", `targets: [{name: x, clusterGroup: nobody}]`, [3]string{
			"no target matches the cluster: target x: clusterGroup nobody: ClusterGroup nobody: it selects no cluster",
			"no target matches the cluster: target x: clusterGroup nobody: ClusterGroup nobody: it selects no cluster",
			"no target matches the cluster: target x: clusterGroup nobody: ClusterGroup nobody: it selects no cluster",
		}},
		{"doNotDeploy", `targets: [{name: x, clusterName: one, doNotDeploy: true}, {name: z, clusterSelector: {}}]`, [3]string{
			"target x: clusterName one: that is its name: doNotDeploy",
			"target z: clusterSelector {}: it selects every cluster",
			"target z: clusterSelector {}: it selects every cluster",
		}},
		{"all matches", `{targetCustomizationMode: AllMatches, targets: [{name: x, clusterName: one}, {name: z, clusterSelector: {}}]}`, [3]string{
			"target x: clusterName one: that is its name; target z: clusterSelector {}: it selects every cluster",
			"target z: clusterSelector {}: it selects every cluster",
			"target z: clusterSelector {}: it selects every cluster",
		}},
		{"restrictions", `{targets: [{name: x, clusterSelector: {}}], targetRestrictions: [{name: r, clusterGroup: devs}]}`, [3]string{
			"target x: clusterSelector {}: it selects every cluster",
			"a target matches the cluster, but none of the targets that the bundle is restricted to does: restriction r: clusterGroup devs: ClusterGroup devs (env=dev): the cluster has env=prod",
			"a target matches the cluster, but none of the targets that the bundle is restricted to does: restriction r: clusterGroup devs: ClusterGroup devs (env=dev): the cluster has no label env",
		}},
		{"selectors that do not parse", `targets: [{name: x, clusterName: one, ` + broken + `}, {name: w, clusterName: two, clusterGroup: broken}, {name: z, clusterName: three, clusterGroup: devs}]`, [3]string{
			`target x: clusterSelector (invalid): it does not parse: "Oops" is not a valid label selector operator`,
			"target w: clusterGroup broken: the selector of ClusterGroup broken does not parse",
			"no target matches the cluster: target x: clusterName one: the cluster is called three; " +
				"target w: clusterName two: the cluster is called three; target z: clusterGroup devs: ClusterGroup devs (env=dev): the cluster has no label env",
		}},
		{"a restriction in doubt", `{targets: [{name: x, clusterSelector: {}}], targetRestrictions: [{clusterGroup: missing}, {name: r, clusterName: one}]}`, [3]string{
			"target x: clusterSelector {}: it selects every cluster",
			`restriction target000: clusterGroup missing: there is no ClusterGroup "missing" in namespace fleet-default`,
			`restriction target000: clusterGroup missing: there is no ClusterGroup "missing" in namespace fleet-default`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := targeting.Compile(workspace, specOf(t, tt.spec), groups(t))
			for i, c := range clusters() {
				if got := m.Explain(c).Why(); got != tt.want[i] {
					t.Errorf("cluster %s:\n got %s\nwant %s", c.Name, got, tt.want[i])
				}
			}
		})
	}
}
