package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLint(t *testing.T) {
	const object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	chart := func(files map[string]string) map[string]string {
		files["app/Chart.yaml"] = "apiVersion: v2\nname: app\nversion: 1.0.0\n"
		return files
	}
	for name, test := range map[string]struct {
		files map[string]string
		args  []string
		want  []string
		code  int
	}{
		"nothing to say": {files: map[string]string{"app/fleet.yaml": "defaultNamespace: x\n", "app/a.yaml": object}},
		"an unknown field is a warning": {
			files: map[string]string{"app/fleet.yaml": "defaultNamespace: x\nhelm:\n  relaseName: y\n", "app/a.yaml": object},
			want:  []string{`app/fleet.yaml:3:3: warning: helm.relaseName: there is no field "relaseName", so it is ignored; did you mean "releaseName"?`},
		},
		"warnings count": {
			files: map[string]string{"app/fleet.yaml": "defaultNamspace: x\n", "app/a.yaml": object}, args: []string{"--strict"}, code: ExitNo,
			want: []string{`app/fleet.yaml:1:1: warning: defaultNamspace: there is no field "defaultNamspace", so it is ignored; did you mean "defaultNamespace"?`},
		},
		"a wrong type is an error": {
			files: map[string]string{"app/fleet.yaml": "helm:\n  timeoutSeconds: soon\n", "app/a.yaml": object}, code: ExitNo,
			want: []string{"app/fleet.yaml:2:19: error: helm.timeoutSeconds: the value must be a whole number"},
		},
		"broken YAML": {
			files: map[string]string{"app/fleet.yaml": "helm: [\n", "app/a.yaml": object, "b/b.yaml": "a: b: c\n"}, code: ExitNo,
			want: []string{
				"app/fleet.yaml:1: error: the YAML cannot be parsed: did not find expected node content",
				"b/b.yaml:1: error: the YAML cannot be parsed: mapping values are not allowed in this context",
			},
		},
		"a template of the chart": {
			files: chart(map[string]string{"app/fleet.yaml": "", "app/templates/a.yaml": "a: 1\nb: {{ .Values.x.y }}\n"}), code: ExitNo,
			want: []string{"app/templates/a.yaml:2: error: "},
		},
		"one environment only": {
			files: map[string]string{
				"app/fleet.yaml": "targetCustomizations:\n- name: prod\n  clusterName: c\n  yaml: {overlays: [prod]}\n", "app/a.yaml": object,
				"app/overlays/prod/b_patch.yaml": "x: y\n",
			},
			code: ExitNo,
			want: []string{"app/overlays/prod/b_patch.yaml: error: target prod: there is no b.yaml to patch"},
		},
		"a template of the values": {
			files: chart(map[string]string{"app/fleet.yaml": "helm: {values: {a: '${ if }', b: '${ .ClusterLabels.x }'}}\n"}), code: ExitNo,
			want: []string{"app: error: values.a: the template does not parse: missing value for in line 1"},
		},
		"what needs a cluster is left to it": {
			files: chart(map[string]string{"app/fleet.yaml": "helm: {values: {b: '${ .ClusterLabels.x }'}}\n", "app/templates/a.yaml": object}),
		},
		"an empty path": {
			files: map[string]string{"app/a.yaml": object}, args: []string{"--path", "app", "--path", "gone"}, code: ExitNo,
			want: []string{"gone: error: no bundle is there"},
		},
		"one folder only": {
			files: map[string]string{"app/a.yaml": object, "bad/fleet.yaml": "helm: [\n"}, args: []string{"--path", "app"},
		},
		"what customizations repair is a warning": {
			files: map[string]string{
				"app/fleet.yaml": "targetCustomizations:\n- {name: dev, clusterName: c, kustomize: {dir: dev}}\n", "app/a.yaml": object,
				"app/dev/kustomization.yaml": "resources: [../base]\n", "app/base/kustomization.yaml": "resources: [b.yaml]\n", "app/base/b.yaml": object,
			},
			want: []string{"app/base/kustomization.yaml:1: warning: where no customization matches: a kustomization in a bundle of plain manifests: name its folder in kustomize.dir, or leave it out with a .fleetignore"},
		},
		"folders that are not there": {
			files: map[string]string{"app/fleet.yaml": "yaml: {overlays: [nowhere]}\n", "app/a.yaml": object}, code: ExitNo,
			want: []string{
				"app: error: yaml.overlays names nowhere, but the bundle has no files in overlays/nowhere",
				"app/fleet.yaml:1:19: warning: yaml.overlays[0]: there are no files in overlays/nowhere",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, "", append([]string{"lint", folder(t, test.files)}, test.args...)...)
			if code := exitCode(&strings.Builder{}, got.failure); code != test.code || got.err != "" {
				t.Errorf("exit code %d, want %d: %v %s", code, test.code, got.failure, got.err)
			}
			var lines []string
			for line := range strings.Lines(got.out) {
				lines = append(lines, strings.TrimSuffix(line, "\n"))
			}
			for i := range min(len(lines), len(test.want)) {
				if strings.HasSuffix(test.want[i], "error: ") && strings.HasPrefix(lines[i], test.want[i]) {
					lines[i] = test.want[i] // what Helm says of templates is Helm's
				}
			}
			if diff := cmp.Diff(test.want, lines); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestLintFails(t *testing.T) {
	for name, args := range map[string][]string{
		"no folder": {}, "a missing folder": {filepath.Join(t.TempDir(), "gone")}, "both forms": {"--path", "a", "--bundles", "b", "."},
	} {
		got := run(t, "", append([]string{"lint"}, args...)...)
		if code := exitCode(&strings.Builder{}, got.failure); code != ExitError || got.out != "" {
			t.Errorf("%s: exit code %d, %v, %q", name, code, got.failure, got.out)
		}
	}
}
