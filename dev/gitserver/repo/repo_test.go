package repo_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
)

func newRepository(t *testing.T) *repo.Repository {
	t.Helper()
	r, err := repo.Init(t.Context(), filepath.Join(t.TempDir(), "sample.git"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func commit(t *testing.T, r *repo.Repository, change repo.Change) string {
	t.Helper()
	id, err := r.Commit(t.Context(), change)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// show runs the real git on the repository.
func show(t *testing.T, r *repo.Repository, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", append([]string{"-c", "safe.directory=*", "-c", "core.quotePath=false", "-C", r.Dir()}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func files(t *testing.T, r *repo.Repository, commit string) []string {
	t.Helper()
	out := show(t, r, "ls-tree", "-r", "--format=%(objectmode) %(path)", commit)
	if out == "" {
		return nil
	}
	return strings.Split(out, "\n")
}

func TestCommitsChangeOnlyWhatTheySay(t *testing.T) {
	r := newRepository(t)
	first := commit(t, r, repo.Change{Message: "first", Write: map[string]string{"a.yaml": "a: 1\n", "dir/b.yaml": "b: 1\n", "dir/c.yaml": "c: 1\n"}})
	second := commit(t, r, repo.Change{Message: "second", Write: map[string]string{"a.yaml": "a: 2\n"}, Remove: []string{"dir/b.yaml"}})
	third := commit(t, r, repo.Change{Remove: []string{"dir"}})
	fourth := commit(t, r, repo.Change{Replace: true, Write: map[string]string{"only": "x"}})

	for _, test := range []struct {
		commit string
		want   []string
	}{
		{first, []string{"100644 a.yaml", "100644 dir/b.yaml", "100644 dir/c.yaml"}},
		{second, []string{"100644 a.yaml", "100644 dir/c.yaml"}},
		{third, []string{"100644 a.yaml"}},
		{fourth, []string{"100644 only"}},
	} {
		if diff := cmp.Diff(test.want, files(t, r, test.commit)); diff != "" {
			t.Errorf("commit %s (-want +got):\n%s", show(t, r, "log", "-1", "--format=%s", test.commit), diff)
		}
	}
	if got := show(t, r, "show", second+":a.yaml"); got != "a: 2" {
		t.Errorf("the second commit says %q", got)
	}
	if got := show(t, r, "log", "--format=%s", "--reverse"); got != "first\nsecond\nChange\nChange" {
		t.Errorf("the history is %q", got)
	}
	show(t, r, "fsck", "--strict")
}

func TestTreeIsCommittedWithModesLinksAndOddNames(t *testing.T) {
	folder := t.TempDir()
	odd := "odd \"name\"\t\\ü.yaml"
	for name, mode := range map[string]os.FileMode{"plain.yaml": 0o644, "run.sh": 0o755, odd: 0o600} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("plain.yaml", filepath.Join(folder, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	r := newRepository(t)
	id := commit(t, r, repo.Change{Tree: os.DirFS(folder)})
	want := []string{"120000 link.yaml", `100644 "odd \"name\"\t\\ü.yaml"`, "100644 plain.yaml", "100755 run.sh"}
	if diff := cmp.Diff(want, files(t, r, id)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := show(t, r, "show", id+":link.yaml"); got != "plain.yaml" {
		t.Errorf("the link points at %q", got)
	}
}

func TestSameContentsGiveTheSameCommits(t *testing.T) {
	var ids [2][2]string
	for i := range ids {
		r := newRepository(t)
		for j := range ids[i] {
			ids[i][j] = commit(t, r, repo.Change{Write: map[string]string{"n": strings.Repeat("x", j)}})
		}
	}
	if ids[0] != ids[1] {
		t.Errorf("the ids differ: %v", ids)
	}
}

func TestRepositoryIsIndependentOfTheUsersGit(t *testing.T) {
	// As in a hook of another repository, whose author has unusual habits.
	t.Setenv("GIT_DIR", filepath.Join(t.TempDir(), "other"))
	t.Setenv("HOME", t.TempDir())
	config := "[init]\n\tdefaultBranch = trunk\n[core]\n\thooksPath = /nowhere\n[commit]\n\tgpgSign = true\n"
	if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), ".gitconfig"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	r := newRepository(t)
	id := commit(t, r, repo.Change{Write: map[string]string{"a": "b"}})
	head, err := r.Head(t.Context(), repo.DefaultBranch)
	if err != nil || head != id {
		t.Errorf("the head is %q, %v; want %q", head, err, id)
	}
}

func TestBranchesAndTags(t *testing.T) {
	r := newRepository(t)
	if _, err := r.Head(t.Context(), "main"); !errors.Is(err, repo.ErrNoBranch) {
		t.Errorf("the head of an empty repository: %v", err)
	}
	first := commit(t, r, repo.Change{Write: map[string]string{"a": "1"}})
	second := commit(t, r, repo.Change{Write: map[string]string{"a": "2"}})
	other := commit(t, r, repo.Change{Branch: "feature/x", Write: map[string]string{"b": "1"}})
	if err := r.Tag(t.Context(), "v1", first); err != nil {
		t.Fatal(err)
	}
	if got := show(t, r, "rev-parse", "refs/tags/v1"); got != first {
		t.Errorf("v1 is %s, want %s", got, first)
	}
	if diff := cmp.Diff([]string{"100644 b"}, files(t, r, other)); diff != "" {
		t.Errorf("a new branch begins with a history (-want +got):\n%s", diff)
	}
	if err := r.Reset(t.Context(), "main", first); err != nil {
		t.Fatal(err)
	}
	if head, err := r.Head(t.Context(), "main"); head != first || err != nil {
		t.Errorf("after the reset from %s the head is %s, %v; want %s", second, head, err, first)
	}
}

func TestErrorsSayWhatGitSaid(t *testing.T) {
	_, err := repo.Open(filepath.Join(t.TempDir(), "missing.git")).Head(t.Context(), "main")
	if err == nil || !strings.Contains(err.Error(), "missing.git") {
		t.Errorf("got %v", err)
	}
	// What looks like an option is not taken for one.
	dir := filepath.Join(t.TempDir(), "x")
	t.Chdir(t.TempDir())
	if _, err := repo.Init(t.Context(), "--template="+dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("a folder's name was taken for an option")
	}
}

func TestSubmodules(t *testing.T) {
	r := newRepository(t)
	other := commit(t, r, repo.Change{Branch: "other", Write: map[string]string{"a": "1"}})
	head := commit(t, r, repo.Change{Submodules: map[string]string{"lib/other": other}})
	if got, want := show(t, r, "ls-tree", "-r", head), "160000 commit "+other+"\tlib/other"; strings.TrimSpace(got) != want {
		t.Errorf("the tree is %q, want %q", got, want)
	}
}
