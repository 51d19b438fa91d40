package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/storage/memory"
)

// linked is a repository with every kind of entry that git knows.
func linked(t testing.TB) *Snapshot {
	t.Helper()
	s := newServer(t)
	r := s.repository(t, "demo")
	r.write(map[string]string{"a.yaml": "x: 1\n", "dir/b.yaml": "y: 2\n", "dir/sub/c.yaml": "z: 3\n", "run.sh": "#!/bin/sh\n", "dir.txt": "sorts before dir in git"})
	if err := os.Chmod(filepath.Join(r.work, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"link.yaml": "a.yaml", "todir": "dir", "dir/up.yaml": "../a.yaml", "chain": "link.yaml", "deep": "todir/sub/../sub/c.yaml",
		"outside": "../../etc/passwd", "absolute": "/etc/passwd", "dangling": "nothing", "loop1": "loop2", "loop2": "loop1", "self": "self/self", "root": ".",
	} {
		if err := os.Symlink(target, filepath.Join(r.work, name)); err != nil {
			t.Fatal(err)
		}
	}
	module := s.repository(t, "module")
	git(t, r.work, "add", "--all")
	git(t, r.work, "update-index", "--add", "--cacheinfo", "160000,"+module.commit(map[string]string{"m": "1"})+",module")
	git(t, r.work, "commit", "--quiet", "-m", "change")
	git(t, r.work, "push", "--quiet", "origin", "HEAD:refs/heads/master")
	return fetch(t, newTestMirrors(t, Limits{}), Request{URL: r.url}, git(t, r.work, "rev-parse", "HEAD"))
}

func TestTreeIsAFileSystem(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	commit := r.commit(map[string]string{"a.yaml": "x: 1\n", "dir/b.yaml": "y: 2\n", "dir/sub/c.yaml": "", "dir.txt": "d", "dir-1/e": "e"})
	tree := fetch(t, newTestMirrors(t, Limits{}), Request{URL: r.url}, commit).Tree()
	if err := fstest.TestFS(tree, "a.yaml", "dir/b.yaml", "dir/sub/c.yaml", "dir.txt", "dir-1/e"); err != nil {
		t.Error(err)
	}
}

func TestModes(t *testing.T) {
	tree := linked(t).Tree()
	for name, want := range map[string]fs.FileMode{
		".": fs.ModeDir | 0o755, "dir": fs.ModeDir | 0o755, "a.yaml": 0o644, "run.sh": 0o755,
		"link.yaml": fs.ModeSymlink | 0o777, "module": fs.ModeIrregular | 0o755,
	} {
		info, err := fs.Lstat(tree, name)
		if err != nil || info.Mode() != want {
			t.Errorf("Lstat(%s) = %v, %v, want %v", name, info, err, want)
		}
	}
	if _, err := fs.ReadFile(tree, "module"); err == nil || !strings.Contains(err.Error(), "submodule") {
		t.Errorf("reading a submodule: %v", err)
	}
	if _, err := fs.Stat(tree, "module/m"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("looking into a submodule: %v", err)
	}
}

func TestLinks(t *testing.T) {
	tree := linked(t).Tree()
	for name, want := range map[string]string{
		"link.yaml": "x: 1\n", "chain": "x: 1\n", "dir/up.yaml": "x: 1\n", "todir/b.yaml": "y: 2\n", "todir/sub/c.yaml": "z: 3\n",
		"deep": "z: 3\n", "root/root/todir/up.yaml": "x: 1\n",
	} {
		got, err := fs.ReadFile(tree, name)
		if err != nil || string(got) != want {
			t.Errorf("ReadFile(%s) = %q, %v, want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]error{
		"outside": errOutside, "absolute": errOutside, "dangling": fs.ErrNotExist, "loop1": errLoop, "self": errLoop, "root/outside": errOutside,
		"a.yaml/x": fs.ErrNotExist, "nothing": fs.ErrNotExist, "../x": fs.ErrInvalid, "/a.yaml": fs.ErrInvalid, "dir/": fs.ErrInvalid,
	} {
		if _, err := fs.Stat(tree, name); !errors.Is(err, want) {
			t.Errorf("Stat(%s) = %v, want %v", name, err, want)
		}
	}
	if text, err := fs.ReadLink(tree, "outside"); err != nil || text != "../../etc/passwd" {
		t.Errorf("ReadLink = %q, %v", text, err)
	}
	if _, err := fs.ReadLink(tree, "a.yaml"); !errors.Is(err, errNotLink) {
		t.Errorf("ReadLink of a file: %v", err)
	}
	info, err := fs.Stat(tree, "todir")
	if err != nil || info.Name() != "todir" || !info.IsDir() {
		t.Errorf("Stat follows a link to a directory: %v, %v", info, err)
	}
	if entries, err := fs.ReadDir(tree, "todir"); err != nil || len(entries) != 3 {
		t.Errorf("ReadDir of a link: %v, %v", entries, err)
	}
	if _, err := fs.ReadDir(tree, "a.yaml"); !errors.Is(err, errNotDir) {
		t.Errorf("ReadDir of a file: %v", err)
	}
	if _, err := fs.ReadFile(tree, "dir"); !errors.Is(err, errIsDir) {
		t.Errorf("ReadFile of a directory: %v", err)
	}
}

// Git refuses to check these out; a server can send them all the same.
func TestHostileNames(t *testing.T) {
	for _, name := range []string{"..", ".", "a/b", "../x", "/x"} {
		if entries, err := hostileTree(t, name).ReadDir("."); err == nil {
			t.Errorf("a directory with the entry %q was listed: %v", name, entries)
		}
	}
	if _, err := hostileTree(t, "same", "same").ReadDir("."); err == nil {
		t.Error("a directory with the same name twice was listed")
	}
	if _, err := hostileTree(t, ".git", "con", "a\nb").ReadDir("."); err != nil {
		t.Errorf("names that are only unusual: %v", err)
	}
}

func hostileTree(t *testing.T, names ...string) *tree {
	t.Helper()
	store := memory.NewStorage()
	blob := store.NewEncodedObject()
	blob.SetType(plumbing.BlobObject)
	hash, err := store.SetEncodedObject(blob)
	if err != nil {
		t.Fatal(err)
	}
	// Written by hand, because the encoder refuses to.
	dir := store.NewEncodedObject()
	dir.SetType(plumbing.TreeObject)
	w, _ := dir.Writer()
	for _, name := range names {
		_, _ = w.Write([]byte("100644 " + name + "\x00" + string(hash[:])))
	}
	root, err := store.SetEncodedObject(dir)
	if err != nil {
		t.Fatal(err)
	}
	objects := &objectReader{store: store, condemn: func() {}, maxFile: 1000, dirs: map[plumbing.Hash][]node{}}
	return &tree{root: node{name: ".", mode: filemode.Dir, hash: root, in: objects}}
}
