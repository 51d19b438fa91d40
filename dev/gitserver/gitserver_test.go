package gitserver_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
)

// serve starts a server with one repository and returns the repository and its URL.
func serve(t *testing.T) (*repo.Repository, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "served")
	r, err := repo.Init(t.Context(), filepath.Join(dir, "sample.git"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Commit(t.Context(), repo.Change{Write: map[string]string{"greeting": "hello"}}); err != nil {
		t.Fatal(err)
	}
	server, err := gitserver.Start(gitserver.Options{Dir: dir, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, server.URL() + "/sample.git"
}

// git runs the real client.
func git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
	cmd.WaitDelay = 5 * time.Second // Its own helper would outlive it where it hangs.
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustGit(t *testing.T, args ...string) string {
	t.Helper()
	out, err := git(t.Context(), args...)
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

func withPassword(t *testing.T, address, username, password string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	parsed.User = url.UserPassword(username, password)
	return parsed.String()
}

func TestCloneAndPush(t *testing.T) {
	r, address := serve(t)
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, "clone", "--quiet", address, work)
	if got, err := os.ReadFile(filepath.Join(work, "greeting")); err != nil || string(got) != "hello" {
		t.Fatalf("cloned %q, %v", got, err)
	}
	// Bigger than what git sends in one piece, and incompressible.
	big := make([]byte, 3<<20)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(big)
	if err := os.WriteFile(filepath.Join(work, "big"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	mustGit(t, "-C", work, "add", "big")
	mustGit(t, "-C", work, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "-m", "big")
	mustGit(t, "-C", work, "push", "--quiet", "origin", "HEAD")
	head, err := r.Head(t.Context(), "main")
	if want := mustGit(t, "-C", work, "rev-parse", "HEAD"); err != nil || head != want {
		t.Errorf("after the push the server's head is %s, %v; want %s", head, err, want)
	}
	again := filepath.Join(t.TempDir(), "again")
	mustGit(t, "clone", "--quiet", address, again)
	if got, err := os.ReadFile(filepath.Join(again, "big")); err != nil || !bytes.Equal(got, big) {
		t.Errorf("what was pushed comes back different (%v)", err)
	}
}

func TestPasswordIsAskedForWhereOneIsSet(t *testing.T) {
	r, address := serve(t)
	if err := gitserver.Configure(r.Dir(), gitserver.Behaviour{Username: "tom", Password: "s3cret"}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, address string
		works         bool
	}{
		{"none", address, false},
		{"wrong password", withPassword(t, address, "tom", "guess"), false},
		{"wrong user", withPassword(t, address, "tim", "s3cret"), false},
		{"right", withPassword(t, address, "tom", "s3cret"), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := git(t.Context(), "ls-remote", "--", test.address)
			if works := err == nil; works != test.works {
				t.Errorf("works: %v, want %v\n%s", works, test.works, out)
			}
		})
	}
}

func TestFailuresOnPurpose(t *testing.T) {
	r, address := serve(t)
	fail := func(failure gitserver.Failure) {
		if err := gitserver.Configure(r.Dir(), gitserver.Behaviour{Failure: failure}); err != nil {
			t.Fatal(err)
		}
	}
	for failure, want := range map[gitserver.Failure]string{
		gitserver.FailRefuse: "Empty reply from server",
		gitserver.FailError:  "500",
		"no such failure":    "500",
	} {
		fail(failure)
		if out, err := git(t.Context(), "ls-remote", "--", address); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: the client says %q, want %q", failure, out, want)
		}
	}
	t.Run("hang", func(t *testing.T) {
		fail(gitserver.FailHang)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if out, err := git(ctx, "ls-remote", "--", address); ctx.Err() == nil {
			t.Errorf("the server answered: %v\n%s", err, out)
		}
	})
	t.Run("recovery", func(t *testing.T) {
		fail(gitserver.FailNot)
		mustGit(t, "ls-remote", "--", address)
	})
}

func TestCloseEndsRequestsThatHang(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "x.git"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := gitserver.Configure(filepath.Join(dir, "x.git"), gitserver.Behaviour{Failure: gitserver.FailHang}); err != nil {
		t.Fatal(err)
	}
	server, err := gitserver.Start(gitserver.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		response, err := http.Get(server.URL() + "/x.git/info/refs")
		if err == nil {
			response.Body.Close()
		}
		ended <- err
	}()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
}

func TestOnlyRepositoriesOfTheFolderAreServed(t *testing.T) {
	r, address := serve(t)
	if _, err := repo.Init(t.Context(), filepath.Join(filepath.Dir(r.Dir()), "..", "outside.git")); err != nil {
		t.Fatal(err)
	}
	base := strings.TrimSuffix(address, "/sample.git")
	for _, path := range []string{"/missing.git", "/../outside.git", "/%2e%2e/outside.git", "/sample.git/%2e%2e/%2e%2e/outside.git"} {
		if out, err := git(t.Context(), "ls-remote", "--", base+path); err == nil {
			t.Errorf("%s is served:\n%s", path, out)
		}
	}
	response, err := http.Get(address + "/" + gitserver.BehaviourFile)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("the file with the password is answered with %s", response.Status)
	}
}

func TestServerListensOnThisMachineOnly(t *testing.T) {
	if server, err := gitserver.Start(gitserver.Options{Dir: t.TempDir(), Address: ":0"}); err == nil {
		server.Close()
		t.Error("it serves the whole network")
	}
	server, err := gitserver.Start(gitserver.Options{Dir: t.TempDir(), Address: ":0", Wider: true})
	if err != nil {
		t.Fatalf("it does not even where it was told to: %v", err)
	}
	server.Close()
}
