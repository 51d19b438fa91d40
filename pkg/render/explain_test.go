package render

import (
	"errors"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// TestExplain lets Helm fail on charts and checks what users get to read.
func TestExplain(t *testing.T) {
	chartOf := func(template string) files {
		return files{"sub/Chart.yaml": chartFile("app"), "sub/templates/a.yaml": template}
	}
	values := map[string]any{
		"password": "hunter2!", "pin": int64(48151), "short": "ab", "word": "app",
		"multi": "first-line\nsecond-line", "list": []any{map[string]any{"deep": "very-secret"}}, "yes": true,
		"broken": "{{ \"token\" }",
	}
	for name, test := range map[string]struct {
		files files
		want  string
	}{
		"a template that does not parse":  {chartOf("a: 1\n{{ if }}"), "sub/templates/a.yaml:2: rendering: missing value for if"},
		"a function that is not there":    {chartOf("\n\n{{ nothing }}"), `sub/templates/a.yaml:3: rendering: function "nothing" not defined`},
		"required":                        {chartOf(`{{ required "set .Values.host" .Values.host }}`), "sub/templates/a.yaml:1: rendering: set .Values.host"},
		"fail":                            {chartOf("\n" + `{{ fail "no" }}`), "sub/templates/a.yaml:2: rendering: no"},
		"fail with a value":               {chartOf(`{{ fail (printf "bad %s and %d" .Values.password (int .Values.pin)) }}`), "sub/templates/a.yaml:1: rendering: bad <redacted> and <redacted>"},
		"fail with a quoted value":        {chartOf(`{{ fail (printf "bad %q" .Values.multi) }}`), `rendering: bad "<redacted>"`},
		"fail with lines of a value":      {chartOf(`{{ fail .Values.multi }}`), "rendering: <redacted>"},
		"fail with a value deep inside":   {chartOf(`{{ fail (toYaml .Values.list) }}`), "deep: <redacted>"},
		"words of values within words":    {chartOf(`{{ fail "the app, not the apple, absent" }}`), "the <redacted>, not the apple, absent"},
		"a field of nothing":              {chartOf(`{{ .Values.a.b.c }}`), "sub/templates/a.yaml:1: rendering: at <.Values.a.b.c>: nil pointer evaluating interface {}.b"},
		"a field of a text":               {chartOf(`{{ .Values.password.x }}`), "sub/templates/a.yaml:1: rendering: at <.Values.password.x>: can't evaluate field x in type interface {}"},
		"an error in a named template":    {chartOf(`{{ define "x" }}{{ .Values.a.b.c }}{{ end }}{{ include "x" . }}`), "at <.Values.a.b.c>: nil pointer"},
		"output that is no YAML":          {chartOf("a: {{ .Values.password }}: x\nb: ["), "sub/templates/a.yaml: the template renders no valid YAML: "},
		"output that is no object":        {chartOf("a: {{ .Values.password }}"), "sub/templates/a.yaml: the YAML is not an object of Kubernetes: it has no kind"},
		"output that is a list":           {chartOf("- {{ .Values.password }}"), "sub/templates/a.yaml: the template renders no valid YAML: a value is of type array, where another type belongs"},
		"a template in a value":           {chartOf(`{{ tpl .Values.broken . }}`), "sub/templates/a.yaml:1: rendering: at <tpl .Values.broken .>: error calling tpl: cannot parse template"},
		"recursion without end":           {chartOf(`{{ define "x" }}{{ include "x" . }}{{ end }}{{ include "x" . }}`), "sub/templates/a.yaml:1: rendering: "},
		"a template of a subchart":        {chartOf("").with(files{"sub/charts/b/Chart.yaml": chartFile("b"), "sub/charts/b/templates/b.yaml": "\n{{ fail \"no\" }}"}), "sub/charts/b/templates/b.yaml:2: rendering: no"},
		"an error in tpl":                 {chartOf(`{{ tpl "{{ .x }" . }}`), "sub/templates/a.yaml:1: rendering: "},
		"values that do not fit a schema": {chartOf("").with(files{"sub/values.schema.json": `{"properties": {"password": {"type": "integer"}, "pin": {"maximum": 5}, "word": {"pattern": "^x"}}}`}), "sub/values.schema.json: the values do not fit the schema of the chart: "},
		"a schema that is none":           {chartOf("").with(files{"sub/values.schema.json": `{`}), "sub/values.schema.json: the values do not fit the schema of the chart: "},
		"a panic":                         {chartOf(`{{ index .Values.list 7 }}`), "sub/templates/a.yaml:1: rendering: "},
	} {
		t.Run(name, func(t *testing.T) {
			in := test.files.input()
			in.Options.Helm = &fleet.HelmOptions{Chart: "sub", Values: &fleet.GenericMap{Data: values}}
			_, err := Objects(in)
			wantError(t, err, test.want)
			for _, secret := range []string{"hunter2", "48151", "48,151", "first-line", "second-line", "very-secret", "token"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error holds a value: %v", err)
				}
			}
		})
	}
}

func TestExplainPlainTemplates(t *testing.T) {
	_, err := Objects(files{"templates/a.yaml": "\n{{ fail \"no\" }}"}.input())
	wantError(t, err, "templates/a.yaml:2: rendering: no")
}

func TestExplainLeavesOthersAlone(t *testing.T) {
	rendered := &Rendered{Chart: &chart.Chart{}}
	if err := rendered.Explain(nil); err != nil {
		t.Errorf("got %v", err)
	}
	other := errors.New("connection refused")
	if err := rendered.Explain(other); !errors.Is(err, other) || err.Error() != other.Error() {
		t.Errorf("got %v", err)
	}
}
