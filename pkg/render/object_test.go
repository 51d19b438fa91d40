package render

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestObjectsOf(t *testing.T) {
	data := `# a comment
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: }
---

---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}
- apiVersion: v1
  kind: ConfigMapList
  items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
---
apiVersion: example.org/v1
kind: Basket
metadata: {name: d, namespace: x}
items: [apple]
---
apiVersion: v1
kind: SecretList
items: []
`
	objects, err := objectsOf("f.yaml", []byte(data), strict)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		got = append(got, o.errorf("!").Error())
	}
	want := []string{
		"f.yaml:2: ConfigMap a: !",
		"f.yaml:8: ConfigMap b: !",
		"f.yaml:8: ConfigMap c: !",
		"f.yaml:17: Basket.example.org x/d: !",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestObjectsOfRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		file, in, want string
	}{
		"a list":               {"f.yaml", "\n- a\n", "f.yaml:2: the YAML is not an object of Kubernetes, which is a mapping"},
		"a text":               {"f.yaml", "hidden", "f.yaml:1: the YAML is not an object of Kubernetes"},
		"no kind":              {"f.yaml", "apiVersion: v1\nhidden: 1", "f.yaml:1: the YAML is not an object of Kubernetes: it has no kind; leave the file out with a .fleetignore"},
		"no apiVersion":        {"f.yaml", "kind: ConfigMap", "it has no apiVersion"},
		"a kind of a bad type": {"f.yaml", "apiVersion: v1\nkind: {hidden: 1}", "it has no kind"},
		"a kustomization":      {"a/kustomization.yaml", "resources: []", "a/kustomization.yaml:1: a kustomization in a bundle of plain manifests: name its folder in kustomize.dir"},
		"a bad apiVersion":     {"f.yaml", "apiVersion: a/b/c\nkind: X\nmetadata: {name: x}", "the apiVersion is not of the form group/version"},
		"no metadata":          {"f.yaml", "apiVersion: v1\nkind: X", "f.yaml:1: X : the object has no metadata"},
		"no name":              {"f.yaml", "apiVersion: v1\nkind: X\nmetadata: {generateName: x}", "the object has no metadata.name"},
		"a name of a bad type": {"f.yaml", "apiVersion: v1\nkind: X\nmetadata: {name: n}", "X : metadata.name is not a string; quote it"},
		"a bad namespace":      {"f.yaml", "apiVersion: v1\nkind: X\nmetadata: {name: x, namespace: 7}", "X x: metadata.namespace is not a string; quote it"},
		"bad labels":           {"f.yaml", "apiVersion: v1\nkind: X\nmetadata: {name: x, labels: [hidden]}", "X x: metadata.labels is not a mapping"},
		"a bad label":          {"f.yaml", "apiVersion: v1\nkind: X\nmetadata: {name: x, labels: {a: true}}", "X x: metadata.labels: a is not a string; quote it"},
		"a bad annotation":     {"f.yaml", "apiVersion: v1\nkind: X\nmetadata: {name: x, annotations: {a: 1}}", "X x: metadata.annotations: a is not a string; quote it"},
		"a bad item":           {"f.yaml", "apiVersion: v1\nkind: List\nitems: [hidden]", "List : item 0 of the list is not an object"},
		"an item without kind": {"f.yaml", "apiVersion: v1\nkind: List\nitems: [{}]", "it has no kind"},
		"an item without name": {"f.yaml", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: X}]", "the object has no metadata"},
		"a key that is twice":  {"f.yaml", configMap("x") + "data: {a: hidden,\n a: hidden}", `f.yaml:5: key "a" already set in map`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := objectsOf(test.file, []byte(test.in), strict)
			wantError(t, err, test.want)
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error quotes the content: %v", err)
			}
		})
	}
}
