package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// output is what a command wrote, and how it ended.
type output struct {
	out, err string
	failure  error
}

func run(t *testing.T, in string, args ...string) output {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd := command("")
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return output{out: stdout.String(), err: stderr.String(), failure: err}
}

// folder writes files and returns their folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func objects(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	for doc := range strings.SplitSeq(text, "---\n") {
		if doc == "" {
			continue
		}
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		found = append(found, o)
	}
	return found
}

func objectNames(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	for _, o := range objects(t, text) {
		found = append(found, o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName())
	}
	return found
}

// shop is a repository: a chart with an environment of its own, and a plain folder.
func shop(t *testing.T) string {
	return folder(t, map[string]string{
		"web/fleet.yaml": `
defaultNamespace: shop
helm:
  values: {replicas: 1, cluster: "${ .ClusterName }"}
targetCustomizations:
- name: prod
  clusterSelector: {matchLabels: {env: prod}}
  helm: {values: {replicas: 3}}
- name: nowhere
  clusterSelector: {matchLabels: {env: closed}}
  doNotDeploy: true
`,
		"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
		"web/templates/web.yaml": `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {cluster: "x{{ .Values.cluster }}"}}
spec: {replicas: {{ .Values.replicas }}}
`,
		"plain/b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
		"plain/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '{{ y }}'}\n",
	})
}

func TestBundle(t *testing.T) {
	got := run(t, "", "bundle", "--name", "shop", "--commit", "0123456789abcdef", "--namespace", "ws",
		"--path", "web", "--path", "plain", "--target-namespace", "forced", shop(t))
	if got.failure != nil || got.err != "" {
		t.Fatalf("%v: %s", got.failure, got.err)
	}
	if diff := cmp.Diff([]string{"Bundle ws/shop-plain", "Bundle ws/shop-web"}, objectNames(t, got.out)); diff != "" {
		t.Fatal(diff)
	}
	for _, b := range objects(t, got.out) {
		if commit := b.GetLabels()["fleet.cattle.io/commit"]; commit != "0123456789abcdef" {
			t.Errorf("commit %q", commit)
		}
		if ns, _, _ := unstructured.NestedString(b.Object, "spec", "namespace"); ns != "forced" {
			t.Errorf("namespace %q", ns)
		}
		if _, set := b.Object["status"]; set {
			t.Error("the status is printed")
		}
	}
}

func TestBundleTargets(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
		".list":     "- {name: one, clusterName: c1}\n- {clusterSelector: {}}\n",
		".mapping":  "targets:\n- {name: one, clusterName: c1}\n- {clusterSelector: {}}\n",
		".empty":    "targets: []\n",
		".unknown":  "targets:\n- {nam: one}\n",
		".unknown2": "- {nam: one}\n",
		".other":    "things: []\n",
	})
	for _, name := range []string{".list", ".mapping"} {
		got := run(t, "", "bundle", "--name", "x", "--targets-file", filepath.Join(dir, name), dir)
		if got.failure != nil {
			t.Fatal(got.failure)
		}
		targets, _, _ := unstructured.NestedSlice(objects(t, got.out)[0].Object, "spec", "targets")
		if len(targets) != 2 || targets[0].(map[string]any)["clusterName"] != "c1" {
			t.Errorf("%s: got %v", name, targets)
		}
	}
	for name, want := range map[string]string{".empty": "holds no targets", ".unknown": "nam", ".unknown2": "nam", ".other": "things", ".missing": "no such file"} {
		got := run(t, "", "bundle", "--name", "x", "--targets-file", filepath.Join(dir, name), dir)
		if got.failure == nil || !strings.Contains(got.failure.Error(), want) || got.out != "" {
			t.Errorf("%s: got %v, %q", name, got.failure, got.out)
		}
	}
}

func TestBundleEntries(t *testing.T) {
	dir := folder(t, map[string]string{
		"web/fleet.yaml":  "defaultNamespace: dev\n",
		"web/prod.yaml":   "defaultNamespace: prod\n",
		"web/object.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
	})
	got := run(t, "", "bundle", "--name", "x", "--bundles", "web", "--bundles", "web:prod.yaml", dir)
	if got.failure != nil {
		t.Fatal(got.failure, got.err)
	}
	namespaces := map[string]bool{}
	for _, b := range objects(t, got.out) {
		ns, _, _ := unstructured.NestedString(b.Object, "spec", "defaultNamespace")
		namespaces[ns] = true
	}
	if diff := cmp.Diff(map[string]bool{"dev": true, "prod": true}, namespaces); diff != "" {
		t.Error(diff)
	}
}

func TestBundleFails(t *testing.T) {
	object := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	dir := folder(t, map[string]string{"good/a.yaml": object, "bad/fleet.yaml": "helm: [\n", "bad/a.yaml": object, "empty/README.md": ""})
	for name, test := range map[string]struct {
		args      []string
		want, err string
		bundles   int
	}{
		"one bad folder":   {args: []string{"--name", "x", dir}, want: "bad", err: "bad/fleet.yaml:", bundles: 1},
		"an empty path":    {args: []string{"--name", "x", "--path", "good", "--path", "nowhere", dir}, want: "match nothing: nowhere", bundles: 1},
		"nothing at all":   {args: []string{"--name", "x", "--path", "empty", dir}, want: "empty"},
		"no name":          {args: []string{dir}, want: `"name" not set`},
		"no folder":        {args: []string{"--name", "x"}, want: "accepts 1 arg"},
		"a missing folder": {args: []string{"--name", "x", filepath.Join(dir, "missing")}, want: "opening the folder"},
		"both forms":       {args: []string{"--name", "x", "--path", "a", "--bundles", "b", dir}, want: "none of the others can be"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, "", append([]string{"bundle"}, test.args...)...)
			if got.failure == nil || !strings.Contains(got.failure.Error(), test.want) {
				t.Errorf("got %v, want %q", got.failure, test.want)
			}
			if !strings.Contains(got.err, test.err) {
				t.Errorf("standard error: %s", got.err)
			}
			if len(objects(t, got.out)) != test.bundles {
				t.Errorf("standard output: %s", got.out)
			}
		})
	}
}

func TestRender(t *testing.T) {
	bundles := run(t, "", "bundle", "--name", "shop", shop(t)).out
	replicas := func(t *testing.T, got output) any {
		t.Helper()
		for _, o := range objects(t, got.out) {
			if o.GetKind() == "Deployment" {
				n, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "replicas")
				return n
			}
		}
		return nil
	}
	for name, test := range map[string]struct {
		args     []string
		replicas any
		label    string
	}{
		"its own options": {replicas: 1.0, label: "x"},
		"a cluster":       {args: []string{"--cluster-name", "c1"}, replicas: 1.0, label: "xc1"},
		"a customization": {args: []string{"--cluster-name", "c2", "--label", "env=prod", "--label", "a=b"}, replicas: 3.0, label: "xc2"},
		"labels alone":    {args: []string{"--label", "env=prod,a=b"}, replicas: 3.0, label: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, bundles, append([]string{"render", "--bundle", "-"}, test.args...)...)
			if got.failure != nil || got.err != "" {
				t.Fatalf("%v: %s", got.failure, got.err)
			}
			want := []string{"ConfigMap default/a", "ConfigMap default/b", "Deployment shop/web"}
			if diff := cmp.Diff(want, objectNames(t, got.out)); diff != "" {
				t.Error(diff)
			}
			if n := replicas(t, got); n != test.replicas {
				t.Errorf("%v replicas", n)
			}
			for _, o := range objects(t, got.out) {
				if o.GetKind() == "Deployment" && o.GetLabels()["cluster"] != test.label {
					t.Errorf("labels %v", o.GetLabels())
				}
				if o.GetLabels()["objectset.rio.cattle.io/hash"] == "" || !strings.HasPrefix(o.GetAnnotations()["objectset.rio.cattle.io/id"], "default-shop") {
					t.Errorf("%s: labels %v, annotations %v", o.GetName(), o.GetLabels(), o.GetAnnotations())
				}
			}
		})
	}
	t.Run("not deployed", func(t *testing.T) {
		got := run(t, bundles, "render", "--bundle", "-", "--label", "env=closed")
		if got.failure == nil || !strings.Contains(got.failure.Error(), "bundle shop-web: not deployed to the cluster: ") {
			t.Errorf("got %v", got.failure)
		}
		if diff := cmp.Diff([]string{"ConfigMap default/a", "ConfigMap default/b"}, objectNames(t, got.out)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("in no group that it targets", func(t *testing.T) {
		got := run(t, bundles, "render", "--bundle", "-", "--cluster-name", "c", "--cluster-group", "other")
		if got.failure == nil || got.out != "" {
			t.Errorf("got %v, %s", got.failure, got.out)
		}
	})
}

func TestRenderFails(t *testing.T) {
	broken := run(t, "", "bundle", "--name", "x", folder(t, map[string]string{
		"fleet.yaml": "helm: {valuesFrom: [{secretKeyRef: {name: s}}]}\ndownstreamResources: [{kind: Secret, name: s}]\n", "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n", "templates/a.yaml": "\n{{ fail \"no\" }}",
	})).out
	for name, test := range map[string]struct {
		in   string
		args []string
		want string
	}{
		"a template that fails":   {in: broken, want: "bundle x: templates/a.yaml:2: rendering: no"},
		"nothing":                 {in: "# nothing\n", want: "reading the bundles in -: there is no Bundle"},
		"no YAML":                 {in: "a: [", want: "reading the bundles in -: "},
		"another kind":            {in: "apiVersion: v1\nkind: ConfigMap\n", want: "found v1 ConfigMap where a Bundle of fleet.cattle.io/v1alpha1 is expected"},
		"a field that is unknown": {in: "apiVersion: fleet.cattle.io/v1alpha1\nkind: Bundle\nspec: {resource: []}\n", want: `unknown field "resource"`},
		"a bad version":           {in: broken, args: []string{"--kube-version", "new"}, want: "the Kubernetes version new is not a version"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, test.in, append([]string{"render", "--bundle", "-"}, test.args...)...)
			if got.failure == nil || !strings.Contains(got.failure.Error(), test.want) || got.out != "" {
				t.Errorf("got %v, %q; want %q", got.failure, got.out, test.want)
			}
		})
	}
	got := run(t, broken, "render", "--bundle", "-")
	for _, want := range []string{"warning: bundle x: the values of helm.valuesFrom are in the cluster", "warning: bundle x: what downstreamResources copies is on the hub"} {
		if !strings.Contains(got.err, want) {
			t.Errorf("standard error: %s, want %s", got.err, want)
		}
	}
	if got := run(t, "", "render", "--bundle", filepath.Join(t.TempDir(), "missing")); got.failure == nil {
		t.Error("a missing file is no error")
	}
}

// TestEveryCommandHasAnExample: help is where people start.
func TestEveryCommandHasAnExample(t *testing.T) {
	var check func(*cobra.Command)
	check = func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has no description or example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			check(sub)
		}
	}
	check(command(""))
	if got := run(t, "", "--help"); got.failure != nil || !strings.Contains(got.out, "flotilla bundle") {
		t.Errorf("got %v: %s", got.failure, got.out)
	}
}

func TestVersion(t *testing.T) {
	if got := run(t, "", "version"); got.failure != nil || !strings.HasPrefix(got.out, "flotilla ") {
		t.Errorf("got %v: %s", got.failure, got.out)
	}
}
