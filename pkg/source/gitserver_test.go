package source

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sirupsen/logrus"
)

// gitEnv keeps the machine's configuration out of the tests.
func gitEnv() []string {
	return append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.test", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.test",
	)
}

// git runs the real git and returns what it prints.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, gitEnv()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// server is the real git http-backend.
type server struct {
	*httptest.Server
	root   string
	bytes  atomic.Int64 // sent as packs
	packs  atomic.Int64
	asked  atomic.Int64
	mu     sync.Mutex
	before middleware
}

// middleware stands in front of git.
type middleware func(w http.ResponseWriter, r *http.Request, git http.Handler)

func newServer(t testing.TB) *server {
	t.Helper()
	backend := filepath.Join(git(t, "", "--exec-path"), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Fatalf("these tests need git's own http-backend: %v", err)
	}
	s := &server{root: t.TempDir()}
	handler := &cgi.Handler{
		Path: backend,
		Env:  []string{"GIT_PROJECT_ROOT=" + s.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1"},
		// Aborted requests are part of the tests.
		Stderr: io.Discard,
		Logger: log.New(io.Discard, "", 0),
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.mu.Lock()
		before := s.before
		s.mu.Unlock()
		if strings.HasSuffix(r.URL.Path, "/git-upload-pack") {
			s.packs.Add(1)
			w = &counter{ResponseWriter: w, n: &s.bytes}
		}
		if before == nil {
			before = func(w http.ResponseWriter, r *http.Request, git http.Handler) { git.ServeHTTP(w, r) }
		}
		before(w, r, handler)
	}))
	t.Cleanup(s.Close)
	return s
}

// intercept puts a handler in front of git.
func (s *server) intercept(before middleware) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// repository is a repository on a server and a working copy of it.
type repository struct {
	t    testing.TB
	bare string
	work string
	url  string
}

func (s *server) repository(t testing.TB, name string) *repository {
	t.Helper()
	r := &repository{t: t, bare: filepath.Join(s.root, name+".git"), work: t.TempDir(), url: s.URL + "/" + name + ".git"}
	git(t, "", "init", "--quiet", "--bare", "--initial-branch=master", r.bare)
	git(t, "", "init", "--quiet", "--initial-branch=master", r.work)
	git(t, r.work, "remote", "add", "origin", r.bare)
	return r
}

// write puts files into the working copy.
func (r *repository) write(files map[string]string) {
	r.t.Helper()
	for name, content := range files {
		path := filepath.Join(r.work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// commit writes files, commits everything and pushes it to master by force.
func (r *repository) commit(files map[string]string) string {
	r.t.Helper()
	r.write(files)
	git(r.t, r.work, "add", "--all")
	git(r.t, r.work, "commit", "--quiet", "--allow-empty", "-m", "change")
	git(r.t, r.work, "push", "--quiet", "--force", "origin", "HEAD:refs/heads/master")
	return git(r.t, r.work, "rev-parse", "HEAD")
}

func quiet() logrus.FieldLogger {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logger
}

func newTestMirrors(t testing.TB, limits Limits) *Mirrors {
	t.Helper()
	m, err := NewMirrors(t.TempDir(), limits, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// fetch fetches and checks that the snapshot is of the commit expected.
func fetch(t testing.TB, m *Mirrors, req Request, commit string) *Snapshot {
	t.Helper()
	snapshot, err := m.Fetch(context.Background(), req)
	if err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	if snapshot.Commit != commit {
		t.Fatalf("Fetch returned commit %s, want %s", snapshot.Commit, commit)
	}
	return snapshot
}

// checkout compares a snapshot, file by file, with what git has.
func checkout(t testing.TB, r *repository, s *Snapshot) {
	t.Helper()
	var names []string
	var hashes strings.Builder
	for line := range strings.SplitSeq(git(t, r.work, "ls-tree", "-z", "-r", "--full-tree", s.Commit), "\x00") {
		meta, name, ok := strings.Cut(line, "\t")
		if fields := strings.Fields(meta); ok && fields[1] == "blob" && fields[0] != "120000" {
			names = append(names, name)
			fmt.Fprintln(&hashes, fields[2])
		}
	}
	cmd := exec.Command("git", "cat-file", "--batch")
	cmd.Dir, cmd.Stdin = r.work, strings.NewReader(hashes.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := files(t, s)
	if len(got) != len(names) {
		t.Errorf("the snapshot has %d files, git has %d", len(got), len(names))
	}
	for _, name := range names {
		header, rest, _ := strings.Cut(string(out), "\n")
		size, err := strconv.Atoi(header[strings.LastIndex(header, " ")+1:])
		if err != nil {
			t.Fatal(err)
		}
		if got[name] != rest[:size] {
			t.Errorf("%s: the snapshot differs from git", name)
		}
		out = []byte(rest[size+1:])
	}
}

// fsck lets git itself judge every generation of every mirror.
func fsck(t testing.TB, m *Mirrors) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(m.dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if (generation{dir: dir}).damaged() {
			continue
		}
		shallow := !strings.HasSuffix(filepath.Dir(dir), historySuffix)
		var boundary strings.Builder
		for _, mark := range (generation{dir: dir}).marks() {
			fmt.Fprintln(&boundary, mark.commit)
			name := filepath.Join(dir, "refs", "complete", mark.commit.String())
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(mark.commit.String()+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if shallow {
			if err := os.WriteFile(filepath.Join(dir, "shallow"), []byte(boundary.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		git(t, dir, "fsck", "--full", "--strict", "--no-dangling")
		os.RemoveAll(filepath.Join(dir, "refs", "complete"))
		os.Remove(filepath.Join(dir, "shallow"))
	}
}
