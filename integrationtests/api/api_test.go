// Package api tests what the API server makes of the definitions in charts/flotilla-crd.
package api

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{}, func(e *harness.Environment) { env = e }))
}

// post creates the object that a manifest describes and returns what the API server stored.
func post(t *testing.T, namespace, plural, manifest string) (*unstructured.Unstructured, error) {
	t.Helper()
	client, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), object); err != nil {
		t.Fatal(err)
	}
	return client.Resource(fleet.SchemeGroupVersion.WithResource(plural)).Namespace(namespace).Create(t.Context(), object, metav1.CreateOptions{})
}

func gitRepo(spec string) string {
	return "apiVersion: fleet.cattle.io/v1alpha1\nkind: GitRepo\nmetadata: {generateName: r-}\nspec: " + spec
}

func bundle(spec string) string {
	return "apiVersion: fleet.cattle.io/v1alpha1\nkind: Bundle\nmetadata: {generateName: b-}\nspec: " + spec
}

func TestDurations(t *testing.T) {
	workspace := env.Workspace(t)
	for duration, valid := range map[string]bool{
		"0": true, "15s": true, "1h30m": true, "1.5h": true, "100ms": true, "5µs": true, "2562047h": true,
		"5d": false, "1w": false, "": false, "15": false, "s": false, "-5s": false, "15 s": false, "1h30": false,
		"2562048h": false, "99999999999999999999h": false,
		"1h" + strings.Repeat("0", 28) + "1s": true, "1h" + strings.Repeat("0", 29) + "1s": false,
	} {
		_, err := post(t, workspace, "gitrepos", gitRepo(`{repo: "https://example.com/r", pollingInterval: "`+duration+`"}`))
		if valid && err != nil {
			t.Errorf("%q is refused: %v", duration, err)
		}
		if !valid && !apierrors.IsInvalid(err) {
			t.Errorf("%q is accepted, or fails otherwise: %v", duration, err)
		}
	}
}

func TestValidations(t *testing.T) {
	workspace := env.Workspace(t)
	tests := []struct {
		name, plural, manifest string
		says                   string // empty: accepted
	}{
		{"a GitRepo needs a repository", "gitrepos", gitRepo(`{branch: main}`), "spec.repo"},
		{"that is not empty", "gitrepos", gitRepo(`{repo: ""}`), "spec.repo"},
		{"null stands for unset", "gitrepos", gitRepo(`{repo: r, branch: null, paths: null, targets: null, caBundle: null, pollingInterval: null, correctDrift: null}`), ""},
		{"null in a target", "gitrepos", gitRepo(`{repo: r, targets: [{name: null, clusterSelector: null, clusterGroup: null}]}`), ""},
		{"null in options", "bundles", bundle(`{helm: null, defaultNamespace: null, keepResources: null, targets: [{helm: {values: null, force: null}}]}`), ""},
		{"a release's name", "bundles", bundle(`{helm: {releaseName: my-app.v2}}`), ""},
		{"a release's name is lower case", "bundles", bundle(`{helm: {releaseName: MyApp}}`), "spec.helm.releaseName"},
		{"a release's name is short", "bundles", bundle(`{helm: {releaseName: ` + strings.Repeat("a", 54) + `}}`), "spec.helm.releaseName"},
		{"in targets, too", "bundles", bundle(`{targets: [{helm: {releaseName: a_b}}]}`), "spec.targets[0].helm.releaseName"},
		{"a mode of customizations", "bundles", bundle(`{targetCustomizationMode: LastMatch}`), "targetCustomizationMode"},
		{"a percentage", "bundles", bundle(`{rolloutStrategy: {maxUnavailable: 10%, autoPartitionSize: 5}}`), ""},
		{"not a number", "bundles", bundle(`{rolloutStrategy: {maxUnavailable: true}}`), "maxUnavailable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := post(t, workspace, tt.plural, tt.manifest)
			if tt.says == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("accepted, or fails otherwise: %v", err)
			}
		})
	}
}

func TestStoredAsWritten(t *testing.T) {
	stored, err := post(t, env.Workspace(t), "bundles", bundle(`
  helm:
    values: {any: {thing: [1, 2.5, "x", null, {deep: true}]}, big: 9007199254740993}
  targets:
  - helm: {force: false}
    doNotDeploy: true
  unknown: dropped`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"targetCustomizationMode": "FirstMatch",
		"helm": map[string]any{"values": map[string]any{
			"any": map[string]any{"thing": []any{int64(1), 2.5, "x", nil, map[string]any{"deep": true}}}, "big": int64(9007199254740993),
		}},
		"targets": []any{map[string]any{"helm": map[string]any{"force": false}, "doNotDeploy": true}},
	}
	if diff := cmp.Diff(want, stored.Object["spec"]); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// What Go clients write comes back the same.
func TestRoundTrip(t *testing.T) {
	workspace := env.Workspace(t)
	no := false
	made := env.Bundles.Make(t, &fleet.Bundle{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "b"},
		Spec: fleet.BundleSpec{
			BundleDeploymentOptions: fleet.BundleDeploymentOptions{
				CreateNamespace: &no,
				Helm:            &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"big": int64(9007199254740993)}}},
			},
			Resources: []fleet.BundleResource{{Name: "a.yaml", Content: "a: <&>\n"}},
		},
	})
	read, err := env.Bundles.Get(t.Context(), workspace, "b")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made.Spec, read.Spec); diff != "" {
		t.Errorf("read (-made +read):\n%s", diff)
	}
	if read.Spec.Helm.Values.Data["big"] != int64(9007199254740993) || read.Spec.CreateNamespace == nil || *read.Spec.CreateNamespace {
		t.Errorf("spec %v", read.Spec)
	}
}

// What a write returns is what was sent, with the metadata that it has from then on: the next write goes by it.
func TestWritesReturnTheMetadata(t *testing.T) {
	workspace := env.Workspace(t)
	sent := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "b", Labels: map[string]string{"a": "1"}}}
	made, err := env.Bundles.Create(t.Context(), sent)
	if err != nil {
		t.Fatal(err)
	}
	if made.UID == "" || made.ResourceVersion == "" || made.Generation != 1 || made.CreationTimestamp.IsZero() || made.Labels["a"] != "1" {
		t.Errorf("made %+v", made.ObjectMeta)
	}
	if sent.UID != "" {
		t.Error("what was sent has changed")
	}
	paused := made.DeepCopy()
	paused.Spec.Paused = true
	changed, err := env.Bundles.Change(t.Context(), made, paused)
	if err != nil {
		t.Fatal(err)
	}
	ready := changed.DeepCopy()
	ready.Status.Summary.Ready = 3
	reported, err := env.Bundles.ChangeStatus(t.Context(), changed, ready)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := env.Bundles.Get(t.Context(), workspace, "b")
	if err != nil {
		t.Fatal(err)
	}
	if changed.Generation != 2 || !changed.Spec.Paused || reported.Status.Summary.Ready != 3 ||
		reported.ResourceVersion != stored.ResourceVersion || reported.UID != stored.UID || stored.Status.Summary.Ready != 3 || !stored.Spec.Paused {
		t.Errorf("changed %+v, reported %+v, stored %+v", changed, reported, stored)
	}
}

// What the API server refuses is said in its words.
func TestRefusedWritesSayWhy(t *testing.T) {
	workspace := env.Workspace(t)
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "b"}}
	made, err := env.Bundles.Create(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Bundles.Create(t.Context(), b); !apierrors.IsAlreadyExists(err) {
		t.Errorf("made twice: %v", err)
	}
	paused := made.DeepCopy()
	paused.Spec.Paused = true
	if _, err := env.Bundles.Change(t.Context(), made, paused); err != nil {
		t.Fatal(err)
	}
	again := made.DeepCopy()
	again.Spec.ServiceAccount = "a"
	if _, err := env.Bundles.Change(t.Context(), made, again); !apierrors.IsConflict(err) {
		t.Errorf("changed as it was before: %v", err)
	}
	invalid := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "c"}}
	invalid.Spec.TargetCustomizationMode = "Sometimes"
	if _, err := env.Bundles.Create(t.Context(), invalid); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "Sometimes") {
		t.Errorf("made though not valid: %v", err)
	}
}

// Columns are what kubectl get prints.
func TestColumns(t *testing.T) {
	workspace := env.Workspace(t)
	repo := env.GitRepos.Make(t, &fleet.GitRepo{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "r"}, Spec: fleet.GitRepoSpec{Repo: "https://example.com/r"},
	})
	env.GitRepos.EditStatus(t, harness.KeyOf(repo), func(r *fleet.GitRepo) {
		r.Status.Commit = "abc"
		r.Status.Display.ReadyBundleDeployments = "1/2"
		r.Status.Conditions = []fleet.Condition{{Type: "Accepted", Status: "True"}, {Type: "Ready", Status: "False", Message: "NotReady(1)"}}
	})
	answer, err := env.Kubernetes.CoreV1().RESTClient().Get().
		AbsPath("/apis/fleet.cattle.io/v1alpha1/namespaces", workspace, "gitrepos").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(answer, &table); err != nil {
		t.Fatal(err)
	}
	shown := map[string]any{}
	for i, column := range table.ColumnDefinitions {
		if column.Priority == 0 {
			shown[column.Name] = table.Rows[0].Cells[i]
		}
	}
	want := map[string]any{
		"Name": "r", "Repo": "https://example.com/r", "Commit": "abc", "BundleDeployments-Ready": "1/2", "Status": "NotReady(1)",
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("kubectl get gitrepos (-want +got):\n%s", diff)
	}
}
