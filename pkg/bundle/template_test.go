package bundle_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

func facts() bundle.ClusterFacts {
	return bundle.ClusterFacts{
		ClusterNamespace: "fleet-default",
		ClusterName:      "c-1",
		Labels: map[string]string{
			"env": "dev", "replicas": "3", "on": "on", "version": "1.10", "long-name": "x",
			"management.cattle.io/cluster-display-name": "shown",
			"fleet.cattle.io/region":                    "eu",
			"provider.cattle.io":                        "plain name",
			"provider.cattle.io/os":                     "hidden",
			"kubectl.kubernetes.io/x":                   "hidden",
		},
		Annotations: map[string]string{
			"motd": "hello: world", "hash": "abc #def", "ca": "-----BEGIN\nMII\n-----END\n",
			"secret.cattle.io/token": "hidden",
		},
		TemplateValues: map[string]any{
			"domain": "example.org", "port": int64(8080), "nothing": nil,
			"nested": map[string]any{"tier": map[string]any{"name": "gold"}},
			"hosts":  []any{"a", "b"},
		},
	}
}

// TestTemplate evaluates values written as YAML, as users do.
func TestTemplate(t *testing.T) {
	tests := []struct {
		name, values, want string
	}{
		{"no templates", `{a: x, b: [1, true, null, 1.5], c: {}}`, `{a: x, b: [1, true, null, 1.5], c: {}}`},
		{"name and namespace", `{a: "${ .ClusterName }", b: "${ .ClusterNamespace }"}`, `{a: c-1, b: fleet-default}`},
		{"labels", `a: ${ .ClusterLabels.env }-x`, `a: dev-x`},
		{"a label whose name is no identifier", `a: ${ get .ClusterLabels "long-name" }`, `a: x`},
		{"annotations", `a: ${ .ClusterAnnotations.motd | quote }`, `a: "hello: world"`},
		{"values of the cluster", `a: https://x.${ .ClusterValues.domain }/${ .ClusterValues.nested.tier.name }`, `a: https://x.example.org/gold`},
		{"in lists and objects", `a: [{b: ["${ .ClusterName }"]}]`, `a: [{b: [c-1]}]`},
		{"names of fields", `{"${ .ClusterLabels.env }": {"x-${ .ClusterName }": 1}}`, `dev: {x-c-1: 1}`},
		{"several in one string", `a: ${ .ClusterName }/${ .ClusterLabels.env }`, `a: c-1/dev`},
		{"if and else", `a: ${ if eq .ClusterLabels.env "dev" }small${ else }large${ end }`, `a: small`},
		{"default of a missing label", `a: ${ get .ClusterLabels "none" | default "d" }`, `a: d`},
		{"hasKey guards a missing label", `a: ${ if hasKey .ClusterLabels "none" }${ .ClusterLabels.none }${ else }missing${ end }`, `a: missing`},
		{"functions of sprig", `a: ${ .ClusterValues.hosts | join "," | upper }`, `a: A,B`},
		{"variables", `a: ${ $x := .ClusterName }${ $x }${ $x }`, `a: c-1c-1`},
		{"keys are sorted", `a: ${ keys .ClusterValues | join "," }`, `a: domain,hosts,nested,nothing,port`},
		{"values are sorted by key", `a: ${ values (dict "b" 1 "a" 2) | join "," }`, `a: "2,1"`},
		{"merge leaves its arguments alone", `a: ${ $d := dict "x" 1 }${ $e := merge $d (dict "y" 2) }x${ toJson $d }${ toJson $e }`, `a: 'x{"x":1}{"x":1,"y":2}'`},
		{"empty map for a cluster without values", `a: ${ hasKey .ClusterValues "x" }`, `a: false`},

		{"a number", `a: ${ .ClusterLabels.replicas }`, `a: 3`},
		{"a number of the cluster", `a: ${ .ClusterValues.port }`, `a: 8080`},
		{"a number with quotes stays text", `a: ${ .ClusterLabels.version | quote }`, `a: "1.10"`},
		{"a number with single quotes stays text", `a: ${ .ClusterLabels.version | squote }`, `a: "1.10"`},
		{"as YAML has it", `a: ${ .ClusterLabels.on }`, `a: true`},
		{"nothing is null", `a: ${ get .ClusterLabels "none" }`, `a: null`},
		{"a list", `a: ${ list 1 2 3 | toJson }`, `a: [1, 2, 3]`},
		{"an object", `a: ${ .ClusterValues.nested | toJson }`, `a: {tier: {name: gold}}`},
		{"a large whole number keeps its digits", `a: ${ print 9007199254740993 }`, `a: 9007199254740993`},
		{"text with a colon stays text", `a: ${ .ClusterAnnotations.motd }`, `a: "hello: world"`},
		{"text with a hash keeps all of it", `a: ${ .ClusterAnnotations.hash }`, `a: "abc #def"`},
		{"text of several lines stays as it is", `a: ${ .ClusterAnnotations.ca }`, "a: \"-----BEGIN\\nMII\\n-----END\""},
		{"a quoted string stays text", `a: "${ .ClusterLabels.replicas }: "`, `a: "3: "`},
		{"a string that YAML quotes stays text", `a: "x: ${ .ClusterLabels.replicas }"`, `a: "x: 3"`},

		{"a block", "a: |\n  x=${ .ClusterName }\n  y\n", `a: "x=c-1\ny\n"`},
		{"a block of several lines of text", "a: |-\n  x\n  ${ .ClusterAnnotations.ca }", `a: "x\n-----BEGIN\nMII\n-----END"`},
		{
			"a block with a loop", "a: |-\n  ${- range $k, $v := .ClusterValues.nested }\n  - ${ $k }\n  ${- end }\n",
			`a: "- tier"`,
		},
		{"a block that becomes empty", "a: |\n  ${ if false }x${ end }\n", `a: ""`},
		{"a block that keeps its end", "a: |+\n  ${ .ClusterName }\n\n", `a: "c-1\n\n"`},

		{"label reference", `{a: global.fleet.clusterLabels.env, b: [global.fleet.clusterLabels.env], c: {d: global.fleet.clusterLabels.env}}`, `{a: dev, b: [dev], c: {d: dev}}`},
		{"label reference stays text", `a: global.fleet.clusterLabels.replicas`, `a: "3"`},
		{"label reference to a missing label", `a: global.fleet.clusterLabels.none`, `a: ""`},
		{"label reference to a hidden label", `a: global.fleet.clusterLabels.provider.cattle.io/os`, `a: ""`},
		{"label reference to a shown label", `a: global.fleet.clusterLabels.fleet.cattle.io/region`, `a: eu`},
		{"label reference inside of text is text", `a: x global.fleet.clusterLabels.env`, `a: x global.fleet.clusterLabels.env`},

		{
			"which labels are visible", `a: ${ keys .ClusterLabels | join "," }`,
			`a: env,fleet.cattle.io/region,long-name,management.cattle.io/cluster-display-name,on,provider.cattle.io,replicas,version`,
		},
		{"which annotations are visible", `a: ${ keys .ClusterAnnotations | join "," }`, `a: ca,hash,motd`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			given := helmOptions(t, tt.values, nil)
			before := *given.DeepCopy()
			got, err := bundle.Template(given, facts())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(valuesOf(t, tt.want), got.Helm.Values.Data); diff != "" {
				t.Errorf("Template() differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, given); diff != "" {
				t.Errorf("Template() changed its argument:\n%s", diff)
			}
		})
	}
}

func TestTemplateValues(t *testing.T) {
	tests := []struct {
		name      string
		values    string
		templates map[string]string
		want      string
	}{
		{
			name:      "read as YAML",
			templates: map[string]string{"a": "x: ${ .ClusterLabels.replicas }\ny: [${ .ClusterName }]"},
			want:      `a: {x: 3, y: [c-1]}`,
		},
		{
			name:      "win over values",
			values:    `{a: {b: 1}, c: 2}`,
			templates: map[string]string{"a": "new"},
			want:      `{a: new, c: 2}`,
		},
		{
			name:      "a loop makes a list",
			templates: map[string]string{"a": "${- range .ClusterValues.hosts }\n- name: ${ . }\n${- end }"},
			want:      `a: [{name: a}, {name: b}]`,
		},
		{
			name:      "their names are not evaluated",
			templates: map[string]string{"${ .ClusterName }": "1"},
			want:      `{"${ .ClusterName }": 1}`,
		},
		{
			name:      "nothing is null",
			templates: map[string]string{"a": "${ if false }x${ end }"},
			want:      `a: null`,
		},
		{
			name:      "anchors",
			templates: map[string]string{"a": "x: &x {k: 1}\ny: *x"},
			want:      `a: {x: {k: 1}, y: {k: 1}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := bundle.Template(helmOptions(t, tt.values, tt.templates), facts())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(valuesOf(t, tt.want), got.Helm.Values.Data); diff != "" {
				t.Errorf("Template() differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTemplateErrors(t *testing.T) {
	deep := strings.Repeat("{a: ", 60) + "1" + strings.Repeat("}", 60)
	tests := []struct {
		name      string
		values    string
		templates map[string]string
		field     string
		reason    string
	}{
		{
			name: "the field is named", values: `{a: {b: [x, "${ .ClusterLabels.none }"]}}`,
			field: "values.a.b[1]", reason: "the cluster has no .ClusterLabels.none",
		},
		{
			name: "unusual names are quoted and cut", values: `{"a.b c": {"` + strings.Repeat("x", 90) + `": "${ .ClusterValues.none.x }"}}`,
			field:  `values["a.b c"]["` + strings.Repeat("x", 40) + `…"]`,
			reason: "the cluster has no .ClusterValues.none.x",
		},
		{
			name: "missing in a variable", values: `{a: "${ $x := .ClusterLabels }${ $x.none }"}`,
			field: "values.a", reason: `there is no "none"`,
		},
		{
			name: "in the name of a field", values: `{"${ .ClusterLabels.none }": 1}`,
			field: `values["${ .ClusterLabels.none }"]`, reason: "the cluster has no .ClusterLabels.none",
		},
		{
			name: "two names become one", values: `{"${ .ClusterName }": 1, c-1: 2}`,
			field: `values.c-1`, reason: "its name, evaluated, is that of another field",
		},
		{
			name: "does not parse", values: `{a: "x ${ s3cret"}`,
			field: "values.a", reason: "the template does not parse: unclosed action in line 1",
		},
		{
			name: "does not parse in a later line", values: "a: |\n  x\n  ${ \"s3cret }\n",
			field: "values.a", reason: "the template does not parse: unterminated quoted string in line 3",
		},
		{
			name: "of templateValues", templates: map[string]string{"a": "${ .ClusterLabels.none }"},
			field: "templateValues.a", reason: "the cluster has no .ClusterLabels.none",
		},
		{
			name: "result that is no YAML", templates: map[string]string{"a": "s3cret: [${ .ClusterName }"},
			field: "templateValues.a", reason: "its result cannot be read as YAML",
		},
		{
			name: "list that does not end", values: `{a: "${ print \"[s3cret\" }"}`,
			field: "values.a", reason: "its result begins like a list or an object, but cannot be read as YAML",
		},
		{
			name: "a function fails", values: `{a: "${ fail \"s3cret\" }"}`,
			field: "values.a", reason: "the function fail failed",
		},
		{
			name: "a function panics", values: `{a: "${ div 1 0 }"}`,
			field: "values.a", reason: "the function div failed",
		},
		{
			name: "wrong arguments", values: `{a: "${ upper 1 }"}`,
			field: "values.a", reason: "the template cannot be evaluated for this cluster",
		},
		{
			name: "a function that is not there", values: `{a: "${ lookup \"v1\" \"Secret\" \"s3cret\" \"x\" }"}`,
			field: "values.a", reason: "the function lookup is not available in values: there is none of this name",
		},
		{
			name: "env", values: `{a: "${ env \"HOME\" }"}`,
			field: "values.a", reason: "the function env is not available in values: it reads the environment of the manager",
		},
		{
			name: "expandenv", values: `{a: "${ expandenv \"$HOME\" }"}`,
			field: "values.a", reason: "the function expandenv is not available in values: it reads the environment of the manager",
		},
		{
			name: "getHostByName", values: `{a: "${ getHostByName \"localhost\" }"}`,
			field: "values.a", reason: "the function getHostByName is not available in values: it reads the environment of the manager",
		},
		{
			name: "include", values: `{a: "${ include \"values\" . }"}`,
			field: "values.a", reason: "the function include is not available in values: there is none of this name",
		},
		{
			name: "tpl", values: `{a: "${ tpl \"x\" . }"}`,
			field: "values.a", reason: "the function tpl is not available in values: there is none of this name",
		},
		{
			name: "too deep", values: deep,
			field: "values" + strings.Repeat(".a", 51), reason: "nested deeper than 50 levels",
		},
		{
			name: "define", values: `{a: "${ define \"x\" }${ end }"}`,
			field: "values.a", reason: "define, block and template are not available in values",
		},
		{
			name: "template", values: `{a: "${ template \"values\" }"}`,
			field: "values.a", reason: "define, block and template are not available in values",
		},
		{
			name: "a dropped result", values: `{a: "${ $_ := merge .ClusterValues (dict) }"}`,
			field: "values.a", reason: "a result is dropped into $_, but functions do not change their arguments: use the result",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := bundle.Template(helmOptions(t, tt.values, tt.templates), facts())
			var got *bundle.TemplateError
			if !errors.As(err, &got) {
				t.Fatalf("Template() error = %v, want a TemplateError", err)
			}
			if diff := cmp.Diff(&bundle.TemplateError{Field: tt.field, Reason: tt.reason}, got); diff != "" {
				t.Errorf("error differs (-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error quotes the values: %v", err)
			}
		})
	}
}

// Templates are evaluated whatever labels the cluster has: none, or none that they may see.
func TestTemplateWithoutLabels(t *testing.T) {
	for name, labels := range map[string]map[string]string{"none": nil, "hidden ones": {"provider.cattle.io/os": "linux"}} {
		t.Run(name, func(t *testing.T) {
			given := helmOptions(t, `a: ${ .ClusterName }`, map[string]string{"b": "[${ .ClusterName }]"})
			got, err := bundle.Template(given, bundle.ClusterFacts{ClusterName: "bare", Labels: labels})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(valuesOf(t, `{a: bare, b: [bare]}`), got.Helm.Values.Data); diff != "" {
				t.Errorf("Template() differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDisablePreProcessLeavesValuesUntouched(t *testing.T) {
	const values = `{a: "${ .ClusterName }", b: global.fleet.clusterLabels.env, "${ x": "${ nonsense", c: [1, null]}`
	given := helmOptions(t, values, map[string]string{"a": "${ .ClusterName }"})
	given.Helm.DisablePreProcess = new(bool)
	*given.Helm.DisablePreProcess = true
	got, err := bundle.Template(given, facts())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(valuesOf(t, values), got.Helm.Values.Data); diff != "" {
		t.Errorf("Template() differs (-want +got):\n%s", diff)
	}
}

// Fleet puts these empty objects into its digests, so identities have to cover them.
func TestTemplateKeepsIdentities(t *testing.T) {
	bare := bundle.ClusterFacts{ClusterName: "bare", Labels: map[string]string{"x.cattle.io/hidden": "y"}}
	tests := []struct {
		options string
		facts   bundle.ClusterFacts
		want    string
	}{
		{`{}`, facts(), `{"helm":{}}`},
		{`{"helm":{"chart":"c"}}`, facts(), `{"helm":{"chart":"c","values":{}}}`},
		{`{}`, bare, `{}`},
		{`{"helm":{"chart":"c"}}`, bare, `{"helm":{"chart":"c"}}`},
	}
	for _, tt := range tests {
		got, err := bundle.Template(options(t, tt.options), tt.facts)
		if err != nil {
			t.Fatal(err)
		}
		if text(t, got) != tt.want {
			t.Errorf("Template(%s) = %s, want %s", tt.options, text(t, got), tt.want)
		}
	}
}

func TestTemplateNumbers(t *testing.T) {
	given := helmOptions(t, `{}`, nil)
	given.Helm.Values.Data = map[string]any{"int": 1, "int32": int32(2), "float32": float32(0.5)}
	got, err := bundle.Template(given, facts())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"int": int64(1), "int32": int64(2), "float32": 0.5}
	if diff := cmp.Diff(want, got.Helm.Values.Data); diff != "" {
		t.Errorf("Template() differs (-want +got):\n%s", diff)
	}
	for _, bad := range []any{math.NaN(), math.Inf(1), struct{}{}, map[any]any{}, func() {}} {
		given.Helm.Values.Data = map[string]any{"a": []any{bad}}
		_, err := bundle.Template(given, facts())
		if err == nil || !strings.Contains(err.Error(), "values.a[0]: a value of type ") {
			t.Errorf("Template() with %T: error = %v", bad, err)
		}
	}
}

func TestSplitValuesOfTemplate(t *testing.T) {
	templated, err := bundle.Template(helmOptions(t, `a: ${ .ClusterName }`, map[string]string{"b": "${ 1 }"}), facts())
	if err != nil {
		t.Fatal(err)
	}
	stripped, values, _ := bundle.SplitValues(templated)
	if got, want := fmt.Sprint(text(t, stripped), string(values)), `{"helm":{}}{"a":"c-1","b":1}`; got != want {
		t.Errorf("SplitValues(Template()) = %s, want %s", got, want)
	}
}

func helmOptions(t testing.TB, values string, templates map[string]string) fleet.BundleDeploymentOptions {
	t.Helper()
	helm := &fleet.HelmOptions{TemplateValues: templates}
	if values != "" {
		helm.Values = &fleet.GenericMap{Data: valuesOf(t, values)}
	}
	return fleet.BundleDeploymentOptions{Helm: helm}
}

func valuesOf(t testing.TB, text string) map[string]any {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var m fleet.GenericMap
	if err := m.UnmarshalJSON(raw); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m.Data
}
