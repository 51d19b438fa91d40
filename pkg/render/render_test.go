package render

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func TestReleaseNames(t *testing.T) {
	for name, test := range map[string]struct {
		bundle    string
		options   fleet.BundleDeploymentOptions
		release   string
		namespace string
	}{
		"by default":         {"My_Repo/Path", fleet.BundleDeploymentOptions{}, "my-repo-path-0820c0ee", "default"},
		"as the options say": {"x", fleet.BundleDeploymentOptions{Helm: &fleet.HelmOptions{ReleaseName: "rel"}, DefaultNamespace: "a"}, "rel", "a"},
		"forced":             {"x", fleet.BundleDeploymentOptions{DefaultNamespace: "a", TargetNamespace: "b"}, "x", "b"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Release(Input{BundleName: test.bundle, Options: test.options})
			if err != nil || got.ReleaseName != test.release || got.Namespace != test.namespace {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestGeneratedChart(t *testing.T) {
	for name, test := range map[string]struct {
		in   Input
		want chart.Metadata
	}{
		"of a commit": {
			Input{BundleName: "repo-path", Commit: "0123456789abcdef0123", DeploymentID: "s-abc:def"},
			chart.Metadata{APIVersion: "v2", Name: "repo-path", Version: "v0.0.0+git-0123456789ab", Type: "application"},
		},
		"of a short commit": {
			Input{BundleName: "a/b", Commit: "0123"},
			chart.Metadata{APIVersion: "v2", Name: "b", Version: "v0.0.0+git-0123", Type: "application"},
		},
		"of a content": {
			Input{BundleName: "b", DeploymentID: "s-abc:def"},
			chart.Metadata{APIVersion: "v2", Name: "b", Version: "v0.0.0+s-abc", Type: "application"},
		},
		"of strange names": {
			Input{BundleName: "b", Commit: "ü/main+1"},
			chart.Metadata{APIVersion: "v2", Name: "b", Version: "v0.0.0+git--main-1", Type: "application"},
		},
		"of nothing": {
			Input{BundleName: "b"},
			chart.Metadata{APIVersion: "v2", Name: "b", Version: "v0.0.0", Type: "application"},
		},
		"annotated": {
			Input{BundleName: "b", ChartAnnotations: map[string]string{"fleet.cattle.io/bundle-id": "x"}},
			chart.Metadata{APIVersion: "v2", Name: "b", Version: "v0.0.0", Type: "application", Annotations: map[string]string{"fleet.cattle.io/bundle-id": "x"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Release(test.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&test.want, got.Chart.Metadata); diff != "" {
				t.Error(diff)
			}
			if err := got.Chart.Validate(); err != nil {
				t.Errorf("Helm does not take the chart: %v", err)
			}
		})
	}
	_, err := Release(Input{})
	wantError(t, err, "the bundle has no name")
}

func TestChartAnnotations(t *testing.T) {
	in := files{"Chart.yaml": chartFile("c") + "annotations: {own: a, both: own}\n"}.input()
	in.ChartAnnotations = map[string]string{"both": "ours", "ours": "b"}
	got, err := Release(in)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"own": "a", "both": "ours", "ours": "b"}
	if diff := cmp.Diff(want, got.Chart.Metadata.Annotations); diff != "" {
		t.Error(diff)
	}
}

// TestInputIsNotChanged: options and labels belong to the caller's cache, and
// Helm writes into the values it is given.
func TestInputIsNotChanged(t *testing.T) {
	in := files{
		"Chart.yaml":       chartFile("c"),
		"values.yaml":      "a: {b: 1}\n",
		"templates/a.yaml": configMap("a") + "data: {x: {{ .Values.a.c | quote }}}\n",
	}.input()
	in.Options.Helm = &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"a": map[string]any{"c": "2"}}}}
	before := in.Options.DeepCopy()
	if _, err := Objects(in); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*before, in.Options); diff != "" {
		t.Errorf("the options have changed: %s", diff)
	}
}

// TestPostRendererAgain: Helm runs a post-renderer once for every attempt.
func TestPostRendererAgain(t *testing.T) {
	in := files{"templates/a.yaml": configMap("a"), "b.yaml": configMap("b")}.input()
	in.Labels = map[string]string{"x": "y"}
	rendered, err := Release(in)
	if err != nil {
		t.Fatal(err)
	}
	run := func() string {
		out, err := rendered.PostRenderer.Run(bytes.NewBufferString("---\n# Source: bundle/templates/a.yaml\n" + configMap("a")))
		if err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	first := run()
	if diff := cmp.Diff(first, run()); diff != "" {
		t.Errorf("the second run differs: %s", diff)
	}
	want := `---
# Source: templates/a.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  labels:
    x: "y"
  name: a
  namespace: default
---
# Source: b.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  labels:
    x: "y"
  name: b
  namespace: default
`
	if diff := cmp.Diff(want, first); diff != "" {
		t.Error(diff)
	}
}

func TestPlain(t *testing.T) {
	for name, test := range map[string]struct {
		files files
		want  []string
	}{
		"nothing": {files: files{"README.md": "x"}},
		"manifests of every name": {
			files: files{"a.yaml": configMap("a"), "b/b.yml": configMap("b"), "c.json": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}`, "d.txt": configMap("d")},
			want:  []string{"ConfigMap default/a", "ConfigMap default/b", "ConfigMap default/c"},
		},
		"neither fleet.yaml nor what is deployed on its own": {
			files: files{
				"fleet.yml": "namespace: x", "a.yaml": configMap("a"),
				"b/fleet.yaml": "", "b/b.yaml": configMap("b"), "b/c/c.yaml": configMap("c"),
				"bb/d.yaml": configMap("d"), "chart/Chart.yaml": "", "chart/templates/e.yaml": "{{",
				"e/fleet.yml": "", "e/e.yaml": configMap("e"),
				".chart/abc/x/Chart.yaml": "", ".chart/abc/values.yaml": "a: 1",
			},
			want: []string{"ConfigMap default/a", "ConfigMap default/d"},
		},
		"templates at the root only": {
			files: files{"templates/a.yaml": configMap("{{ .Release.Name }}"), "x/templates/b.yaml": configMap("b") + "data: {a: '{{ .Release.Name }}'}\n"},
			want:  []string{"ConfigMap default/b", "ConfigMap default/bundle"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, namesOf(t, test.files.input())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLiteralsStayLiteral: no template engine touches what is not a template.
func TestLiteralsStayLiteral(t *testing.T) {
	const tricky = `{{ .Values.x }} ${ .ClusterName } {{- fail "!" -}} $(VAR) \{{`
	body := configMap("a") + "data:\n  a: |-\n    " + tricky + "\n"
	for name, f := range map[string]files{
		"plain":           {"a.yaml": body},
		"with templates":  {"a.yaml": body, "templates/b.yaml": configMap("b")},
		"kustomized":      {"a.yaml": body, "kustomization.yaml": "resources: [a.yaml]\n"},
		"generated":       {"x": tricky, "kustomization.yaml": "configMapGenerator: [{name: a, files: [a=x]}]\ngeneratorOptions: {disableNameSuffixHash: true}\n"},
		"beside a chart":  {"Chart.yaml": chartFile("c"), "a.yaml": body, "kustomization.yaml": "resources: [a.yaml]\n"},
		"in a CRD folder": {"Chart.yaml": chartFile("c"), "crds/a.yaml": body},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := Objects(f.input())
			if err != nil {
				t.Fatal(err)
			}
			data, _ := objects[0].Object["data"].(map[string]any)
			if data["a"] != tricky {
				t.Errorf("got %q", data["a"])
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	in := files{
		"Chart.yaml": chartFile("c") + "kubeVersion: '>=1.30.0-0'\n",
		"templates/a.yaml": configMap("a") + "data:\n  version: {{ .Capabilities.KubeVersion.Version }}\n" +
			"  has: {{ .Capabilities.APIVersions.Has \"example.org/v1\" | quote }}\n",
	}.input()
	in.KubeVersion, in.APIVersions = "v1.31.2", []string{"example.org/v1"}
	objects, err := Objects(in)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"version": "v1.31.2", "has": "true"}
	if diff := cmp.Diff(want, objects[0].Object["data"]); diff != "" {
		t.Error(diff)
	}
	in.KubeVersion = "v1.20.0"
	_, err = Objects(in)
	wantError(t, err, "Chart.yaml: chart requires kubeVersion: >=1.30.0-0 which is incompatible with Kubernetes v1.20.0")
	in.KubeVersion = "hidden!"
	_, err = Objects(in)
	wantError(t, err, "is not a version")
}

func TestHookNamespaces(t *testing.T) {
	hook := func(name, ns string) string {
		return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ns + ", annotations: {helm.sh/hook: pre-install}}\n"
	}
	in := files{
		"Chart.yaml":       chartFile("c"),
		"templates/a.yaml": hook("a", "") + hook("b", ", namespace: own") + strings.ReplaceAll(hook("c", ""), "pre-install", "post-delete"),
	}.input()
	in.Options.TargetNamespace = "web"
	want := []string{"ConfigMap own/b", "ConfigMap web/a"}
	if diff := cmp.Diff(want, namesOf(t, in)); diff != "" {
		t.Error(diff)
	}
}
