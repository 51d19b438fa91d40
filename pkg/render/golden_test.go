package render

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden renders every folder of testdata/golden: files/ is the bundle,
// input.yaml the options, want.yaml the objects.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/golden/*")
	if err != nil || len(cases) == 0 {
		t.Fatalf("found no cases: %v", err)
	}
	for _, dir := range cases {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := renderFolder(t, dir)
			file := filepath.Join(dir, "want.yaml")
			if *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("objects differ (-want +got):\n%s", diff)
			}
		})
	}
}

func renderFolder(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "input.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var input struct {
		Options             fleet.BundleDeploymentOptions
		Labels, Annotations map[string]string
	}
	if err := yaml.UnmarshalStrict(data, &input); err != nil {
		t.Fatal(err)
	}
	objects, err := Objects(Input{
		BundleName:  "bundle",
		Resources:   resourcesOf(t, os.DirFS(filepath.Join(dir, "files"))),
		Options:     input.Options,
		Labels:      input.Labels,
		Annotations: input.Annotations,
	})
	if err != nil {
		t.Fatalf("rendering: %v", err)
	}
	var out bytes.Buffer
	for _, object := range objects {
		data, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n")
		out.Write(data)
	}
	return out.Bytes()
}

func resourcesOf(t *testing.T, files fs.FS) []fleet.BundleResource {
	t.Helper()
	var resources []fleet.BundleResource
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		resources = append(resources, fleet.BundleResource{Name: name, Content: string(data)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return resources
}
