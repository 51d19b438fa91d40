package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// link has a repository name others as submodules: their commits by path. The
// addresses stand in .gitmodules.
func (r *repository) link(modules map[string]string, addresses map[string]string) string {
	r.t.Helper()
	var declared strings.Builder
	for name, address := range addresses {
		fmt.Fprintf(&declared, "[submodule %q]\n\tpath = %s\n\turl = %s\n", name, name, address)
	}
	if len(addresses) > 0 {
		r.write(map[string]string{modulesFile: declared.String()})
		git(r.t, r.work, "add", modulesFile)
	}
	for name, commit := range modules {
		git(r.t, r.work, "update-index", "--add", "--cacheinfo", "160000,"+commit+","+name)
	}
	git(r.t, r.work, "commit", "--quiet", "--allow-empty", "-m", "link")
	git(r.t, r.work, "push", "--quiet", "--force", "origin", "HEAD:refs/heads/master")
	return git(r.t, r.work, "rev-parse", "HEAD")
}

// enterer is what a tree offers to those who know of submodules.
type enterer interface {
	fs.FS
	Enter(ctx context.Context, name string) error
}

func treeOf(t *testing.T, m *Mirrors, req Request, commit string) enterer {
	t.Helper()
	tree, ok := fetch(t, m, req, commit).Tree().(enterer)
	if !ok {
		t.Fatal("the tree knows of no submodules")
	}
	return tree
}

func enter(t *testing.T, tree enterer, name string) {
	t.Helper()
	if err := tree.Enter(t.Context(), name); err != nil {
		t.Fatalf("entering %s: %v", name, err)
	}
}

func TestSubmodules(t *testing.T) {
	s := newServer(t)
	deep, lib, app := s.repository(t, "deep"), s.repository(t, "lib"), s.repository(t, "org/app")
	inDeep := deep.commit(map[string]string{"d.yaml": "deep"})
	lib.commit(map[string]string{"a/l.yaml": "lib", "README": "x"})
	inLib := lib.link(map[string]string{"vendor/deep": inDeep}, map[string]string{"vendor/deep": s.URL + "/deep.git"})
	app.commit(map[string]string{"top.yaml": "top"})
	commit := app.link(map[string]string{"base/lib": inLib, "again": inLib}, map[string]string{"base/lib": "../../lib.git", "again": "./../../lib.git"})

	m := newTestMirrors(t, Limits{})
	tree := treeOf(t, m, Request{URL: app.url}, commit)
	if info, err := fs.Stat(tree, "base/lib"); err != nil || info.Mode().Type() != fs.ModeIrregular || info.Size() != 0 {
		t.Errorf("before it is entered: %v, %v", info, err)
	}
	if _, err := fs.ReadFile(tree, "base/lib/a/l.yaml"); err == nil {
		t.Error("what nobody has entered can be read")
	}
	packs := s.packs.Load()
	enter(t, tree, "base/lib")
	enter(t, tree, "base/lib")
	if got := s.packs.Load() - packs; got != 1 {
		t.Errorf("entering took %d packs", got)
	}
	enter(t, tree, "base/lib/vendor/deep")
	got := map[string]string{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := fs.ReadFile(tree, name)
		got[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(got, modulesFile)
	want := map[string]string{"top.yaml": "top"}
	for _, at := range []string{"base/lib", "again"} {
		want[at+"/a/l.yaml"], want[at+"/README"], want[at+"/vendor/deep/d.yaml"], want[at+"/"+modulesFile] = "lib", "x", "deep", got[at+"/"+modulesFile]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
	// Another commit with the same submodule needs no server for it.
	app.write(map[string]string{"top.yaml": "new"})
	git(t, app.work, "add", "top.yaml")
	next := app.link(nil, nil)
	packs = s.packs.Load()
	again := treeOf(t, m, Request{URL: app.url}, next)
	enter(t, again, "again/vendor/deep")
	if got := s.packs.Load() - packs; got != 1 {
		t.Errorf("a new commit took %d packs, want its own alone", got)
	}
	fsck(t, m)
}

// What lets in where the repository is, is shown to no other server.
func TestCredentialsForSubmodules(t *testing.T) {
	home, away := newServer(t), newServer(t)
	var shown []string
	guard := func(password string) middleware {
		return func(w http.ResponseWriter, r *http.Request, git http.Handler) {
			_, got, _ := r.BasicAuth()
			if password == "" && got != "" {
				shown = append(shown, r.URL.Path)
			}
			if got != password {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			git.ServeHTTP(w, r)
		}
	}
	lib, theirs, app := home.repository(t, "lib"), away.repository(t, "lib"), home.repository(t, "app")
	one, two := lib.commit(map[string]string{"a": "1"}), theirs.commit(map[string]string{"a": "2"})
	commit := app.link(map[string]string{"ours": one, "theirs": two, "named": one}, map[string]string{
		"ours": "../lib.git", "theirs": away.URL + "/lib.git", "named": lib.url,
	})
	home.intercept(guard("canary-password"))
	away.intercept(guard(""))
	for name, req := range map[string]Request{
		"in a Secret":    {URL: app.url, Auth: &Auth{Username: "ada", Password: "canary-password"}},
		"in the address": {URL: strings.Replace(app.url, "://", "://ada:canary-password@", 1)},
	} {
		tree := treeOf(t, newTestMirrors(t, Limits{}), req, commit)
		for _, module := range []string{"ours", "named", "theirs"} {
			if err := tree.Enter(t.Context(), module); err != nil {
				t.Errorf("%s, %s: %v", name, module, err)
			}
		}
	}
	if len(shown) > 0 {
		t.Errorf("the other server was shown credentials for %v", shown)
	}
	away.intercept(guard("other"))
	tree := treeOf(t, newTestMirrors(t, Limits{}), Request{URL: app.url, Auth: &Auth{Username: "ada", Password: "canary-password"}}, commit)
	err := tree.Enter(t.Context(), "theirs")
	wantError(t, err, AuthenticationFailed, away.URL, "not shown to another host")
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the error shows a password: %v", err)
	}
}

func TestSubmodulesThatCannotBeRead(t *testing.T) {
	s := newServer(t)
	lib := s.repository(t, "lib")
	commit := lib.commit(map[string]string{"a": "1"})
	for name, tc := range map[string]struct {
		address, declared string
		says              string
	}{
		"no .gitmodules":      {says: "no such file"},
		"another path":        {declared: "[submodule \"x\"]\n\tpath = x\n\turl = ../lib.git\n", says: "names no submodule with the path m"},
		"no .gitmodules file": {declared: "what is this", says: "cannot be parsed"},
		"a large one":         {declared: strings.Repeat("#\n", maxModulesBytes), says: "bytes"},
		"a local path":        {address: "/srv/lib.git", says: "local path"},
		"a file address":      {address: "file:///srv/lib.git", says: "protocol file is not supported"},
		"a helper":            {address: "ext::sh -c id", says: "address"},
		"an option":           {address: "-u./payload", says: "begins with a dash"},
		"SSH without a key":   {address: "git@example.test:lib.git", says: "private key"},
		"nobody is there":     {address: "../gone.git", says: "404"},
		"climbing":            {address: "../../../../../../lib.git/../gone.git", says: s.URL + "/gone.git"},
		"a password":          {address: "http://canary:canary@127.0.0.1:1/x", says: "http://127.0.0.1:1/x"},
	} {
		t.Run(name, func(t *testing.T) {
			app := s.repository(t, "app-"+strings.ReplaceAll(name, " ", "-"))
			addresses := map[string]string{"m": tc.address}
			if tc.address == "" {
				addresses = nil
			}
			if tc.declared != "" {
				app.commit(map[string]string{modulesFile: tc.declared})
			}
			head := app.link(map[string]string{"m": commit}, addresses)
			tree := treeOf(t, newTestMirrors(t, Limits{}), Request{URL: app.url}, head)
			err := tree.Enter(t.Context(), "m")
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v, want %q", err, tc.says)
			}
			if again := tree.Enter(t.Context(), "m"); !errors.Is(again, err) {
				t.Errorf("asked again: %v", again)
			}
		})
	}
}

func TestSubmodulesAreBounded(t *testing.T) {
	s := newServer(t)
	lib := s.repository(t, "level0")
	below := lib.commit(map[string]string{"a": "1"})
	var at []string
	for level := range maxModuleDepth + 1 {
		r := s.repository(t, fmt.Sprint("level", level+1))
		below = r.link(map[string]string{"m": below}, map[string]string{"m": fmt.Sprintf("../level%d.git", level)})
		at = append(at, "m")
	}
	tree := treeOf(t, newTestMirrors(t, Limits{}), Request{URL: fmt.Sprintf("%s/level%d.git", s.URL, maxModuleDepth+1)}, below)
	enter(t, tree, strings.Join(at[:maxModuleDepth], "/"))
	if err := tree.Enter(t.Context(), strings.Join(at, "/")); err == nil || !strings.Contains(err.Error(), "more than 4 submodules inside of each other") {
		t.Errorf("got %v", err)
	}

	app := s.repository(t, "app")
	modules, addresses := map[string]string{}, map[string]string{}
	for i := range maxModules + 1 {
		name := fmt.Sprint("m", i)
		modules[name], addresses[name] = lib.commit(map[string]string{"a": name}), "../level0.git"
	}
	tree = treeOf(t, newTestMirrors(t, Limits{}), Request{URL: app.url}, app.link(modules, addresses))
	var last error
	for name := range modules {
		last = tree.Enter(t.Context(), name)
	}
	if last == nil || !strings.Contains(last.Error(), "more than 32 submodules") {
		t.Errorf("got %v", last)
	}
}

// Whatever stands in .gitmodules, there are paths and addresses, or an error
// that does not quote it.
func FuzzParseModules(f *testing.F) {
	for _, seed := range []string{
		"[submodule \"a\"]\n\tpath = a\n\turl = ../canary.git\n", "[submodule \"../a\"]\npath=/\nurl=x\n", "[submodule", "path = canary", "[submodule \"a\"]\npath = \"a\\", "\x00", "[a \"b\"]\nurl",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		declared, err := parseModules(content)
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the error quotes the file: %v", err)
		}
		from := mustTarget(t, Request{URL: "https://h/a/b"}).addr
		for _, raw := range declared {
			joined, err := from.join(raw)
			if err == nil && strings.HasPrefix(raw, ".") && !joined.sameServer(from) {
				t.Errorf("%q leads to another server: %s", raw, joined)
			}
		}
	})
}
