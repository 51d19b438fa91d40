package bundlereader

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

var update = flag.Bool("update", false, "record the stories in testdata anew")

// story is a tree, what a GitRepo says about it, and what becomes of it.
type story struct {
	Paths   []string           `json:"paths"`
	Bundles []fleet.BundlePath `json:"bundles"`
	Targets []fleet.GitTarget  `json:"targets"`
	// Charts lists the files of charts from elsewhere, by "chart repo version".
	Charts map[string][]string `json:"charts"`

	TargetNamespace     string              `json:"targetNamespace"`
	ServiceAccount      string              `json:"serviceAccount"`
	Paused              bool                `json:"paused"`
	KeepResources       bool                `json:"keepResources"`
	DeleteNamespace     bool                `json:"deleteNamespace"`
	CorrectDrift        *fleet.CorrectDrift `json:"correctDrift"`
	ForceSyncGeneration int64               `json:"forceSyncGeneration"`
	Labels              map[string]string   `json:"labels"`
}

// fakeCharts serves the charts of a story.
type fakeCharts map[string][]string

func (f fakeCharts) Fetch(_ context.Context, ref ChartRef) (map[string][]byte, error) {
	names, ok := f[ref.Chart+" "+ref.Repo+" "+ref.Version]
	if !ok {
		return nil, fmt.Errorf("there is no chart %q at %q", ref.Chart, ref.Repo)
	}
	files := map[string][]byte{}
	for _, name := range names {
		files[name] = []byte("content of " + name + "\n")
	}
	return files, nil
}

func (f fakeCharts) Archive(ctx context.Context, ref ChartRef) (string, []byte, error) {
	if _, err := f.Fetch(ctx, ref); err != nil {
		return "", nil, err
	}
	return ref.Chart + "-" + ref.Version + ".tgz", []byte("archive of " + ref.Chart + "\xff"), nil
}

// TestStories reads every tree in testdata and compares what becomes of it
// with what was recorded.
func TestStories(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/story.yaml")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range dirs {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var told story
			if err := yaml.UnmarshalStrict(content, &told); err != nil {
				t.Fatal(err)
			}
			result, err := Read(context.Background(), os.DirFS(filepath.Join(dir, "tree")), Options{
				GitRepo: "shop", Namespace: "fleet-default", Commit: strings.Repeat("c", 40),
				Paths: told.Paths, Bundles: told.Bundles, Targets: told.Targets, Charts: fakeCharts(told.Charts),
				TargetNamespace: told.TargetNamespace, ServiceAccount: told.ServiceAccount, Paused: told.Paused,
				KeepResources: told.KeepResources, DeleteNamespace: told.DeleteNamespace, CorrectDrift: told.CorrectDrift,
				ForceSyncGeneration: told.ForceSyncGeneration, Labels: told.Labels,
			})
			if err != nil {
				t.Fatal(err)
			}
			got := tell(t, result)
			recorded := filepath.Join(dir, "result.yaml")
			if *update {
				if err := os.WriteFile(recorded, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(recorded)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the result differs (-recorded +now); if it is right, run the test with -update:\n%s", diff)
			}
		})
	}
}

// tell writes a result down so that it can be read.
func tell(t *testing.T, r Result) string {
	t.Helper()
	type told struct {
		Name        string            `json:"name"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		Files       []string          `json:"files"`
		Spec        fleet.BundleSpec  `json:"spec"`
	}
	var all struct {
		Bundles    []told   `json:"bundles,omitempty"`
		Errors     []string `json:"errors,omitempty"`
		Warnings   []string `json:"warnings,omitempty"`
		Failed     []string `json:"failed,omitempty"`
		EmptyPaths []string `json:"emptyPaths,omitempty"`
	}
	for _, b := range r.Bundles {
		one := told{Name: b.Name, Labels: b.Labels, Annotations: b.Annotations, Spec: b.Spec}
		for _, resource := range b.Spec.Resources {
			one.Files = append(one.Files, strings.TrimSpace(resource.Name+" "+resource.Encoding))
		}
		one.Spec.Resources = nil
		all.Bundles = append(all.Bundles, one)
		if b.Namespace != "fleet-default" {
			t.Errorf("bundle %s is in namespace %q", b.Name, b.Namespace)
		}
	}
	for _, f := range r.Findings {
		if f.Severity == Error {
			all.Errors = append(all.Errors, f.String())
			if !slices.Contains(r.Failed, f.Folder) {
				t.Errorf("%s: the folder %q is not among the failed ones", f, f.Folder)
			}
		} else {
			all.Warnings = append(all.Warnings, f.String())
		}
	}
	all.Failed, all.EmptyPaths = r.Failed, r.EmptyPaths
	text, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
