package render

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestApplyOverlays(t *testing.T) {
	tree := treeOf(t, files{
		"a.yaml":                        "a: base\n",
		"b/c.yaml":                      "c: base\nd: base\n",
		"overlays/one/a.yaml":           "a: one\n",
		"overlays/one/b/c_patch.yaml":   "c: one\n",
		"overlays/one/new_patch.yaml":   "x: patched\n",
		"overlays/one/new.yaml":         "x: new\nz: new\n",
		"overlays/two/b/c_patch.yaml":   "c: two\n",
		"overlays/two/a_patch.yaml":     "b: two\n",
		"overlays/two/notes_patch.txt":  "no patch\n",
		"overlays/two/_patch.yaml":      "n: 1\n",
		"overlays/env/dev/nested.yaml":  "n: 1\n",
		"overlays/loose.yaml":           "never: deployed\n",
		"overlays/broken/a_patch.yaml":  "a: [\n",
		"overlays/missing/q_patch.yaml": "a: 1\n",
		"overlaysnot/ordinary.yaml":     "o: 1\n",
	})
	for name, test := range map[string]struct {
		overlays []string
		want     map[string]string
	}{
		"none": {
			want: map[string]string{"a.yaml": "a: base\n", "b/c.yaml": "c: base\nd: base\n", "overlaysnot/ordinary.yaml": "o: 1\n"},
		},
		"replace, add and patch, also what it adds itself": {
			overlays: []string{"one"},
			want: map[string]string{
				"a.yaml": "a: one\n", "b/c.yaml": "c: one\nd: base\n", "new.yaml": "x: patched\nz: new\n", "overlaysnot/ordinary.yaml": "o: 1\n",
			},
		},
		"in order": {
			overlays: []string{"one", "two"},
			want: map[string]string{
				"a.yaml": "a: one\nb: two\n", "b/c.yaml": "c: two\nd: base\n", "new.yaml": "x: patched\nz: new\n", "overlaysnot/ordinary.yaml": "o: 1\n",
				"notes_patch.txt": "no patch\n", "_patch.yaml": "n: 1\n",
			},
		},
		"a folder below": {
			overlays: []string{"env/dev"},
			want:     map[string]string{"a.yaml": "a: base\n", "b/c.yaml": "c: base\nd: base\n", "overlaysnot/ordinary.yaml": "o: 1\n", "nested.yaml": "n: 1\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := applyOverlays(tree, test.overlays, Limits{}.withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, name := range result.paths {
				got[name] = string(result.content[name])
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for overlay, want := range map[string]string{
		"unknown": "yaml.overlays names unknown, but the bundle has no files in overlays/unknown",
		"../b":    "yaml.overlays names ../b",
		".":       "yaml.overlays names .",
		"":        "yaml.overlays names ",
		"broken":  "overlays/broken/a_patch.yaml:1: ",
		"missing": "overlays/missing/q_patch.yaml: there is no q.yaml to patch",
	} {
		t.Run("refuses "+overlay, func(t *testing.T) {
			_, err := applyOverlays(tree, []string{overlay}, Limits{}.withDefaults())
			wantError(t, err, want)
		})
	}
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
      - {name: a, image: a:1}
      - {name: b, image: b:1}
`

const gadget = `
apiVersion: example.org/v1
kind: Gadget
metadata: {name: web}
spec:
  parts:
  - {name: a, size: 1}
  - {name: b, size: 1}
`

func TestPatchManifests(t *testing.T) {
	for name, test := range map[string]struct {
		base, patch, want string
	}{
		"strategic merge for known kinds": {
			base:  deployment,
			patch: "spec: {template: {spec: {containers: [{name: b, image: 'b:2'}]}}}",
			want:  "[{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {containers: [{name: a, image: 'a:1'}, {name: b, image: 'b:2'}]}}}}]",
		},
		"its directives": {
			base:  deployment,
			patch: "spec: {template: {spec: {containers: [{name: b, $patch: delete}]}}}",
			want:  "[{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {containers: [{name: a, image: 'a:1'}]}}}}]",
		},
		"merge for others": {
			base:  gadget,
			patch: "spec: {parts: [{name: b, size: 2}]}\nmetadata: {name: null, labels: {a: b}}",
			want:  "[{apiVersion: example.org/v1, kind: Gadget, metadata: {labels: {a: b}}, spec: {parts: [{name: b, size: 2}]}}]",
		},
		"a version that is not known is another kind": {
			base:  "apiVersion: apps/v9\nkind: Deployment\nspec: {a: [1]}",
			patch: "spec: {a: [2]}",
			want:  "[{apiVersion: apps/v9, kind: Deployment, spec: {a: [2]}}]",
		},
		"what has no kind": {base: "a: 1\nb: 2", patch: "b: null", want: "[{a: 1}]"},
		"a JSON patch": {
			base:  gadget,
			patch: "- {op: replace, path: /spec/parts/0/size, value: 9007199254740993}\n- {op: remove, path: /spec/parts/1}\n- {op: test, path: /kind, value: Gadget}",
			want:  "[{apiVersion: example.org/v1, kind: Gadget, metadata: {name: web}, spec: {parts: [{name: a, size: 9007199254740993}]}}]",
		},
		"one of several by its kind": {
			base:  "kind: A\nmetadata: {name: x}\n---\nkind: B\nmetadata: {name: x}",
			patch: "kind: B\ndata: 1",
			want:  "[{kind: A, metadata: {name: x}}, {kind: B, metadata: {name: x}, data: 1}]",
		},
		"several by their names": {
			base:  "kind: A\nmetadata: {name: x}\n---\nkind: A\nmetadata: {name: z}\n---\nkind: A\nmetadata: {name: z, namespace: m}",
			patch: "metadata: {name: x}\ndata: 1\n---\nmetadata: {name: z, namespace: m}\ndata: 2",
			want:  "[{kind: A, metadata: {name: x}, data: 1}, {kind: A, metadata: {name: z}}, {kind: A, metadata: {name: z, namespace: m}, data: 2}]",
		},
		"the only one whatever the patch is called": {
			base: "kind: A\nmetadata: {name: x}", patch: "kind: B\nmetadata: {name: z}", want: "[{kind: B, metadata: {name: z}}]",
		},
		"an empty patch": {base: "a: 1", patch: "# nothing\n", want: "[{a: 1}]"},
	} {
		t.Run(name, func(t *testing.T) {
			patched, err := patchManifests(patchJob{
				target: "f.yaml", base: []byte(test.base),
				source: "f_patch.yaml", patch: []byte(test.patch), copyLimit: 1000,
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeMappings("", patched)
			if err != nil {
				t.Fatal(err)
			}
			var want []map[string]any
			if err := yaml.Unmarshal([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			gotYAML, _ := yaml.Marshal(got)
			wantYAML, _ := yaml.Marshal(want)
			if name == "a JSON patch" { // yaml.Unmarshal above rounds what we must not
				wantYAML, _ = yaml.JSONToYAML([]byte(`[{"apiVersion":"example.org/v1","kind":"Gadget","metadata":{"name":"web"},"spec":{"parts":[{"name":"a","size":9007199254740993}]}}]`))
			}
			if diff := cmp.Diff(string(wantYAML), string(gotYAML)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPatchManifestsRefuses(t *testing.T) {
	two := "kind: A\nmetadata: {name: x}\n---\nkind: A\nmetadata: {name: z}\n"
	for name, test := range map[string]struct {
		base, patch, want string
	}{
		"a base that does not parse":  {"a: [", "a: 1", "f.yaml:1: "},
		"a base that is no object":    {"- hidden", "a: 1", "f.yaml:1: only objects can be patched"},
		"a patch that does not parse": {"a: 1", "\na: [", "f_patch.yaml:2: "},
		"a patch that is a text":      {"a: 1", "hidden", "f_patch.yaml:1: the patch leaves no object"},
		"one that fits several":       {two, "kind: A\na: 1", "f_patch.yaml:1: the patch fits several objects of the file"},
		"one that fits none":          {two, "---\nmetadata: {name: q}", "f_patch.yaml:2: the patch fits no object of the file"},
		"a JSON patch for several":    {two, "- {op: remove, path: /a}", "a JSON patch needs a file with exactly one object"},
		"a JSON patch of nowhere":     {"a: 1", "- {op: replace, path: /b/c, value: hidden}", "the patch does not apply: replace operation does not apply: doc is missing path: /b/c"},
		"a JSON patch that fails":     {"a: hidden", "- {op: test, path: /a, value: hiddenToo}", "the patch does not apply: testing value /a failed"},
		"a JSON patch of nothing":     {"a: 1", "- hidden", "the patch does not fit the object"},
		"a JSON patch without end":    {`a: "` + strings.Repeat("x", 600) + `"`, "- {op: copy, from: /a, path: /b}\n- {op: copy, from: /a, path: /c}", "Unable to complete the copy"},
		"a JSON patch of the whole":   {"a: 1", "- {op: replace, path: '', value: [hidden]}", "the patch leaves no object"},
		"an element without its key":  {deployment, "spec: {template: {spec: {containers: [{image: hidden}]}}}", "lacks the key by which such elements are merged"},
		"a text where a list belongs": {deployment, "spec: {template: {spec: {containers: hidden}}}", ""},
		"an unknown directive":        {deployment, "spec: {$patch: hidden}", "the patch does not fit the object"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := patchManifests(patchJob{
				target: "f.yaml", base: []byte(test.base),
				source: "f_patch.yaml", patch: []byte(test.patch), copyLimit: 1000,
			})
			if test.want == "" {
				return // whatever becomes of it, it must not panic
			}
			wantError(t, err, test.want)
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error quotes the content: %v", err)
			}
		})
	}
}
