package deployments

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/release"
	"github.com/flotilla-gitops/flotilla/pkg/render"
)

func TestMergeMaps(t *testing.T) {
	base := map[string]any{"a": 1, "deep": map[string]any{"x": 1, "y": 1}, "list": []any{1, 2}, "map": map[string]any{"x": 1}}
	over := map[string]any{"b": 2, "deep": map[string]any{"y": 2}, "list": []any{3}, "map": "text"}
	want := map[string]any{"a": 1, "b": 2, "deep": map[string]any{"x": 1, "y": 2}, "list": []any{3}, "map": "text"}
	if diff := cmp.Diff(want, mergeMaps(base, over)); diff != "" {
		t.Errorf("merged:\n%s", diff)
	}
	if base["deep"].(map[string]any)["y"] != 1 || over["deep"].(map[string]any)["x"] != nil {
		t.Error("an argument was changed")
	}
	if got := mergeMaps(nil, nil); got == nil || len(got) != 0 {
		t.Errorf("nothing merged is %v", got)
	}
}

func TestValuesFromTheCluster(t *testing.T) {
	meta := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	client := fake.NewClientset(
		&corev1.ConfigMap{ObjectMeta: meta("web", "defaults"), Data: map[string]string{"values.yaml": "a: 1\nb: 1\n", "odd": "- a list of canary-value\n"}},
		&corev1.Secret{ObjectMeta: meta("web", "secret"), Data: map[string][]byte{"more": []byte("b: 2\nc: 2\n")}},
		&corev1.ConfigMap{ObjectMeta: meta("other", "theirs"), Data: map[string]string{"values.yaml": "d: 3\n"}},
	)
	fromConfigMap := func(namespace, name, key string) fleet.ValuesFrom {
		return fleet.ValuesFrom{ConfigMapKeyRef: &fleet.ConfigMapKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Namespace: namespace, Key: key,
		}}
	}
	fromSecret := func(namespace, name, key string) fleet.ValuesFrom {
		return fleet.ValuesFrom{SecretKeyRef: &fleet.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Namespace: namespace, Key: key,
		}}
	}
	both := fromSecret("", "secret", "more")
	both.ConfigMapKeyRef = fromConfigMap("", "defaults", "").ConfigMapKeyRef
	one := float64(1)
	for _, test := range []struct {
		name         string
		refs         []fleet.ValuesFrom
		impersonated bool
		want         map[string]any
		says         string
	}{
		{name: "none", want: map[string]any{"a": "own"}},
		{name: "the ConfigMap first, then the Secret", refs: []fleet.ValuesFrom{both}, want: map[string]any{"a": one, "b": 2 * one, "c": 2 * one}},
		{
			name: "later ones win", refs: []fleet.ValuesFrom{fromSecret("web", "secret", "more"), fromConfigMap("web", "defaults", "")},
			want: map[string]any{"a": one, "b": one, "c": 2 * one},
		},
		{name: "missing", refs: []fleet.ValuesFrom{fromConfigMap("", "nothing", "")}, says: "ConfigMap web/nothing"},
		{name: "without the key", refs: []fleet.ValuesFrom{fromSecret("", "secret", "")}, says: "Secret web/secret has no key values.yaml"},
		{name: "no mapping", refs: []fleet.ValuesFrom{fromConfigMap("", "defaults", "odd")}, says: "not a YAML mapping"},
		{
			name: "elsewhere, with the agent's own rights", refs: []fleet.ValuesFrom{fromConfigMap("other", "theirs", "")},
			says: "only a deployment with a serviceAccount",
		},
		{
			name: "elsewhere, with the rights of a service account", refs: []fleet.ValuesFrom{fromConfigMap("other", "theirs", "")},
			impersonated: true, want: map[string]any{"a": "own", "d": 3 * one},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			source := clusterValues{client: client, namespace: "web", impersonated: test.impersonated}
			got, err := source.merge(t.Context(), map[string]any{"a": "own"}, test.refs)
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "canary") {
					t.Errorf("error is %v, want %q in it", err, test.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("values:\n%s", diff)
			}
		})
	}
}

func TestWhatADeploymentAsksOfHelm(t *testing.T) {
	yes, no := true, false
	if got := helmOptions(&fleet.BundleDeploymentOptions{}); got != (release.HelmOptions{}) {
		t.Errorf("without options: %+v", got)
	}
	got := helmOptions(&fleet.BundleDeploymentOptions{Helm: &fleet.HelmOptions{
		TimeoutSeconds: 7, Atomic: &yes, Force: &no, TakeOwnership: &yes, WaitForJobs: &yes, MaxHistory: 5, DisableDNS: &yes, SkipSchemaValidation: &yes,
	}})
	want := release.HelmOptions{
		Timeout: 7 * time.Second, Atomic: true, TakeOwnership: true, WaitForJobs: true, MaxHistory: 5, DisableDNS: true, SkipSchemaValidation: true,
	}
	if got != want {
		t.Errorf("options are %+v, want %+v", got, want)
	}
	for _, test := range []struct {
		create *bool
		want   bool
	}{{nil, true}, {&yes, true}, {&no, false}} {
		if got := namespaceOptions(&fleet.BundleDeploymentOptions{CreateNamespace: test.create}); got.Create != test.want {
			t.Errorf("createNamespace %v means %v", test.create, got.Create)
		}
	}
}

func TestNameOfTheRelease(t *testing.T) {
	for _, test := range []struct {
		name    string
		options fleet.BundleDeploymentOptions
		want    string
	}{
		{name: "nothing said", want: "default/my-app"},
		{name: "a default namespace", options: fleet.BundleDeploymentOptions{DefaultNamespace: "web"}, want: "web/my-app"},
		{name: "a forced namespace", options: fleet.BundleDeploymentOptions{DefaultNamespace: "web", TargetNamespace: "forced"}, want: "forced/my-app"},
		{name: "a name", options: fleet.BundleDeploymentOptions{Helm: &fleet.HelmOptions{ReleaseName: "other"}}, want: "default/other"},
	} {
		if got := releaseKey("my-app", &test.options).String(); got != test.want {
			t.Errorf("%s: release is %s, want %s", test.name, got, test.want)
		}
		// Rendering has its own idea of the name; what decides and what is rendered must not differ.
		rendered, err := render.Release(render.Input{
			BundleName: "my-app", Options: test.options, DeploymentID: "content:1",
			Resources: []fleet.BundleResource{{Name: "a.yaml", Content: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := rendered.Namespace + "/" + rendered.ReleaseName; got != test.want {
			t.Errorf("%s: rendered as %s, want %s", test.name, got, test.want)
		}
	}
}
