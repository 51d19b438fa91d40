package cli

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares what a command wrote with what was recorded.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if it is right, run the test with -update:\n%s", name, diff)
	}
}

// TestOfflineGolden follows one repository from its folder to objects.
func TestOfflineGolden(t *testing.T) {
	repo := filepath.Join("testdata", "shop")
	bundles := run(t, "", "bundle", "--name", "shop", "--namespace", "ws", "--commit", strings.Repeat("c", 40),
		"--targets-file", filepath.Join("testdata", "shop-targets.yaml"), repo)
	if bundles.failure != nil || bundles.err != "" {
		t.Fatalf("bundle: %v\n%s", bundles.failure, bundles.err)
	}
	golden(t, "shop-bundles.yaml", bundles.out)

	hub := []string{"target", "--bundle", "-", "--clusters", filepath.Join("testdata", "shop-clusters.yaml"), "--cluster-groups", filepath.Join("testdata", "shop-groups.yaml")}
	targets := run(t, bundles.out, append(hub, "--values")...)
	if exitCode(&strings.Builder{}, targets.failure) != ExitNo {
		t.Errorf("target: %v, want the answer no, because of cluster broken", targets.failure)
	}
	golden(t, "shop-target.yaml", targets.out)
	plain := run(t, bundles.out, hub...)
	if strings.Contains(plain.out, "kind: Secret") {
		t.Error("Secrets are printed without being asked for")
	}

	for name, args := range map[string][]string{
		"own":  nil,
		"dev":  {"--cluster-name", "dev", "--label", "env=dev,size=small"},
		"prod": {"--cluster-name", "prod", "--label", "env=prod,size=large", "--cluster-group", "production"},
	} {
		objects := run(t, bundles.out, append([]string{"render", "--bundle", "-"}, args...)...)
		if name == "own" {
			// A template that needs a cluster has none.
			if objects.failure == nil || !strings.Contains(objects.failure.Error(), "the cluster has no .ClusterLabels.size") {
				t.Errorf("render: %v", objects.failure)
			}
		} else if objects.failure != nil {
			t.Errorf("render %s: %v", name, objects.failure)
		}
		golden(t, "shop-render-"+name+".yaml", objects.out)
	}
}

// TestNamespaceLabelsOfOneTarget: what a customization says about the namespace
// reaches its clusters and no others.
func TestNamespaceLabelsOfOneTarget(t *testing.T) {
	dir := folder(t, map[string]string{
		"app/fleet.yaml": `
namespaceLabels: {all: "yes"}
namespaceAnnotations: {all: "yes"}
targetCustomizations:
- {clusterName: one, namespaceLabels: {one: "yes"}, namespaceAnnotations: {one: "yes"}}
- {clusterName: two, namespaceLabels: {two: "yes"}, namespaceAnnotations: {two: "yes"}}
`,
		"app/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
		".targets":   "- {clusterSelector: {}}\n",
	})
	clusters := ""
	for _, name := range []string{"one", "three", "two"} {
		clusters += "---\napiVersion: fleet.cattle.io/v1alpha1\nkind: Cluster\nmetadata: {name: " + name + ", namespace: fleet-local}\n"
	}
	bundles := run(t, "", "bundle", "--name", "shop", "--path", "app", "--targets-file", filepath.Join(dir, ".targets"), dir)
	got := run(t, bundles.out, "target", "--bundle", "-", "--clusters", filepath.Join(folder(t, map[string]string{"clusters.yaml": clusters}), "clusters.yaml"))
	if bundles.failure != nil || got.failure != nil {
		t.Fatal(bundles.failure, got.failure)
	}
	want := map[string]map[string]string{
		"one": {"all": "yes", "one": "yes"}, "two": {"all": "yes", "two": "yes"}, "three": {"all": "yes"},
	}
	for _, field := range []string{"namespaceLabels", "namespaceAnnotations"} {
		found := map[string]map[string]string{}
		for _, o := range objects(t, got.out) {
			marks, _, err := unstructured.NestedStringMap(o.Object, "spec", "options", field)
			if err != nil {
				t.Fatal(err)
			}
			found[o.GetLabels()[names.LabelCluster]] = marks
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("%s (-want +got):\n%s", field, diff)
		}
	}
}

func TestTargetJSON(t *testing.T) {
	dir := folder(t, map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"})
	bundles := run(t, "", "bundle", "--name", "x", "--namespace", "ws", dir).out
	clusters := filepath.Join(folder(t, map[string]string{"c.yaml": `
apiVersion: v1
kind: List
items:
- {apiVersion: fleet.cattle.io/v1alpha1, kind: Cluster, metadata: {namespace: ws, name: in}}
- {apiVersion: fleet.cattle.io/v1alpha1, kind: Cluster, metadata: {namespace: far, name: out}}
- {apiVersion: fleet.cattle.io/v1alpha1, kind: ClusterGroup, metadata: {namespace: ws, name: default}, spec: {selector: {}}}
`}), "c.yaml")
	got := run(t, bundles, "target", "--bundle", "-", "--clusters", clusters, "-o", "json")
	if got.failure != nil || got.err != "" {
		t.Fatalf("%v: %s", got.failure, got.err)
	}
	var planned struct {
		Kind  string
		Items []struct {
			Cluster, Answer, Reason string
			Deployment              *struct{ Spec struct{ DeploymentID string } }
		}
	}
	if err := json.Unmarshal([]byte(got.out), &planned); err != nil {
		t.Fatal(err)
	}
	if planned.Kind != "Planned" || len(planned.Items) != 2 {
		t.Fatalf("got %s", got.out)
	}
	far, in := planned.Items[0], planned.Items[1]
	if far.Cluster != "far/out" || far.Answer != "no" || far.Reason != "OutOfReach" || far.Deployment != nil {
		t.Errorf("got %+v", far)
	}
	if in.Cluster != "ws/in" || in.Answer != "yes" || in.Deployment == nil || !strings.HasPrefix(in.Deployment.Spec.DeploymentID, "s-") {
		t.Errorf("got %+v", in)
	}
}

func TestTargetFails(t *testing.T) {
	dir := folder(t, map[string]string{
		"c.yaml":      "apiVersion: fleet.cattle.io/v1alpha1\nkind: Cluster\nmetadata: {namespace: ws, name: c}\n",
		"g.yaml":      "apiVersion: fleet.cattle.io/v1alpha1\nkind: ClusterGroup\nmetadata: {namespace: ws, name: default}\nspec: {selector: {}}\n",
		"none.yaml":   "# nothing\n",
		"typo.yaml":   "apiVersion: fleet.cattle.io/v1alpha1\nkind: ClusterGroup\nmetadata: {namespace: ws, name: g}\nspec: {selectr: {}}\n",
		"b.yaml":      "apiVersion: fleet.cattle.io/v1alpha1\nkind: Bundle\nmetadata: {namespace: ws, name: b}\nspec: {targets: [{clusterGroup: default}]}\n",
		"doubt.yaml":  "apiVersion: fleet.cattle.io/v1alpha1\nkind: Bundle\nmetadata: {namespace: ws, name: b}\nspec: {targets: [{clusterSelector: {matchExpressions: [{key: a, operator: Is}]}}]}\n",
		"values.yaml": "apiVersion: fleet.cattle.io/v1alpha1\nkind: Bundle\nmetadata: {namespace: ws, name: b}\nspec: {valuesHash: abc, targets: [{clusterGroup: default}]}\n",
		"roll.yaml":   "apiVersion: fleet.cattle.io/v1alpha1\nkind: Bundle\nmetadata: {namespace: ws, name: b}\nspec: {rolloutStrategy: {maxUnavailable: many}, targets: [{clusterGroup: default}]}\n",
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no clusters named":          {[]string{"--bundle", at("b.yaml")}, ExitError, `"clusters" not set`},
		"no bundle named":            {[]string{"--clusters", at("c.yaml")}, ExitError, `"bundle" not set`},
		"no bundle there":            {[]string{"--bundle", at("none.yaml"), "--clusters", at("c.yaml")}, ExitError, "there is no Bundle"},
		"no cluster there":           {[]string{"--bundle", at("b.yaml"), "--clusters", at("none.yaml")}, ExitError, "there is no Cluster in"},
		"a bundle among clusters":    {[]string{"--bundle", at("b.yaml"), "--clusters", at("b.yaml")}, ExitError, "where a Cluster of"},
		"an unknown field":           {[]string{"--bundle", at("b.yaml"), "--clusters", at("c.yaml"), "--cluster-groups", at("typo.yaml")}, ExitError, `unknown field "selectr"`},
		"two files that are stdin":   {[]string{"--bundle", "-", "--clusters", "-"}, ExitError, "only one file"},
		"clusters and groups, stdin": {[]string{"--bundle", at("b.yaml"), "--clusters", "-", "--cluster-groups", "-"}, ExitError, "only one file"},
		"a missing file":             {[]string{"--bundle", at("b.yaml"), "--clusters", at("gone.yaml")}, ExitError, "no such file"},
		"values elsewhere":           {[]string{"--bundle", at("values.yaml"), "--clusters", at("c.yaml")}, ExitError, "in the Secret ws/b"},
		"a selector in doubt":        {[]string{"--bundle", at("doubt.yaml"), "--clusters", at("c.yaml")}, ExitNo, ""},
		"a group that is missing":    {[]string{"--bundle", at("b.yaml"), "--clusters", at("c.yaml")}, ExitNo, ""},
		"a strategy that is wrong":   {[]string{"--bundle", at("roll.yaml"), "--clusters", at("c.yaml"), "--cluster-groups", at("g.yaml")}, ExitNo, ""},
		"all is well":                {[]string{"--bundle", at("b.yaml"), "--clusters", at("c.yaml"), "--cluster-groups", at("g.yaml")}, ExitYes, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, "# nothing\n", append([]string{"target"}, test.args...)...)
			var said strings.Builder
			if code := exitCode(&said, got.failure); code != test.code || !strings.Contains(said.String(), test.want) {
				t.Errorf("exit code %d, %q; want %d, %q", code, said.String(), test.code, test.want)
			}
			if test.code == ExitError && got.out != "" {
				t.Errorf("standard output: %s", got.out)
			}
			if test.code == ExitNo && !strings.Contains(got.err, "error: bundle ws/b: ") {
				t.Errorf("standard error: %s", got.err)
			}
		})
	}
}

// TestValuesFromSecrets: what kubectl writes of a hub has its values in Secrets.
func TestValuesFromSecrets(t *testing.T) {
	const bundleAndSecret = `
apiVersion: v1
kind: List
items:
- apiVersion: fleet.cattle.io/v1alpha1
  kind: Bundle
  metadata: {namespace: ws, name: b}
  spec:
    valuesHash: HASH
    helm: {chart: ""}
    resources:
    - {name: Chart.yaml, content: "apiVersion: v2\nname: web\nversion: 1.0.0\n"}
    - {name: templates/a.yaml, content: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 'a-{{ .Values.x }}'}\n"}
- apiVersion: v1
  kind: Secret
  metadata: {namespace: ws, name: b}
  data: {values.yaml: eyJ4IjoxfQ==}
`
	const hash = "a13c5c8ab4e5a5a9d1a7f2a8c8b6a1c1"
	wrong := run(t, strings.Replace(bundleAndSecret, "HASH", hash, 1), "render", "--bundle", "-")
	if wrong.failure == nil || !strings.Contains(wrong.failure.Error(), "does not hold the values") {
		t.Errorf("got %v", wrong.failure)
	}
	right := run(t, strings.Replace(bundleAndSecret, "HASH", valuesHash(t), 1), "render", "--bundle", "-")
	if right.failure != nil || !strings.Contains(right.out, "name: a-1") {
		t.Errorf("got %v: %s", right.failure, right.out)
	}
}

func valuesHash(t *testing.T) string {
	t.Helper()
	return bundle.ValuesHash(map[string][]byte{bundle.KeyRoot: []byte(`{"x":1}`)})
}
