package release

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func object(kind, namespace, name string) Object {
	return Object{GroupVersionKind: schema.GroupVersionKind{Version: "v1", Kind: kind}, Namespace: namespace, Name: name}
}

func TestParseManifest(t *testing.T) {
	const manifest = `
---
# Source: chart/templates/a.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: web}
---

---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: b
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: c
  annotations: {"helm.sh/resource-policy": " Keep "}
`
	got, err := parseManifest(manifest)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, o := range got {
		lines = append(lines, o.String())
	}
	want := []string{"configmap.v1 web/a", "deployment.apps b", "customresourcedefinition.apiextensions.k8s.io c"}
	if !slices.Equal(lines, want) {
		t.Errorf("objects are %q, want %q", lines, want)
	}
	if got[0].Keep || !got[2].Keep {
		t.Errorf("keep is %v and %v", got[0].Keep, got[2].Keep)
	}
	for _, bad := range []string{"kind: ConfigMap\n", "metadata: {name: a}\n", "a: b: c\n"} {
		if _, err := parseManifest(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestObjectSets(t *testing.T) {
	a, b, c := object("ConfigMap", "web", "a"), object("ConfigMap", "web", "b"), object("Secret", "web", "a")
	beta := a
	beta.Version = "v1beta1" // the same object by another version of its API
	if got := union([]Object{a, b}, []Object{beta, c}); !slices.Equal(got, []Object{a, b, c}) {
		t.Errorf("union is %v", got)
	}
	if got := without([]Object{a, b, c}, []Object{beta}); !slices.Equal(got, []Object{b, c}) {
		t.Errorf("without is %v", got)
	}
	if got := common([]Object{a, b}, []Object{beta, c}); !slices.Equal(got, []Object{a}) {
		t.Errorf("common is %v", got)
	}
}

func TestFateOfObjectsThatAReleaseGivesUp(t *testing.T) {
	const set = "set-hash"
	release := Key{Namespace: "web", Name: "app"}
	ours := map[string]string{annotationReleaseName: "app", annotationReleaseNamespace: "web"}
	now := metav1.Now()
	for _, test := range []struct {
		name string
		live metav1.ObjectMeta
		set  string
		want Fate
	}{
		{name: "ours", live: metav1.ObjectMeta{Annotations: ours}, want: FateDelete},
		{name: "ours and going", live: metav1.ObjectMeta{Annotations: ours, DeletionTimestamp: &now}, want: FateTerminating},
		{
			name: "ours, but asks to be left",
			live: metav1.ObjectMeta{Annotations: map[string]string{
				annotationReleaseName: "app", annotationReleaseNamespace: "web", annotationPolicy: policyKeep,
			}},
			want: FateKept,
		},
		{
			name: "owned by another release now",
			live: metav1.ObjectMeta{Annotations: map[string]string{annotationReleaseName: "other", annotationReleaseNamespace: "web"}},
			want: FateMoved,
		},
		{
			name: "owned by a release of that name in another namespace",
			live: metav1.ObjectMeta{Annotations: map[string]string{annotationReleaseName: "app", annotationReleaseNamespace: "other"}},
			want: FateMoved,
		},
		{
			name: "owned by another release now, with a label of ours left on it",
			live: metav1.ObjectMeta{
				Annotations: map[string]string{annotationReleaseName: "other", annotationReleaseNamespace: "web"},
				Labels:      map[string]string{names.LabelObjectSetHash: set},
			},
			set: set, want: FateMoved,
		},
		{name: "without Helm's marks, with ours", live: metav1.ObjectMeta{Labels: map[string]string{names.LabelObjectSetHash: set}}, set: set, want: FateDelete},
		{name: "without any marks", live: metav1.ObjectMeta{}, set: set, want: FateUnmarked},
		{name: "without any marks, and nobody says which are ours", live: metav1.ObjectMeta{}, want: FateUnmarked},
		{
			name: "moved and going is none of our business", want: FateMoved,
			live: metav1.ObjectMeta{Annotations: map[string]string{annotationReleaseName: "other"}, DeletionTimestamp: &now},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := fateOf(&test.live, release, test.set); got != test.want {
				t.Errorf("fate is %s, want %s", got, test.want)
			}
		})
	}
}

func TestWhatAnObjectIsDeletedBefore(t *testing.T) {
	var list []located
	for _, kind := range []string{"Namespace", "ConfigMap", "Deployment", "Widget", "Service"} {
		list = append(list, located{Object: object(kind, "web", "x")})
	}
	var order []string
	for _, wave := range waves(list) {
		for _, obj := range wave {
			order = append(order, obj.Kind)
		}
	}
	if got := strings.Join(order, " "); got != "Widget Service Deployment ConfigMap Namespace" {
		t.Errorf("order is %s", got)
	}
}

func TestLeaveComparesWhatWasLocated(t *testing.T) {
	wanted, other := object("ConfigMap", "web", "a"), object("ConfigMap", "web", "b")
	list := []located{{Object: wanted}, {Object: other}, {Object: other}}
	got := leave(list, []Object{wanted})
	if len(got) != 1 || got[0].Object != other {
		t.Errorf("what is left is %v", got)
	}
}

func TestRemainingNamesWhatHoldsIt(t *testing.T) {
	r := Remaining{Object: object("ConfigMap", "web", "a"), Finalizers: []string{"example.com/x", "example.com/y"}}
	if got, want := r.String(), "configmap.v1 web/a (finalizers: example.com/x, example.com/y)"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

func TestSecretsOfAManifest(t *testing.T) {
	const manifest = `
apiVersion: v1
kind: Secret
metadata: {name: a}
data: {password: aHVudGVyMi1pcy1sb25n}
stringData: {token: plain-token}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
data: {key: harmless}
`
	secrets, err := secretsIn(manifest)
	if err != nil {
		t.Fatal(err)
	}
	got := NewRedactor(secrets).Message("hunter2-is-long aHVudGVyMi1pcy1sb25n plain-token harmless")
	if want := "<redacted> <redacted> <redacted> harmless"; got != want {
		t.Errorf("message is %q, want %q", got, want)
	}
}
