package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func files(t testing.TB, s *Snapshot) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := fs.WalkDir(s.Tree(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := fs.ReadFile(s.Tree(), path)
		got[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatalf("walking the snapshot: %v", err)
	}
	return got
}

// noise does not compress, so that sizes on the wire mean something.
func noise(seed uint64, size int) string {
	random := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, size)
	for i := range b {
		b[i] = "0123456789abcdef"[random.IntN(16)]
	}
	return string(b)
}

func TestFetchReadsWhatGitReads(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	first := r.commit(map[string]string{"a.yaml": "x: 1\n", "dir/b.yaml": "y: 2\n", "dir/sub/c.txt": "", "ünïcode ✓.yaml": "z: 3\n"})
	m := newTestMirrors(t, Limits{})
	req := Request{URL: r.url}

	head, err := m.Head(context.Background(), req)
	if err != nil || head != first {
		t.Fatalf("Head = %q, %v, want %q", head, err, first)
	}
	if packs := s.packs.Load(); packs != 0 {
		t.Errorf("Head fetched %d packs, want none", packs)
	}
	checkout(t, r, fetch(t, m, req, first))
	fsck(t, m)
}

// Large files take other ways through the object store: packed, packed as a
// difference, and loose.
func TestLargeFiles(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	large := noise(1, 3<<20)
	first := r.commit(map[string]string{"large": large, "alike": large + "and more", "zeros": strings.Repeat("0", 2<<20)})
	git(t, r.bare, "repack", "-adfq")
	m := newTestMirrors(t, Limits{})
	checkout(t, r, fetch(t, m, Request{URL: r.url}, first))
	second := r.commit(map[string]string{"large": large[:1<<20] + "changed" + large[1<<20:], "other": noise(2, 2<<20)})
	checkout(t, r, fetch(t, m, Request{URL: r.url}, second))
	fsck(t, m)
}

// Many commits, edits, removals, branches thrown away and begun anew: after
// each the snapshot is what git says, and git finds nothing wrong on disk.
func TestIncrementalFetches(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	tree := map[string]string{}
	for i := range 60 {
		tree[fmt.Sprintf("apps/%02d/file.yaml", i)] = noise(uint64(i), 2000)
	}
	first := r.commit(tree)
	m := newTestMirrors(t, Limits{})
	req := Request{URL: r.url}
	fetch(t, m, req, first)
	full := s.bytes.Load()

	random := rand.New(rand.NewPCG(7, 7))
	commits := []string{first}
	for i := range rounds(40) {
		name := fmt.Sprintf("apps/%02d/file.yaml", random.IntN(60))
		switch random.IntN(6) {
		case 0: // history is rewritten
			git(t, r.work, "reset", "--quiet", "--hard", commits[random.IntN(len(commits))])
		case 1: // history is thrown away
			branch := fmt.Sprintf("fresh-%d", i)
			git(t, r.work, "checkout", "--quiet", "--orphan", branch)
		case 2:
			os.Remove(filepath.Join(r.work, name))
		case 3:
			os.Rename(filepath.Join(r.work, name), filepath.Join(r.work, fmt.Sprintf("moved-%d.yaml", i)))
		}
		sent := s.bytes.Load()
		commit := r.commit(map[string]string{name: noise(uint64(1000+i), 2000), "counter": fmt.Sprint(i)})
		commits = append(commits, commit)
		snapshot := fetch(t, m, req, commit)
		checkout(t, r, snapshot)
		if cost := s.bytes.Load() - sent; cost > full/4 {
			t.Errorf("commit %d cost %d bytes, a whole fetch costs %d", i, cost, full)
		}
	}
	fsck(t, m)
	for _, commit := range commits {
		if _, err := m.Open(context.Background(), req, commit); err != nil {
			t.Errorf("Open of an earlier commit: %v", err)
		}
	}
}

// rounds is how often something is tried: less often where time is short.
func rounds(n int) int {
	if testing.Short() {
		return n / 4
	}
	return n
}

func TestServerForgetsOldCommits(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	m := newTestMirrors(t, Limits{})
	req := Request{URL: r.url}
	fetch(t, m, req, r.commit(map[string]string{"a": noise(1, 5000)}))
	git(t, r.work, "checkout", "--quiet", "--orphan", "other")
	many := map[string]string{"a": noise(2, 5000)}
	for i := range 2 * fewObjects {
		many[fmt.Sprintf("f%d", i)] = fmt.Sprint(i)
	}
	commit := r.commit(many)
	git(t, r.bare, "reflog", "expire", "--expire=now", "--all")
	git(t, r.bare, "gc", "--quiet", "--prune=now")
	checkout(t, r, fetch(t, m, req, commit))
	fsck(t, m)
	if packs, _ := filepath.Glob(filepath.Join(m.dir, "*", "1", "objects", "pack", "*.pack")); len(packs) != 2 {
		t.Errorf("there are %d packs, want one for each of two large fetches", len(packs))
	}
}

func TestFetchTwiceTransfersOnce(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	commit := r.commit(map[string]string{"a": "1"})
	m := newTestMirrors(t, Limits{})
	fetch(t, m, Request{URL: r.url}, commit)
	fetch(t, m, Request{URL: r.url}, commit)
	if packs := s.packs.Load(); packs != 1 {
		t.Errorf("%d packs were fetched, want 1", packs)
	}

	again, err := NewMirrors(m.dir, Limits{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	fetch(t, again, Request{URL: r.url}, commit)
	if packs := s.packs.Load(); packs != 1 {
		t.Errorf("a new process fetched again what an earlier one had")
	}
}

func TestConcurrentFetchesTransferOnce(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	commit := r.commit(map[string]string{"a": noise(1, 100_000)})
	m := newTestMirrors(t, Limits{})
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			snapshot, err := m.Fetch(context.Background(), Request{URL: r.url})
			if err != nil {
				t.Errorf("Fetch: %v", err)
				return
			}
			if snapshot.Commit != commit {
				t.Errorf("Fetch returned %s, want %s", snapshot.Commit, commit)
			}
			files(t, snapshot)
		})
	}
	wg.Wait()
	if packs := s.packs.Load(); packs != 1 {
		t.Errorf("%d packs were fetched, want 1", packs)
	}
}

func TestSnapshotIsSafeForConcurrentUse(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	tree := map[string]string{}
	for i := range 50 {
		tree[fmt.Sprintf("d%d/f%d", i%7, i)] = noise(uint64(i), 500)
	}
	snapshot := fetch(t, newTestMirrors(t, Limits{}), Request{URL: r.url}, r.commit(tree))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := files(t, snapshot); len(got) != len(tree) {
				t.Errorf("read %d files, want %d", len(got), len(tree))
			}
		})
	}
	wg.Wait()
}

func TestWhatARequestNames(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	one := r.commit(map[string]string{"n": "1"})
	git(t, r.work, "tag", "light")
	git(t, r.work, "tag", "-a", "-m", "release", "v1.0")
	git(t, r.work, "tag", "-a", "-m", "tag of a tag", "nested", "v1.0")
	two := r.commit(map[string]string{"n": "2"})
	git(t, r.work, "checkout", "--quiet", "-b", "feature/x", one)
	r.write(map[string]string{"n": "3"})
	git(t, r.work, "commit", "--quiet", "-am", "feature")
	three := git(t, r.work, "rev-parse", "HEAD")
	git(t, r.work, "push", "--quiet", "--tags", "origin", "feature/x")

	for _, tc := range []struct {
		name string
		req  Request
		want string
	}{
		{"neither branch nor revision is master", Request{}, two},
		{"a branch", Request{Branch: "feature/x"}, three},
		{"a light tag", Request{Revision: "light"}, one},
		{"an annotated tag is its commit", Request{Revision: "v1.0"}, one},
		{"a tag of a tag is its commit", Request{Revision: "nested"}, one},
		{"the revision wins over the branch", Request{Branch: "feature/x", Revision: "v1.0"}, one},
		{"a full ref", Request{Revision: "refs/heads/feature/x"}, three},
		{"a commit that a branch points to", Request{Revision: two}, two},
		{"a commit in capitals", Request{Revision: strings.ToUpper(two)}, two},
		{"a commit that only history knows", Request{Revision: one, Branch: "master"}, one},
		{"an abbreviated commit that a branch points to", Request{Revision: two[:9]}, two},
		{"an abbreviated commit that only a tag points to", Request{Revision: one[:12]}, one},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newTestMirrors(t, Limits{})
			tc.req.URL = r.url
			head, err := m.Head(context.Background(), tc.req)
			if err != nil || head != tc.want {
				t.Errorf("Head = %q, %v, want %q", head, err, tc.want)
			}
			fetch(t, m, tc.req, tc.want)
			snapshot, err := m.Open(context.Background(), tc.req, tc.want)
			if err != nil || snapshot.Commit != tc.want {
				t.Errorf("Open after Fetch: %v", err)
			}
			fsck(t, m)
		})
	}
}

// Stock git servers hand out only what a ref points to, so a commit in the
// middle of the history takes the history.
func TestCommitInTheMiddleOfTheHistory(t *testing.T) {
	for _, serves := range []bool{false, true} {
		t.Run(fmt.Sprintf("allowAnySHA1InWant=%v", serves), func(t *testing.T) {
			s := newServer(t)
			r := s.repository(t, "demo")
			git(t, r.bare, "config", "uploadpack.allowAnySHA1InWant", fmt.Sprint(serves))
			var commits []string
			for i := range 6 {
				commits = append(commits, r.commit(map[string]string{"n": fmt.Sprint(i), "noise": noise(uint64(i), 3000)}))
			}
			m := newTestMirrors(t, Limits{})
			for _, revision := range []string{commits[2], commits[3][:10], commits[1]} {
				req := Request{URL: r.url, Revision: revision}
				snapshot, err := m.Fetch(context.Background(), req)
				if err != nil {
					t.Fatalf("Fetch of %s: %v", revision, err)
				}
				checkout(t, r, snapshot)
				head, err := m.Head(context.Background(), req)
				if err != nil || head != snapshot.Commit {
					t.Errorf("Head of %s = %q, %v", revision, head, err)
				}
			}
			// The history grows; what is new is all that comes.
			old := s.bytes.Load()
			late := r.commit(map[string]string{"n": "late"})
			r.commit(map[string]string{"n": "later"})
			fetch(t, m, Request{URL: r.url, Revision: late[:11]}, late)
			if cost := s.bytes.Load() - old; cost > 3000 {
				t.Errorf("two small commits cost %d bytes", cost)
			}
			fsck(t, m)
		})
	}
}

func TestPinnedCommitNeedsNoServer(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	commit := r.commit(map[string]string{"a": "1"})
	m := newTestMirrors(t, Limits{})
	req := Request{URL: r.url, Revision: commit}
	fetch(t, m, req, commit)
	s.Close()
	fetch(t, m, req, commit)
	if head, err := m.Head(context.Background(), req); err != nil || head != commit {
		t.Errorf("Head = %q, %v", head, err)
	}
}

func TestTagMoves(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	m := newTestMirrors(t, Limits{})
	req := Request{URL: r.url, Revision: "stable"}
	for i := range 4 {
		commit := r.commit(map[string]string{"n": fmt.Sprint(i)})
		args := []string{"tag", "--force", "stable"}
		if i%2 == 1 {
			args = []string{"tag", "--force", "-a", "-m", "stable", "stable"}
		}
		git(t, r.work, args...)
		git(t, r.work, "push", "--quiet", "--force", "origin", "refs/tags/stable")
		if head, err := m.Head(context.Background(), req); err != nil || head != commit {
			t.Fatalf("Head = %q, %v, want %q", head, err, commit)
		}
		checkout(t, r, fetch(t, m, req, commit))
	}
	fsck(t, m)
}

// A server without shallow fetches still works, with whole histories.
func TestServerWithoutShallow(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	s.intercept(func(w http.ResponseWriter, req *http.Request, git http.Handler) {
		if !strings.HasSuffix(req.URL.Path, infoRefs) {
			git.ServeHTTP(w, req)
			return
		}
		recorded := httptest.NewRecorder()
		git.ServeHTTP(recorded, req)
		w.Header().Set("Content-Type", recorded.Header().Get("Content-Type"))
		_, _ = w.Write(bytes.Replace(recorded.Body.Bytes(), []byte(" shallow "), []byte(" hallows "), 1))
	})
	m := newTestMirrors(t, Limits{})
	for i := range 3 {
		checkout(t, r, fetch(t, m, Request{URL: r.url}, r.commit(map[string]string{"a": fmt.Sprint(i)})))
	}
	fsck(t, m)
	if names := m.names(t); len(names) != 1 || !strings.HasSuffix(names[0], historySuffix) {
		t.Errorf("the mirrors are %v, want one with histories", names)
	}
}

func (m *Mirrors) names(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestOpenWhatWasNotFetched(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	commit := r.commit(map[string]string{"a": "1"})
	m := newTestMirrors(t, Limits{})
	for _, id := range []string{commit, "", "../../etc/passwd", strings.Repeat("0", 40), commit[:10]} {
		if _, err := m.Open(context.Background(), Request{URL: r.url}, id); !errors.Is(err, ErrNotFetched) {
			t.Errorf("Open(%q) = %v, want ErrNotFetched", id, err)
		}
	}
}

// A mirror does not grow for ever: it is begun anew, and only the generation
// before is kept.
func TestMirrorIsRenewed(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	m := newTestMirrors(t, Limits{MaxBytes: 9_000})
	req := Request{URL: r.url}
	for i := range 14 {
		checkout(t, r, fetch(t, m, req, r.commit(map[string]string{"noise": noise(uint64(i+1), 10_000)})))
	}
	numbers := m.mirror(mustTarget(t, req).key()).numbers()
	if len(numbers) != 2 || numbers[0] == 1 {
		t.Errorf("the generations are %v, want the current and the one before", numbers)
	}
}

// Whoever reads a snapshot goes on reading while the mirror is begun anew.
func TestSnapshotOutlivesARenewal(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	m := newTestMirrors(t, Limits{})
	req := Request{URL: r.url}
	snapshot := fetch(t, m, req, r.commit(map[string]string{"dir/file": "content"}))
	if _, err := m.mirror(mustTarget(t, req).key()).renew(); err != nil {
		t.Fatal(err)
	}
	checkout(t, r, snapshot)
}

func mustTarget(t testing.TB, req Request) target {
	t.Helper()
	target, err := newTarget(req)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestPrune(t *testing.T) {
	s := newServer(t)
	const keepUnused = 15 * time.Minute
	m := newTestMirrors(t, Limits{KeepUnused: keepUnused})
	var reqs []Request
	var commits []string
	for _, name := range []string{"one", "two", "three"} {
		r := s.repository(t, name)
		commits = append(commits, r.commit(map[string]string{"a": name}))
		reqs = append(reqs, Request{URL: r.url})
		fetch(t, m, reqs[len(reqs)-1], commits[len(commits)-1])
	}
	if err := os.WriteFile(filepath.Join(m.dir, "not-ours"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	prune := func(want time.Duration) {
		t.Helper()
		if again, err := m.Prune(reqs[1:2]); err != nil || again != want {
			t.Errorf("Prune: look again in %s, want %s: %v", again, want, err)
		}
	}
	now := time.Now()
	m.now = func() time.Time { return now }
	for i := range reqs {
		fetch(t, m, reqs[i], commits[i])
	}
	// Somebody may be reading what was opened a moment ago.
	prune(keepUnused)
	now = now.Add(keepUnused - time.Minute)
	prune(time.Minute)
	if _, err := m.Open(context.Background(), reqs[0], commits[0]); err != nil {
		t.Errorf("a mirror that is in use was removed: %v", err)
	}
	now = now.Add(time.Minute)
	prune(keepUnused - time.Minute)
	if _, err := os.Stat(m.mirror(mustTarget(t, reqs[2]).key()).dir); !os.IsNotExist(err) {
		t.Errorf("a mirror that nobody uses is kept: %v", err)
	}
	// Of what is on disk from an earlier process, nobody reads anything.
	var err error
	if m, err = NewMirrors(m.dir, Limits{}, quiet()); err != nil {
		t.Fatal(err)
	}
	prune(0)
	for i, wantKept := range []bool{false, true, false} {
		_, err := m.Open(context.Background(), reqs[i], commits[i])
		if kept := err == nil; kept != wantKept {
			t.Errorf("mirror %d: kept = %v, want %v", i, kept, wantKept)
		}
	}
	if _, err := os.Stat(filepath.Join(m.dir, "not-ours")); err != nil {
		t.Errorf("Prune removed what is not a mirror: %v", err)
	}
	fetch(t, m, reqs[0], commits[0])
}

// The same address with other credentials is another mirror: what one tenant
// fetched, another cannot open.
func TestMirrorsAreApartByCredential(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	commit := r.commit(map[string]string{"a": "1"})
	m := newTestMirrors(t, Limits{})
	fetch(t, m, Request{URL: r.url, Auth: &Auth{Username: "ada", Password: "one"}}, commit)
	for _, other := range []*Auth{nil, {Username: "ada", Password: "two"}, {Username: "adao", Password: "ne"}} {
		if _, err := m.Open(context.Background(), Request{URL: r.url, Auth: other}, commit); !errors.Is(err, ErrNotFetched) {
			t.Errorf("Open with credentials %v found another's commit", other)
		}
	}
}
