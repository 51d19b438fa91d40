package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func TestHolds(t *testing.T) {
	type m = map[string]any
	type l = []any
	tests := []struct {
		name       string
		have, want any
		holds      bool
	}{
		{"the same", m{"a": "1"}, m{"a": "1"}, true},
		{"defaults in addition", m{"a": "1", "b": m{"c": int64(1)}}, m{"a": "1"}, true},
		{"another value", m{"a": "2"}, m{"a": "1"}, false},
		{"a field is missing", m{}, m{"a": "1"}, false},
		{"false is missing", m{}, m{"a": false}, false},
		{"an empty object is missing", m{}, m{"a": m{}}, true},
		{"an empty list is missing", m{}, m{"a": l{}}, true},
		{"null is missing", m{}, m{"a": nil}, true},
		{"below", m{"a": m{"b": m{"c": "x", "d": "y"}}}, m{"a": m{"b": m{"c": "x"}}}, true},
		{"different below", m{"a": m{"b": m{"c": "z"}}}, m{"a": m{"b": m{"c": "x"}}}, false},
		{"defaults inside a list", m{"a": l{m{"n": "x", "p": int64(1)}}}, m{"a": l{m{"n": "x"}}}, true},
		{"a longer list", m{"a": l{"x", "y"}}, m{"a": l{"x"}}, false},
		{"a shorter list", m{"a": l{"x"}}, m{"a": l{"x", "y"}}, false},
		{"another order", m{"a": l{"y", "x"}}, m{"a": l{"x", "y"}}, false},
		{"another type", m{"a": "x"}, m{"a": m{"b": "x"}}, false},
		{"numbers", m{"a": int64(3)}, m{"a": int64(3)}, true},
	}
	for _, tt := range tests {
		if got := holds(tt.have, tt.want); got != tt.holds {
			t.Errorf("%s: holds = %v", tt.name, got)
		}
	}
}

// A field that is no longer wanted is not in what is wanted now, so only the digest shows that it has to go.
func TestPrepareNotesWhatIsApplied(t *testing.T) {
	configMap := func(data map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "ns"}, Data: data}
	}
	digest := func(c *corev1.ConfigMap) string {
		t.Helper()
		want, _, err := Applier{fakeDynamic{}}.prepare(c)
		if err != nil {
			t.Fatal(err)
		}
		if want.GetKind() != "ConfigMap" || want.GetAPIVersion() != "v1" {
			t.Errorf("applied as %s %s", want.GetAPIVersion(), want.GetKind())
		}
		return want.GetAnnotations()[names.AnnotationApplied]
	}
	two, one := digest(configMap(map[string]string{"a": "1", "b": "2"})), digest(configMap(map[string]string{"a": "1"}))
	if two == "" || two == one {
		t.Errorf("digests %q and %q", two, one)
	}
	if digest(configMap(map[string]string{"a": "1"})) != one {
		t.Error("the same object has another digest")
	}
}

// fakeDynamic is asked for resources, but for no request.
type fakeDynamic struct{ dynamic.Interface }

func (fakeDynamic) Resource(schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return fakeResource{}
}

type fakeResource struct {
	dynamic.NamespaceableResourceInterface
}

func (f fakeResource) Namespace(string) dynamic.ResourceInterface { return f }
