package render

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// files are the files of a bundle by path.
type files map[string]string

func (f files) resources() []fleet.BundleResource {
	var resources []fleet.BundleResource
	for _, name := range slices.Sorted(maps.Keys(f)) {
		resources = append(resources, fleet.BundleResource{Name: name, Content: f[name]})
	}
	return resources
}

// with returns the files and more.
func (f files) with(more files) files {
	all := maps.Clone(f)
	maps.Copy(all, more)
	return all
}

func (f files) input() Input {
	return Input{BundleName: "bundle", Resources: f.resources()}
}

// treeOf returns the files decoded.
func treeOf(t *testing.T, f files) *tree {
	t.Helper()
	decoded, err := decodeTree(f.resources(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\n"
}

func chartFile(name string) string {
	return "apiVersion: v2\nname: " + name + "\nversion: 1.0.0\n"
}

// names renders and returns "Kind namespace/name" of every object.
func namesOf(t *testing.T, in Input) []string {
	t.Helper()
	objects, err := Objects(in)
	if err != nil {
		t.Fatalf("rendering: %v", err)
	}
	var found []string
	for _, o := range objects {
		found = append(found, object{Unstructured: o}.label())
	}
	return found
}

// wantError checks that err is an *Error whose text holds every one of parts.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	var ours *Error
	if !errors.As(err, &ours) {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

func ptr[T any](v T) *T { return &v }
