package bundlereader

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

// onDisk reads a folder of the disk, as the command does.
func onDisk(t *testing.T, dir string) Result {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	result, err := Read(t.Context(), root.FS(), Options{GitRepo: "shop", Paths: []string{"app", "good"}})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// wantOneFailure wants the folder app to have failed for a reason, and the
// folder good to be a bundle.
func wantOneFailure(t *testing.T, got Result, says string) {
	t.Helper()
	if len(got.Bundles) != 1 || got.Bundles[0].Name != "shop-good" {
		t.Errorf("bundles: %v", bundleNames(got))
	}
	if len(got.Findings) != 1 || !strings.Contains(got.Findings[0].Message, says) || len(got.Failed) != 1 || got.Failed[0] != "app" {
		t.Errorf("findings %v, failed %v; want one that says %q", got.Findings, got.Failed, says)
	}
}

func folderWith(t *testing.T, fill func(app string) error) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"app", "good"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "a.yaml"), []byte("a: 1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := fill(filepath.Join(dir, "app")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestFilesThatAreNone: what is no file is never opened, since a pipe would wait
// for ever and a device might do anything.
func TestFilesThatAreNone(t *testing.T) {
	for name, fill := range map[string]func(string) error{
		"a pipe":                    func(app string) error { return syscall.Mkfifo(filepath.Join(app, "b.yaml"), 0o600) },
		"a pipe for options":        func(app string) error { return syscall.Mkfifo(filepath.Join(app, "fleet.yaml"), 0o600) },
		"a pipe for a .fleetignore": func(app string) error { return syscall.Mkfifo(filepath.Join(app, ".fleetignore"), 0o600) },
		"a link to a pipe": func(app string) error {
			return firstError(syscall.Mkfifo(filepath.Join(app, ".pipe"), 0o600), os.Symlink(".pipe", filepath.Join(app, "b.yaml")))
		},
		"a socket": func(app string) error {
			fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer func() { _ = syscall.Close(fd) }()
			return syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Join(app, "s")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			done := time.AfterFunc(20*time.Second, func() { panic("reading waits for " + name) })
			defer done.Stop()
			got := onDisk(t, folderWith(t, fill))
			if len(got.Findings) != 1 || !strings.Contains(got.Findings[0].Message, "not a file") && !strings.Contains(got.Findings[0].Message, "neither a file nor a folder") {
				t.Errorf("findings: %v", got.Findings)
			}
			if len(got.Bundles) != 1 || got.Bundles[0].Name != "shop-good" {
				t.Errorf("bundles: %v", bundleNames(got))
			}
		})
	}
	for _, mode := range []fs.FileMode{fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice, fs.ModeNamedPipe, fs.ModeSocket} {
		tree := fstest.MapFS{"app/a.yaml": {Data: []byte("a: 1\n")}, "app/d": {Mode: mode}, "good/a.yaml": {Data: []byte("a: 1\n")}}
		got, err := Read(context.Background(), tree, Options{GitRepo: "shop", Paths: []string{"app", "good"}})
		if err != nil {
			t.Fatal(err)
		}
		wantOneFailure(t, got, "neither a file nor a folder")
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestHugeFile: of a file of a gigabyte, no more is read than a bundle may have.
func TestHugeFile(t *testing.T) {
	for _, name := range []string{"b.yaml", "fleet.yaml", ".fleetignore"} {
		dir := folderWith(t, func(app string) error {
			file, err := os.Create(filepath.Join(app, name))
			if err != nil {
				return err
			}
			defer file.Close()
			return file.Truncate(1 << 30)
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := onDisk(t, dir)
		runtime.ReadMemStats(&after)
		wantOneFailure(t, got, "more than 33554432 bytes")
		if read := after.TotalAlloc - before.TotalAlloc; read > 300<<20 {
			t.Errorf("%s: %d MiB were allocated", name, read>>20)
		}
	}
}

// TestManyFiles: a folder of 100,000 files costs no more than the limit allows.
func TestManyFiles(t *testing.T) {
	tree := fstest.MapFS{"good/a.yaml": {Data: []byte("a: 1\n")}}
	for i := range 100_000 {
		tree[fmt.Sprintf("app/%d/%d.yaml", i%100, i)] = &fstest.MapFile{Data: []byte("a: 1\n")}
	}
	got, err := Read(context.Background(), listedFS(tree), Options{GitRepo: "shop", Paths: []string{"app", "good"}})
	if err != nil {
		t.Fatal(err)
	}
	wantOneFailure(t, got, "more than 10000 files")
}

// listedFS lists folders quickly: MapFS looks at every file for each of them.
func listedFS(tree fstest.MapFS) fs.FS {
	dirs := map[string][]fs.DirEntry{}
	seen := map[string]bool{}
	for name, file := range tree {
		dirs[filepath.Dir(name)] = append(dirs[filepath.Dir(name)], fs.FileInfoToDirEntry(mapInfo{filepath.Base(name), file}))
		for dir := filepath.Dir(name); dir != "." && !seen[dir]; dir = filepath.Dir(dir) {
			seen[dir] = true
			dirs[filepath.Dir(dir)] = append(dirs[filepath.Dir(dir)], fs.FileInfoToDirEntry(mapInfo{filepath.Base(dir), &fstest.MapFile{Mode: fs.ModeDir}}))
		}
	}
	return quickFS{tree, dirs, seen}
}

type mapInfo struct {
	name string
	file *fstest.MapFile
}

func (i mapInfo) Name() string       { return i.name }
func (i mapInfo) Size() int64        { return int64(len(i.file.Data)) }
func (i mapInfo) Mode() fs.FileMode  { return i.file.Mode }
func (i mapInfo) ModTime() time.Time { return time.Time{} }
func (i mapInfo) IsDir() bool        { return i.file.Mode.IsDir() }
func (i mapInfo) Sys() any           { return nil }

type quickFS struct {
	fstest.MapFS
	dirs map[string][]fs.DirEntry
	seen map[string]bool
}

func (q quickFS) ReadDir(name string) ([]fs.DirEntry, error) { return q.dirs[name], nil }

func (q quickFS) Lstat(name string) (fs.FileInfo, error) {
	if q.seen[name] {
		return mapInfo{filepath.Base(name), &fstest.MapFile{Mode: fs.ModeDir}}, nil
	}
	if file, ok := q.MapFS[name]; ok {
		return mapInfo{filepath.Base(name), file}, nil
	}
	return nil, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
}

// TestOddNames: a name that is not UTF-8 cannot reach a cluster as it is.
func TestOddNames(t *testing.T) {
	got := onDisk(t, folderWith(t, func(app string) error { return os.WriteFile(filepath.Join(app, "b\xff.yaml"), nil, 0o600) }))
	wantOneFailure(t, got, `the name "b\xff.yaml" is not UTF-8`)
	odd := []string{"a b.yaml", "a\nb.yaml", `a\b.yaml`, "ä.yaml", "-rf.yaml", "a:b.yaml", strings.Repeat("x", 250) + ".yaml"}
	tree := map[string]string{}
	for _, name := range odd {
		tree["app/"+name] = "a: 1\n"
	}
	found := files(t, read(t, tree, Options{Paths: []string{"app"}}), "shop-app")
	for _, name := range odd {
		if _, ok := found[name]; !ok {
			t.Errorf("the file %q is missing", name)
		}
	}
}

// TestPathsOutOfTheRepository: no path of a GitRepo or of a fleet.yaml leads out.
func TestPathsOutOfTheRepository(t *testing.T) {
	for name, options := range map[string]string{
		"a chart":              "helm: {chart: ../secret}\n",
		"an absolute chart":    "helm: {chart: /../../etc}\n",
		"a values file":        "helm: {chart: ., valuesFiles: [../secret.yaml]}\n",
		"an absolute one":      "helm: {chart: ., valuesFiles: [/etc/passwd]}\n",
		"of a target":          "targetCustomizations: [{clusterName: c, helm: {valuesFiles: [../secret.yaml]}}]\n",
		"a chart of a target":  "targetCustomizations: [{clusterName: c, helm: {chart: ../secret}}]\n",
		"a file:// chart":      "helm: {chart: 'file:///etc'}\n",
		"a git:: local folder": "helm: {chart: 'git::/etc'}\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, map[string]string{
				"app/fleet.yaml": options, "app/a.yaml": "a: 1\n", "good/a.yaml": "a: 1\n", "secret.yaml": "password: canary\n", "secret/Chart.yaml": "name: canary\n",
			}, Options{Paths: []string{"app", "good"}})
			if len(got.Bundles) != 1 || got.Bundles[0].Name != "shop-good" || len(got.Failed) != 1 {
				t.Errorf("bundles %v, failed %v", bundleNames(got), got.Failed)
			}
			if text := fmt.Sprintf("%+v", got.Findings); strings.Contains(text, "canary") || !strings.Contains(text, "app/fleet.yaml") {
				t.Errorf("findings: %s", text)
			}
		})
	}
	got := read(t, map[string]string{"good/a.yaml": "a: 1\n"}, Options{Paths: []string{"good", "../x", "/../../etc", "good/../../etc", "good/./../good"}})
	if len(got.Bundles) != 1 || len(got.Findings) == 0 {
		t.Errorf("bundles %v, findings %v", bundleNames(got), got.Findings)
	}
}
