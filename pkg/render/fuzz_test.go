package render

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// parseStream returns the documents of a stream that are more than comments, as
// a YAML parser sees them.
func parseStream(data []byte) ([]yaml.Node, error) {
	var nodes []yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var node yaml.Node
		if err := decoder.Decode(&node); errors.Is(err, io.EOF) {
			return nodes, nil
		} else if err != nil {
			return nil, err
		}
		if len(node.Content) == 1 && node.Content[0].Tag != "!!null" {
			nodes = append(nodes, *node.Content[0])
		}
	}
}

func sameNode(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Tag != b.Tag || a.Value != b.Value || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !sameNode(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

// FuzzSplitDocuments: a stream that a YAML parser takes is split into the
// documents that the parser finds.
func FuzzSplitDocuments(f *testing.F) {
	for _, seed := range []string{
		"a: 1\n---\nb: 2\n", "--- {a: 1}\n...\n---\n- x\n", "a: |\n  ---\n  b\n--- # c\n", "%YAML 1.1\n---\na: \"x\n  y\"\n", "---\r\na: 1\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.ContainsAny(data, "\u0085\u2028\u2029") {
			t.Skip() // line breaks to YAML 1.1 only, and to no editor
		}
		docs := splitDocuments("f", data)
		want, err := parseStream(data)
		if err != nil {
			return
		}
		var got []yaml.Node
		for _, doc := range docs {
			nodes, err := parseStream(doc.data)
			if err != nil || len(nodes) > 1 {
				t.Fatalf("document %q: %d nodes, %v", doc.data, len(nodes), err)
			}
			got = append(got, nodes...)
			if start := doc.start(); start < 1 || start > bytes.Count(newlines(data), []byte("\n"))+1 {
				t.Fatalf("document %q starts at line %d", doc.data, start)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("got %d documents, want %d", len(got), len(want))
		}
		for i := range got {
			if !sameNode(&got[i], &want[i]) {
				t.Fatalf("document %d differs", i)
			}
		}
	})
}

// FuzzPlain: whatever a manifest holds, rendering returns objects with kind and
// name, or an *Error.
func FuzzPlain(f *testing.F) {
	f.Add([]byte(configMap("a")), []byte("data: {a: b}"))
	f.Add([]byte(deployment), []byte("spec: {template: {spec: {containers: [{name: a, image: x}]}}}"))
	f.Add([]byte(gadget), []byte("[{op: add, path: /spec/parts/-, value: 1}]"))
	f.Add([]byte("kind: List\napiVersion: v1\nitems: [{}]\n---\n[]"), []byte("$patch: delete"))
	f.Fuzz(func(t *testing.T, manifest, patch []byte) {
		in := files{"a.yaml": string(manifest), "overlays/o/a_patch.yaml": string(patch)}.input()
		in.Options.YAML = &fleet.YAMLOptions{Overlays: []string{"o"}}
		objects, err := Objects(in)
		if err != nil {
			var ours *Error
			if !errors.As(err, &ours) {
				t.Fatalf("got %T: %v", err, err)
			}
		}
		for _, o := range objects {
			if o.GetKind() == "" || o.GetName() == "" {
				t.Fatalf("an object without kind or name: %v", o.Object)
			}
		}
	})
}

// FuzzTemplate: whatever a template holds, rendering fails with an *Error.
func FuzzTemplate(f *testing.F) {
	f.Add(`{{ fail "x" }}`, "v")
	f.Add(`{{ .Values.a.b }}`, "v")
	f.Add("a: {{ .Values.value }}\n---\n{{ range $i := list 1 2 }}b: {{ $i }}{{ end }}", "x\ny")
	f.Fuzz(func(t *testing.T, template, value string) {
		// Loops that a fuzzer makes long only tell how slow this machine is.
		for _, slow := range []string{"until", "repeat", "seq", "gen", "randA", "randN", "bcrypt", "htpasswd", "derive", "define", "include", "tpl"} {
			if strings.Contains(template, slow) {
				t.Skip()
			}
		}
		in := files{"templates/a.yaml": template}.input()
		in.Options.Helm = &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"value": value}}}
		if _, err := Objects(in); err != nil {
			var ours *Error
			if !errors.As(err, &ours) {
				t.Fatalf("got %T: %v", err, err)
			}
		}
	})
}

// FuzzKustomization: whatever a kustomization holds, it is built from the
// bundle's files alone. Without git and with a proxy that is not there, every
// try to reach further ends in an error that gives it away.
func FuzzKustomization(f *testing.F) {
	f.Setenv("PATH", "")
	f.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	f.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	for _, seed := range []string{
		"resources: [a.yaml, base]\nnamePrefix: x-\n", "resources: [git::ssh://x/y/z]\n", "resources: ['user@host:a/b']\n",
		"bases: ['github.com/a/b?ref=c']\n", "configMapGenerator: [{name: x, files: [a=a.yaml]}]\n",
		"patches: [{path: a.yaml}]\n", "transformers:\n- |\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: x}\n  path: http:x\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, kustomization []byte) {
		_, err := Objects(files{
			"kustomization.yaml": string(kustomization), "a.yaml": configMap("a"), "base/kustomization.yaml": "resources: [b.yaml]\n", "base/b.yaml": configMap("b"),
		}.input())
		if err == nil {
			return
		}
		var ours *Error
		if !errors.As(err, &ours) {
			t.Fatalf("got %T: %v", err, err)
		}
		for cause := err; cause != nil; cause = errors.Unwrap(cause) {
			for _, trace := range []string{"'git' program", "proxyconnect", "HTTP Error", "dial tcp", "lookup "} {
				if strings.Contains(cause.Error(), trace) {
					t.Fatalf("kustomize reached out: %v", cause)
				}
			}
		}
	})
}
