package targeting_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

const workspace = "fleet-default"

// Three clusters of a workspace, one of another shape each.
func clusters() []*fleet.Cluster {
	return []*fleet.Cluster{
		cluster("one", map[string]string{"env": "dev", "num": "1"}),
		cluster("two", map[string]string{"env": "prod", "num": "2", "management.cattle.io/cluster-display-name": "Zwei"}),
		cluster("three", nil),
	}
}

func cluster(name string, labels map[string]string) *fleet.Cluster {
	return &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name, Labels: labels}}
}

func groups(t testing.TB) []*fleet.ClusterGroup {
	t.Helper()
	var list []*fleet.ClusterGroup
	for _, text := range []string{
		`{metadata: {name: devs, labels: {kind: env}}, spec: {selector: {matchLabels: {env: dev}}}}`,
		`{metadata: {name: prods, labels: {kind: env}}, spec: {selector: {matchLabels: {env: prod}}}}`,
		`{metadata: {name: everyone, labels: {kind: all}}, spec: {selector: {}}}`,
		`{metadata: {name: nobody}, spec: {}}`,
		`{metadata: {name: broken, labels: {kind: broken}}, spec: {selector: {matchExpressions: [{key: a, operator: Oops}]}}}`,
	} {
		g := new(fleet.ClusterGroup)
		if err := yaml.UnmarshalStrict([]byte(text), g); err != nil {
			t.Fatal(err)
		}
		list = append(list, g)
	}
	return list
}

func specOf(t testing.TB, text string) *fleet.BundleSpec {
	t.Helper()
	spec := new(fleet.BundleSpec)
	if err := yaml.UnmarshalStrict([]byte(text), spec); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return spec
}

// TestMatch says, for each of the clusters one, two and three, which target
// decides: its name, "-" for none, "!" and the name for doNotDeploy, "?" where
// that is not known. Several customizations are joined by "+".
func TestMatch(t *testing.T) {
	const all = `{name: all, clusterSelector: {}}`
	tests := []struct {
		name string
		spec string
		want [3]string
	}{
		{"no targets", `targets: []`, [3]string{"-", "-", "-"}},
		{"all are targeted", `targets: [` + all + `]`, [3]string{"all", "all", "all"}},
		{"a target without criteria matches nothing", `targets: [{name: x}]`, [3]string{"-", "-", "-"}},
		{"targets without a name", `targets: [{name: x}, {clusterSelector: {}}]`, [3]string{"target001", "target001", "target001"}},

		{"by name", `targets: [{name: x, clusterName: one}]`, [3]string{"x", "-", "-"}},
		{"by the name that is shown", `targets: [{name: x, clusterName: Zwei}]`, [3]string{"-", "x", "-"}},
		{"by labels", `targets: [{name: x, clusterSelector: {matchLabels: {env: dev}}}]`, [3]string{"x", "-", "-"}},
		{"by expressions", `targets: [{name: x, clusterSelector: {matchExpressions: [{key: env, operator: Exists}]}}]`, [3]string{"x", "x", "-"}},
		{"by group", `targets: [{name: x, clusterGroup: prods}]`, [3]string{"-", "x", "-"}},
		{"by a group of all", `targets: [{name: x, clusterGroup: everyone}]`, [3]string{"x", "x", "x"}},
		{"by a group without a selector", `targets: [{name: x, clusterGroup: nobody}]`, [3]string{"-", "-", "-"}},
		{"by labels of groups", `targets: [{name: x, clusterGroupSelector: {matchLabels: {kind: env}}}]`, [3]string{"x", "x", "-"}},
		{"by groups without that label", `targets: [{name: x, clusterGroupSelector: {matchExpressions: [{key: kind, operator: DoesNotExist}]}}]`, [3]string{"-", "-", "-"}},

		{"criteria of one target must all match: name and labels", `targets: [{name: x, clusterName: one, clusterSelector: {matchLabels: {env: prod}}}]`, [3]string{"-", "-", "-"}},
		{"name and group", `targets: [{name: x, clusterName: two, clusterGroup: prods}]`, [3]string{"-", "x", "-"}},
		{"labels and group", `targets: [{name: x, clusterSelector: {matchLabels: {num: "1"}}, clusterGroup: everyone}]`, [3]string{"x", "-", "-"}},
		{"group and labels of groups mean the same group", `targets: [{name: x, clusterGroup: everyone, clusterGroupSelector: {matchLabels: {kind: env}}}]`, [3]string{"-", "-", "-"}},
		{"group with the right label", `targets: [{name: x, clusterGroup: devs, clusterGroupSelector: {matchLabels: {kind: env}}}]`, [3]string{"x", "-", "-"}},

		{"one of several targets is enough", `targets: [{name: x, clusterName: one}, {name: z, clusterName: two}]`, [3]string{"x", "z", "-"}},
		{"the first match wins", `targets: [{name: x, clusterName: one}, ` + all + `, {name: z, clusterName: two}]`, [3]string{"x", "all", "all"}},
		{"all matches are folded", `{targetCustomizationMode: AllMatches, targets: [{name: x, clusterName: one}, ` + all + `, {name: z, clusterName: two}]}`, [3]string{"x+all", "all+z", "all"}},

		{"doNotDeploy on all", `targets: [{name: x, clusterSelector: {}, doNotDeploy: true}, ` + all + `]`, [3]string{"!x", "!x", "!x"}},
		{"doNotDeploy on another cluster", `targets: [{name: x, clusterName: two, doNotDeploy: true}, {name: z, clusterName: one}]`, [3]string{"z", "!x", "-"}},
		{"a broad match before doNotDeploy wins", `targets: [` + all + `, {name: x, clusterName: one, doNotDeploy: true}]`, [3]string{"all", "all", "all"}},
		{"doNotDeploy after a broad match, all matches", `{targetCustomizationMode: AllMatches, targets: [` + all + `, {name: x, clusterName: one, doNotDeploy: true}]}`, [3]string{"!x", "all", "all"}},

		{"a GitRepo for all", `{targets: [` + all + `], targetRestrictions: [{clusterSelector: {}}]}`, [3]string{"all", "all", "all"}},
		{"a GitRepo for one", `{targets: [{name: z, clusterName: one}], targetRestrictions: [{clusterName: one}]}`, [3]string{"z", "-", "-"}},
		{"a customization for all", `{targets: [{name: x, clusterSelector: {}, namespace: a}, ` + all + `], targetRestrictions: [{clusterSelector: {}}]}`, [3]string{"x", "x", "x"}},
		{
			"customizations for one and two",
			`{targets: [{name: x, clusterName: one, namespace: a}, {name: z, clusterName: two, namespace: b}, ` + all + `],
			targetRestrictions: [{clusterSelector: {}}]}`,
			[3]string{"x", "z", "all"},
		},
		{
			"a customization for one, then for all",
			`{targets: [{name: x, clusterName: one, namespace: a}, {name: z, clusterSelector: {}, namespace: b}, ` + all + `],
			targetRestrictions: [{clusterSelector: {}}]}`,
			[3]string{"x", "z", "z"},
		},
		{"doNotDeploy on all of a GitRepo for all", `{targets: [{name: x, clusterSelector: {}, doNotDeploy: true}, ` + all + `], targetRestrictions: [{clusterSelector: {}}]}`, [3]string{"!x", "!x", "!x"}},
		{
			"doNotDeploy on two of a GitRepo for one",
			`{targets: [{name: x, clusterName: two, doNotDeploy: true}, {name: z, clusterName: one}],
			targetRestrictions: [{clusterName: one}]}`,
			[3]string{"z", "!x", "-"},
		},
		{
			"a customization for all before doNotDeploy",
			`{targets: [{name: x, clusterSelector: {}, namespace: a}, {name: z, clusterName: two, doNotDeploy: true}, ` + all + `],
			targetRestrictions: [{clusterSelector: {}}]}`,
			[3]string{"x", "x", "x"},
		},

		{"restrictions", `{targets: [` + all + `], targetRestrictions: [{clusterName: one}, {clusterGroup: prods}]}`, [3]string{"all", "all", "-"}},
		{"a customization alone does not deploy", `{targets: [{name: x, clusterName: three}, {name: z, clusterName: one}], targetRestrictions: [{clusterName: one}]}`, [3]string{"z", "-", "-"}},
		{"a restriction without criteria permits nothing", `{targets: [` + all + `], targetRestrictions: [{name: x}]}`, [3]string{"-", "-", "-"}},

		{"a selector that does not parse", `targets: [{name: x, clusterSelector: {matchExpressions: [{key: a, operator: Oops}]}}]`, [3]string{"?", "?", "?"}},
		{"another criterion decides", `targets: [{name: x, clusterName: one, clusterSelector: {matchExpressions: [{key: a, operator: Oops}]}}]`, [3]string{"?", "-", "-"}},
		{"a group that is missing", `targets: [{name: x, clusterGroup: missing}]`, [3]string{"?", "?", "?"}},
		{"a group whose selector does not parse", `targets: [{name: x, clusterGroup: broken}]`, [3]string{"?", "?", "?"}},
		{"it is in another group that is meant", `targets: [{name: x, clusterGroupSelector: {matchExpressions: [{key: kind, operator: In, values: [env, broken]}]}}]`, [3]string{"x", "x", "?"}},
		{"a selector of groups that does not parse", `targets: [{name: x, clusterGroupSelector: {matchExpressions: [{key: a, operator: Oops}]}}]`, [3]string{"?", "?", "?"}},
		{"in a group that is named it is at least not outside", `targets: [{name: x, clusterGroup: devs, clusterGroupSelector: {matchExpressions: [{key: a, operator: Oops}]}}]`, [3]string{"?", "-", "-"}},

		{"a doubt before a match that comes to the same", `targets: [{name: x, clusterGroup: missing}, {name: z, clusterName: one}]`, [3]string{"z", "?", "?"}},
		{"a doubt before a match with other options", `targets: [{name: x, clusterGroup: missing, namespace: a}, {name: z, clusterName: one}]`, [3]string{"?", "?", "?"}},
		{"a doubt before a match with the same options", `targets: [{name: x, clusterGroup: missing, namespace: a}, {name: z, clusterName: one, namespace: a}]`, [3]string{"z", "?", "?"}},
		{"a doubt behind a match", `targets: [{name: z, clusterName: one}, {name: x, clusterGroup: missing, namespace: a}]`, [3]string{"z", "?", "?"}},
		{"a doubtful doNotDeploy before nothing", `targets: [{name: x, clusterGroup: missing, doNotDeploy: true}, {name: z, clusterName: one}]`, [3]string{"?", "-", "-"}},
		{"a doubtful doNotDeploy before doNotDeploy", `targets: [{name: x, clusterGroup: missing, doNotDeploy: true}, {name: z, clusterName: one, doNotDeploy: true}]`, [3]string{"!z", "-", "-"}},

		{"all matches: a doubt about a target without options", `{targetCustomizationMode: AllMatches, targets: [{name: x, clusterGroup: missing}, {name: z, clusterName: one, namespace: a}]}`, [3]string{"z", "?", "?"}},
		{"all matches: a doubt about a target with options", `{targetCustomizationMode: AllMatches, targets: [{name: x, clusterGroup: missing, namespace: a}, {name: z, clusterName: one}]}`, [3]string{"?", "?", "?"}},
		{"all matches: doNotDeploy is certain", `{targetCustomizationMode: AllMatches, targets: [{name: x, clusterGroup: missing, namespace: a}, {name: z, clusterName: one, doNotDeploy: true}]}`, [3]string{"!z", "?", "?"}},
		{"all matches: doNotDeploy is in doubt", `{targetCustomizationMode: AllMatches, targets: [{name: x, clusterGroup: missing, doNotDeploy: true}, {name: z, clusterName: one}]}`, [3]string{"?", "-", "-"}},

		{"a doubtful restriction", `{targets: [` + all + `], targetRestrictions: [{clusterGroup: missing}, {clusterName: one}]}`, [3]string{"all", "?", "?"}},
		{"a doubtful restriction where no target matches", `{targets: [{name: x, clusterName: one}], targetRestrictions: [{clusterGroup: missing}]}`, [3]string{"?", "-", "-"}},
		{"a doubtful target that restrictions do not permit", `{targets: [{name: x, clusterGroup: missing}], targetRestrictions: [{clusterName: one}]}`, [3]string{"?", "-", "-"}},
		{
			"a GitRepo with a group that is missing goes on where another target matches",
			`{targets: [{name: a, clusterGroup: missing}, {name: b, clusterSelector: {matchLabels: {env: dev}}}],
			targetRestrictions: [{clusterGroup: missing}, {clusterSelector: {matchLabels: {env: dev}}}]}`,
			[3]string{"b", "?", "?"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := targeting.Compile(workspace, specOf(t, tt.spec), groups(t))
			for i, c := range clusters() {
				if got := show(m.Match(c)); got != tt.want[i] {
					t.Errorf("cluster %s: %s, want %s", c.Name, got, tt.want[i])
				}
				if again := show(m.Match(c)); again != tt.want[i] {
					t.Errorf("cluster %s, asked again: %s, want %s", c.Name, again, tt.want[i])
				}
			}
		})
	}
}

func show(d targeting.Decision) string {
	switch d.Outcome {
	case targeting.Matched:
		text := ""
		for i, custom := range d.Customizations {
			if i > 0 {
				text += "+"
			}
			text += custom.Name
		}
		if text == "" {
			return d.TargetName
		}
		return text
	case targeting.Excluded:
		return "!" + d.TargetName
	case targeting.Unknown:
		return "?"
	case targeting.Unmatched:
	}
	return "-"
}

// Targets that change change who is deployed to, and nothing else.
func TestTargetsThatChange(t *testing.T) {
	tests := []struct {
		name          string
		before, after string
		deployed      []string
	}{
		{"from all to one", `targets: [{clusterSelector: {}}]`, `targets: [{clusterName: one}]`, []string{"one"}},
		{"from one to all", `targets: [{clusterName: one}]`, `targets: [{clusterSelector: {}}]`, []string{"one", "two", "three"}},
		{
			"doNotDeploy is added", `targets: [{clusterSelector: {}}]`,
			`targets: [{clusterName: two, doNotDeploy: true}, {clusterSelector: {}}]`, []string{"one", "three"},
		},
		{
			"doNotDeploy is taken away", `targets: [{clusterName: two, doNotDeploy: true}, {clusterSelector: {}}]`,
			`targets: [{clusterSelector: {}}]`, []string{"one", "two", "three"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if slices.Equal(deployed(t, tt.before), tt.deployed) {
				t.Fatal("the change changes nothing")
			}
			if diff := cmp.Diff(tt.deployed, deployed(t, tt.after)); diff != "" {
				t.Errorf("deployed to (-want +got):\n%s", diff)
			}
		})
	}
}

func deployed(t testing.TB, spec string) []string {
	t.Helper()
	m := targeting.Compile(workspace, specOf(t, spec), groups(t))
	var list []string
	for _, c := range clusters() {
		if m.Match(c).Outcome == targeting.Matched {
			list = append(list, c.Name)
		}
	}
	return list
}

func TestDecisionsExplainThemselves(t *testing.T) {
	tests := []struct{ name, spec, reason, message string }{
		{"matched", `targets: [{name: x, clusterName: one}]`, "TargetMatches", "target x matches the cluster"},
		{"unmatched", `targets: [{name: x, clusterName: two}]`, "NoTargetMatches", "no target matches the cluster"},
		{"excluded", `targets: [{clusterName: one, doNotDeploy: true}]`, "DoNotDeploy", "target target000 says doNotDeploy"},
		{
			"restricted", `{targets: [{clusterName: one}], targetRestrictions: [{clusterName: two}]}`, "Restricted",
			"a target matches the cluster, but none of the targets that the bundle is restricted to does",
		},
		{
			"unknown", `targets: [{name: a, clusterName: two}, {name: x, clusterGroup: missing}]`, "Undecided",
			"target x cannot be evaluated, so the cluster keeps what it has",
		},
		{
			"restriction unknown", `{targets: [{clusterName: one}], targetRestrictions: [{clusterGroup: missing}]}`, "Undecided",
			"the list of clusters that the bundle is restricted to cannot be evaluated, so the cluster keeps what it has",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := targeting.Compile(workspace, specOf(t, tt.spec), groups(t)).Match(clusters()[0])
			if got.Reason != tt.reason || got.Message != tt.message {
				t.Errorf("Match() = %s, %q; want %s, %q", got.Reason, got.Message, tt.reason, tt.message)
			}
			if (got.Outcome == targeting.Matched) != (len(got.Customizations) > 0) {
				t.Errorf("%v with %d customizations", got.Outcome, len(got.Customizations))
			}
		})
	}
}

func TestProblems(t *testing.T) {
	spec := specOf(t, `{
		targets: [
			{clusterSelector: {matchExpressions: [{key: a, operator: Oops}]}},
			{clusterGroup: missing}, {clusterGroup: devs}, {clusterName: one},
			{clusterGroupSelector: {matchExpressions: [{key: b, operator: In}]}},
			{clusterGroup: broken}],
		targetRestrictions: [{clusterGroup: missing}, {clusterGroup: alsoMissing}]}`)
	m := targeting.Compile(workspace, spec, groups(t))
	want := []targeting.Problem{
		{Field: "spec.targets[0].clusterSelector", Message: `does not parse: "Oops" is not a valid label selector operator`},
		{Field: "spec.targets[1].clusterGroup", Message: `there is no ClusterGroup "missing" in namespace fleet-default: create it, or correct the name`},
		{Field: "spec.targets[4].clusterGroupSelector", Message: `does not parse: values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty`},
		{Field: "spec.targets[4]", Message: `the selector of ClusterGroup "broken" does not parse: correct it`},
		{Field: "spec.targetRestrictions[1].clusterGroup", Message: `there is no ClusterGroup "alsoMissing" in namespace fleet-default: create it, or correct the name`},
	}
	if diff := cmp.Diff(want, m.Problems()); diff != "" {
		t.Errorf("Problems() differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"alsoMissing", "broken", "devs", "missing"}, m.Groups()); diff != "" {
		t.Errorf("Groups() differs (-want +got):\n%s", diff)
	}

	fine := targeting.Compile(workspace, specOf(t, `targets: [{clusterGroup: devs}, {clusterName: x}, {name: nothing}]`), groups(t))
	if got := fine.Problems(); len(got) != 0 {
		t.Errorf("Problems() = %v, want none: a broken group that nobody means is nobody's problem", got)
	}
}

func TestUsesGroups(t *testing.T) {
	for spec, want := range map[string]bool{
		`targets: [{clusterName: one}, {clusterSelector: {}}]`:                     false,
		`targets: [{clusterName: one}, {clusterGroup: devs}]`:                      true,
		`targets: [{clusterGroupSelector: {}}]`:                                    true,
		`{targets: [{clusterName: one}], targetRestrictions: [{clusterGroup: x}]}`: true,
	} {
		if got := targeting.Compile(workspace, specOf(t, spec), nil).UsesGroups(); got != want {
			t.Errorf("%s: UsesGroups() = %v", spec, got)
		}
	}
}

func TestMatchLeavesTheBundleAlone(t *testing.T) {
	spec := specOf(t, `{targetCustomizationMode: AllMatches, targets: [{name: a, clusterSelector: {}}, {name: b, clusterSelector: {}}, {name: c, clusterName: one}]}`)
	before, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	m := targeting.Compile(workspace, spec, groups(t))
	for range 3 {
		for _, c := range clusters() {
			d := m.Match(c)
			want := []string{"a", "b"}
			if c.Name == "one" {
				want = append(want, "c")
			}
			var got []string
			for _, custom := range d.Customizations {
				got = append(got, custom.Name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("cluster %s (-want +got):\n%s", c.Name, diff)
			}
		}
	}
	after, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the spec was changed")
	}
}
