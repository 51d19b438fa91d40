package drift

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// object returns the object that a text in YAML describes, as a client would
// decode it.
func object(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var o unstructured.Unstructured
	if err := o.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return &o
}

const (
	configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm, namespace: web}\n"
	secret    = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: web}\n"
	workload  = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app, namespace: web}\n"
)
