package bundlereader

import (
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func unpacked(t testing.TB, content string) string {
	t.Helper()
	r, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(content)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEncoding(t *testing.T) {
	if packed, err := pack([]byte("ok")); err != nil || packed != "H4sIAAAAAAAA/8rPBgQAAP//R93ceQIAAAA=" {
		t.Errorf("pack = %q, %v", packed, err)
	}
	got := read(t, map[string]string{"app/text.yaml": "a: é\n", "app/binary": "\xff\x00\x01", "app/z.txt": "\x00 is text"}, Options{Paths: []string{"app"}})
	var names []string
	for _, resource := range got.Bundles[0].Spec.Resources {
		names = append(names, resource.Name+" "+resource.Encoding)
		if resource.Name == "binary" && unpacked(t, resource.Content) != "\xff\x00\x01" {
			t.Errorf("binary content came out as %q", resource.Content)
		}
	}
	if diff := cmp.Diff([]string{"binary base64+gz", "text.yaml ", "z.txt "}, names); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// From a million bytes on everything is compressed, not just what is large.
func TestLargeBundlesAreCompressed(t *testing.T) {
	for _, tc := range []struct {
		size       int
		compressed bool
	}{{990_000, false}, {1_000_000, true}} {
		content := strings.Repeat("# 45678\n", tc.size/8)
		// Newlines take two bytes in JSON.
		content = strings.ReplaceAll(content, "\n", " ")
		got := read(t, map[string]string{"app/large.yaml": content, "app/small.yaml": "a: 1\n"}, Options{Paths: []string{"app"}})
		for _, resource := range got.Bundles[0].Spec.Resources {
			if isCompressed := resource.Encoding != ""; isCompressed != tc.compressed {
				t.Errorf("%d bytes: %s compressed = %v", tc.size, resource.Name, isCompressed)
			}
			if resource.Encoding != "" && resource.Name == "large.yaml" && unpacked(t, resource.Content) != content {
				t.Error("the content does not come out as it went in")
			}
		}
	}
}

// The same commit gives the same bundles, whichever folder is read first.
func TestReadIsDeterministic(t *testing.T) {
	tree := map[string]string{}
	for i := range 40 {
		tree[fmt.Sprintf("apps/a%d/fleet.yaml", i)] = "namespce: x\nlabels: {a: b, c: d}\n"
		tree[fmt.Sprintf("apps/a%d/x.yaml", i)] = "a: 1\n"
	}
	first := read(t, tree, Options{Paths: []string{"apps"}})
	for range 5 {
		if diff := cmp.Diff(first, read(t, tree, Options{Paths: []string{"apps"}})); diff != "" {
			t.Fatalf("two readings differ:\n%s", diff)
		}
	}
	if len(first.Bundles) != 40 || len(first.Findings) != 40 {
		t.Errorf("%d bundles and %d findings", len(first.Bundles), len(first.Findings))
	}
}

func TestMerge(t *testing.T) {
	base := map[string]any{"a": 1, "m": map[string]any{"x": 1, "y": 2}, "l": []any{1, 2}, "gone": 1}
	over := map[string]any{"a": map[string]any{"z": 1}, "m": map[string]any{"y": 3}, "l": []any{3}, "gone": nil}
	want := map[string]any{"a": map[string]any{"z": 1}, "m": map[string]any{"x": 1, "y": 3}, "l": []any{3}, "gone": nil}
	if diff := cmp.Diff(want, merge(base, over)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if base["m"].(map[string]any)["y"] != 2 || over["m"].(map[string]any)["x"] != nil {
		t.Error("merge changed what it merged")
	}
}

func TestSuggestions(t *testing.T) {
	known := fields(reflect.TypeFor[fleet.FleetYAML]())
	elsewhere := fieldPaths(reflect.TypeFor[fleet.FleetYAML]())
	for name, want := range map[string]string{
		"namespce": "namespace", "Namspace": "namespace", "defaultNamspace": "defaultNamespace", "targetCustomization": "targetCustomizations",
		"target": "targets", "lables": "labels", "depndsOn": "dependsOn", "rolloutStategy": "rolloutStrategy", "kustomise": "kustomize",
		"chart": "helm.chart", "values": "helm.values", "overlays": "yaml.overlays", "maxUnavailable": "rolloutStrategy.maxUnavailable",
		"frobnicate": "", "x": "", "": "",
	} {
		if got := suggest(known, elsewhere, name); got != want {
			t.Errorf("suggest(%q) = %q, want %q", name, got, want)
		}
	}
}

// Every field of the API is known, however deep, and every one of them is
// accepted as it is written in the API.
func TestEveryFieldIsKnown(t *testing.T) {
	for _, name := range []string{
		"name", "labels", "annotations", "defaultNamespace", "namespace", "namespaceLabels", "namespaceAnnotations", "serviceAccount", "keepResources",
		"deleteNamespace", "deleteCRDResources", "createNamespace", "paused", "correctDrift", "forceSyncGeneration", "dependsOn", "ignore", "diff",
		"rolloutStrategy", "kustomize", "yaml", "helm", "downstreamResources", "targetCustomizations", "targetCustomizationMode", "targets",
		"overrideTargets", "imageScans",
	} {
		if _, ok := find(fields(reflect.TypeFor[fleet.FleetYAML]()), name); !ok {
			t.Errorf("the field %s is not known", name)
		}
	}
}

func TestTextsAreReadAsTheyAreWritten(t *testing.T) {
	doc, findings := parseOptions([]byte("name: 1.10\nlabels: {a: yes, b: 0123, c: 1e3, d: null, e: \"quoted\"}\nhelm: {version: 2.0, values: {a: yes, b: 1.10}, templateValues: {x: 007}}\n"))
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	if diff := cmp.Diff(map[string]string{"a": "yes", "b": "0123", "c": "1e3", "d": "", "e": "quoted"}, doc.options.Labels); diff != "" {
		t.Errorf("labels (-want +got)\n%s", diff)
	}
	helm := doc.options.Helm
	if doc.options.Name != "1.10" || helm.Version != "2.0" || helm.TemplateValues["x"] != "007" {
		t.Errorf("name %q, version %q, template %q", doc.options.Name, helm.Version, helm.TemplateValues["x"])
	}
	// Values are not texts: they are what the chart's author sees.
	if diff := cmp.Diff(map[string]any{"a": true, "b": 1.1}, helm.Values.Data); diff != "" {
		t.Errorf("values (-want +got)\n%s", diff)
	}
}

func TestWrongTypesAreFound(t *testing.T) {
	for content, want := range map[string]string{
		"helm: text\n":                                    "1:7: helm: the value must be a set of fields",
		"helm:\n  force: perhaps\n":                       "2:10: helm.force: the value must be true or false",
		"helm:\n  values: [1]\n":                          "2:11: helm.values: the value must be a set of fields",
		"helm:\n  valuesFiles: a.yaml\n":                  "2:16: helm.valuesFiles: the value must be a list",
		"helm:\n  timeoutSeconds: 1.5\n":                  "2:19: helm.timeoutSeconds: the value must be a whole number",
		"namespace: [a]\n":                                "1:12: namespace: the value must be a text",
		"labels: {a: {b: c}}\n":                           "1:13: labels.a: the value must be a text",
		"targets:\n- name: a\n- clusterSelector: all\n":   "3:20: targets[1].clusterSelector: the value must be a set of fields",
		"x: &x text\nhelm:\n  maxHistory: *x\n":           "1:4: helm.maxHistory: the value must be a whole number",
		"rolloutStrategy: {maxUnavailable: {a: b}}\n":     "1:35: rolloutStrategy.maxUnavailable: the value must be a number or a percentage",
		"imageScans:\n- image: a\n  interval: [soon]\n":   "3:13: imageScans[0].interval: the value must be a duration such as 15m",
		"diff:\n  comparePatches:\n  - operations: [x]\n": "3:18: diff.comparePatches[0].operations[0]: the value must be a set of fields",
	} {
		_, findings := parseOptions([]byte(content))
		var got []string
		for _, f := range findings {
			if f.Severity == Error {
				f.File = "f"
				got = append(got, strings.TrimPrefix(f.String(), "f:"))
			}
		}
		if diff := cmp.Diff([]string{want}, got); diff != "" {
			t.Errorf("%q (-want +got)\n%s", content, diff)
		}
	}
}

func TestFindingAsText(t *testing.T) {
	for want, f := range map[string]Finding{
		"a/fleet.yaml:3:5: helm.chart: wrong": {File: "a/fleet.yaml", Line: 3, Column: 5, Field: "helm.chart", Message: "wrong"},
		"a/x.yaml:3: wrong":                   {File: "a/x.yaml", Line: 3, Message: "wrong"},
		"a: wrong":                            {Folder: "a", Message: "wrong"},
	} {
		if got := f.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
