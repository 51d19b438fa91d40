package bundlereader

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// moduleFS is a tree whose submodules are other trees, or cannot be had.
type moduleFS struct {
	modules map[string]map[string]string // by path; nil for one that cannot be had

	mu      sync.RWMutex
	files   fstest.MapFS
	entered []string
}

func newModuleFS(files map[string]string, modules map[string]map[string]string) *moduleFS {
	m := &moduleFS{modules: modules, files: fstest.MapFS{}}
	for name, content := range files {
		m.files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	for name := range modules {
		m.files[name] = &fstest.MapFile{Mode: fs.ModeIrregular | 0o755}
	}
	return m
}

func (m *moduleFS) Enter(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.Contains(m.entered, name) {
		return nil
	}
	files := m.modules[name]
	if files == nil {
		return errors.New("the server says no")
	}
	m.entered = append(m.entered, name)
	delete(m.files, name)
	for below, content := range files {
		m.files[path.Join(name, below)] = &fstest.MapFile{Data: []byte(content)}
	}
	return nil
}

func (m *moduleFS) Open(name string) (fs.File, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.files.Open(name)
}

func (m *moduleFS) ReadLink(name string) (string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.files.ReadLink(name)
}

func (m *moduleFS) Lstat(name string) (fs.FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.files.Lstat(name)
}

// TestSubmodules: they are folders to whoever needs them, and nobody asks for
// the others.
func TestSubmodules(t *testing.T) {
	for name, tc := range map[string]struct {
		files   map[string]string
		modules map[string]map[string]string
		options Options
		want    map[string][]string // files by bundle
		entered []string
		finds   []string
		failed  []string
		empty   []string
	}{
		"among the files of a folder": {
			files: map[string]string{"app/a.yaml": "a: 1\n"}, modules: map[string]map[string]string{"app/lib": {"l.yaml": "l: 1\n"}},
			options: Options{Paths: []string{"app"}}, want: map[string][]string{"shop-app": {"a.yaml", "lib/l.yaml"}}, entered: []string{"app/lib"},
		},
		"folders of one become bundles": {
			files: map[string]string{"app/a.yaml": "a: 1\n"}, modules: map[string]map[string]string{"lib": {"web/fleet.yaml": "", "web/w.yaml": "w: 1\n"}},
			want: map[string][]string{"shop": {"app/a.yaml", "lib/web/fleet.yaml", "lib/web/w.yaml"}, "shop-lib-web": {"w.yaml"}}, entered: []string{"lib"},
		},
		"a path leads into one": {
			files: map[string]string{"x/a.yaml": "a: 1\n"}, modules: map[string]map[string]string{"lib": {"web/w.yaml": "w: 1\n"}, "other": nil},
			options: Options{Paths: []string{"lib/*"}}, want: map[string][]string{"shop-lib-web": {"w.yaml"}}, entered: []string{"lib"},
		},
		"a listed folder is in one": {
			modules: map[string]map[string]string{"lib": {"web/w.yaml": "w: 1\n"}}, options: Options{Bundles: bases("lib/web")},
			want: map[string][]string{"shop-lib-web": {"w.yaml"}}, entered: []string{"lib"},
		},
		"a chart depends on one": {
			files:   map[string]string{"app/Chart.yaml": "name: app\nversion: 1.0.0\ndependencies: [{name: web, version: 1.0.0, repository: 'file://../lib/web'}]\n", "app/fleet.yaml": ""},
			modules: map[string]map[string]string{"lib": {"web/Chart.yaml": "name: web\nversion: 1.0.0\n"}},
			options: Options{Paths: []string{"app"}}, want: map[string][]string{"shop-app": {"Chart.yaml", "charts/web/Chart.yaml"}}, entered: []string{"lib"},
		},
		"one that cannot be had fails its folder, and no other": {
			files: map[string]string{"app/a.yaml": "a: 1\n", "web/w.yaml": "w: 1\n"}, modules: map[string]map[string]string{"app/lib": nil},
			options: Options{Paths: []string{"app", "web"}}, want: map[string][]string{"shop-web": {"w.yaml"}},
			finds: []string{"app/lib: the submodule cannot be read: the server says no"}, failed: []string{"app", "app/lib"},
		},
		"a path leads into one that cannot be had": {
			files: map[string]string{"web/w.yaml": "w: 1\n"}, modules: map[string]map[string]string{"lib": nil},
			options: Options{Paths: []string{"lib/x", "web"}}, want: map[string][]string{"shop-web": {"w.yaml"}},
			finds: []string{"lib: the submodule cannot be read: the server says no"}, failed: []string{"lib"},
		},
		"one that is ignored by its folder is still looked into for bundles": {
			files: map[string]string{"app/a.yaml": "a: 1\n", "app/.fleetignore": "lib\n"}, modules: map[string]map[string]string{"app/lib": {"l.yaml": "l: 1\n"}},
			options: Options{Paths: []string{"app"}}, want: map[string][]string{"shop-app": {"a.yaml"}}, entered: []string{"app/lib"},
		},
		"a hidden one is left alone": {
			files: map[string]string{"app/a.yaml": "a: 1\n"}, modules: map[string]map[string]string{"app/.lib": nil},
			options: Options{Paths: []string{"app"}}, want: map[string][]string{"shop-app": {"a.yaml"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree := newModuleFS(tc.files, tc.modules)
			tc.options.GitRepo = "shop"
			got, err := Read(t.Context(), tree, tc.options)
			if err != nil {
				t.Fatal(err)
			}
			have := map[string][]string{}
			for _, b := range got.Bundles {
				for _, resource := range b.Spec.Resources {
					have[b.Name] = append(have[b.Name], resource.Name)
				}
			}
			var finds []string
			for _, f := range got.Findings {
				finds = append(finds, f.String())
			}
			for what, pair := range map[string][2]any{
				"bundles": {tc.want, have}, "entered": {tc.entered, tree.entered}, "findings": {tc.finds, finds}, "failed": {tc.failed, got.Failed}, "empty": {tc.empty, got.EmptyPaths},
			} {
				if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
					t.Errorf("%s (-want +got)\n%s", what, diff)
				}
			}
		})
	}
}

// A tree that knows of no submodules says so.
func TestSubmoduleOfAnotherTree(t *testing.T) {
	tree := fstest.MapFS{"app/a.yaml": {Data: []byte("a: 1\n")}, "app/module": {Mode: fs.ModeIrregular | 0o755}}
	got, err := Read(t.Context(), tree, Options{GitRepo: "shop", Paths: []string{"app"}})
	if err != nil || len(got.Bundles) != 0 || len(got.Findings) != 1 || !strings.Contains(got.Findings[0].String(), "app/module: the submodule cannot be read") {
		t.Errorf("%v, %+v", err, got)
	}
}

func bases(paths ...string) []fleet.BundlePath {
	var all []fleet.BundlePath
	for _, p := range paths {
		all = append(all, fleet.BundlePath{Base: p})
	}
	return all
}
