package skew

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestPreviousIsACommit(t *testing.T) {
	if !regexp.MustCompile("^[0-9a-f]{40}$").MatchString(Previous()) {
		t.Errorf("dev/skew/previous holds %q", Previous())
	}
}

// repository makes one with a commit of two programs, and returns it with that commit.
func repository(t *testing.T) (dir, commit string) {
	t.Helper()
	dir = t.TempDir()
	for path, text := range map[string]string{
		"go.mod":              "module example.com/small\n\ngo 1.24\n",
		"cmd/manager/main.go": "package main\n\nfunc main() { println(\"manager\") }\n",
		"cmd/agent/main.go":   "package main\n\nfunc main() { println(\"agent\") }\n",
	} {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"git", "init", "--quiet"}, {"git", "add", "--all"},
		{"git", "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "--message", "first"},
	} {
		if err := run(t.Context(), dir, args...); err != nil {
			t.Fatal(err)
		}
	}
	head, err := os.ReadFile(filepath.Join(dir, ".git", strings.TrimSpace(strings.TrimPrefix(read(t, dir, ".git/HEAD"), "ref: "))))
	if err != nil {
		t.Fatal(err)
	}
	return dir, strings.TrimSpace(string(head))
}

func read(t *testing.T, elements ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The programs are those of the commit, whatever the working tree holds, and are built once.
func TestProgramsAreThoseOfTheCommit(t *testing.T) {
	root, commit := repository(t)
	cache := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "cmd", "agent", "main.go"), []byte("does not compile"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	programs, err := version{root, commit}.ensure(t.Context(), cache, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{programs.Manager, programs.Agent} {
		if err := run(t.Context(), cache, program, ""); err != nil {
			t.Error(err)
		}
	}
	if again, err := (version{filepath.Join(cache, "nowhere"), commit}).ensure(t.Context(), cache, &out); err != nil || again != programs {
		t.Errorf("built twice: %v, %v", again, err)
	}
	if out.Len() > 0 {
		t.Errorf("there was nothing to say: %s", &out)
	}
}

// A commit that is not there is fetched, in one line; where it cannot be, the error says what to do.
func TestACommitThatIsMissing(t *testing.T) {
	origin, commit := repository(t)
	clone := t.TempDir()
	for _, args := range [][]string{{"git", "init", "--quiet"}, {"git", "remote", "add", "origin", "file://" + origin}} {
		if err := run(t.Context(), clone, args...); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := (version{clone, commit}).ensure(t.Context(), t.TempDir(), &out); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "fetching") {
		t.Errorf("it said %q", &out)
	}
	_, err := version{clone, strings.Repeat("0", 39) + "1"}.ensure(t.Context(), t.TempDir(), &out)
	if err == nil || !strings.Contains(err.Error(), "git fetch --unshallow") {
		t.Errorf("got %v", err)
	}
}
