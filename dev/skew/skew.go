// Package skew provides the programs of the version before this one, for tests of what happens while hub and agents are not of
// the same version. They are built from the commit that the file previous names: that of the last release, or of the last change
// that old and new have to live through.
package skew

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/filelock"
	"github.com/flotilla-gitops/flotilla/dev/process"
)

//go:embed previous
var previous string

// Previous returns the commit of the version before this one.
func Previous() string { return strings.TrimSpace(previous) }

// Programs are the paths of what was built.
type Programs struct{ Manager, Agent string }

// Ensure returns the programs of the previous version, after building them if they are not in the cache: a minute or more the
// first time. A commit that a shallow clone lacks is fetched; out takes one line about that.
func Ensure(ctx context.Context, out io.Writer) (Programs, error) {
	root, err := binaries.SourceRoot()
	if err != nil {
		return Programs{}, err
	}
	cache, err := binaries.CacheDir("")
	if err != nil {
		return Programs{}, err
	}
	return version{root, Previous()}.ensure(ctx, filepath.Join(cache, "skew"), out)
}

// version is a commit of a repository.
type version struct{ root, commit string }

func (v version) ensure(ctx context.Context, cache string, out io.Writer) (Programs, error) {
	dir := filepath.Join(cache, v.commit)
	programs := Programs{Manager: filepath.Join(dir, "manager"), Agent: filepath.Join(dir, "agent")}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Programs{}, fmt.Errorf("making cache folder: %w", err)
	}
	release, err := filelock.Acquire(ctx, filepath.Join(cache, "lock"), nil)
	if err != nil {
		return Programs{}, fmt.Errorf("waiting for another build: %w", err)
	}
	defer release()
	if _, err := os.Stat(dir); err == nil {
		return programs, nil
	}
	if err := have(ctx, v.root, v.commit, out); err != nil {
		return Programs{}, err
	}
	return programs, build(ctx, v.root, v.commit, dir)
}

// have makes sure that the repository has the commit.
func have(ctx context.Context, root, commit string, out io.Writer) error {
	if run(ctx, root, "git", "cat-file", "-e", commit+"^{commit}") == nil {
		return nil
	}
	fmt.Fprintf(out, "the commit %s of the previous version is not in this clone: fetching it from origin\n", commit)
	if err := run(ctx, root, "git", "fetch", "--quiet", "--depth=1", "origin", commit); err != nil {
		return fmt.Errorf("fetching the previous version, which dev/skew/previous names (or run `git fetch --unshallow`): %w", err)
	}
	return nil
}

// build compiles the programs of a commit in a folder of their own, and puts them where they belong once they are all there.
func build(ctx context.Context, root, commit, dir string) error {
	work, err := os.MkdirTemp(filepath.Dir(dir), "build-")
	if err != nil {
		return fmt.Errorf("making folder: %w", err)
	}
	defer os.RemoveAll(work)
	source, built := filepath.Join(work, "source"), filepath.Join(work, "built")
	archive := filepath.Join(work, "source.tar")
	if err := os.Mkdir(source, 0o755); err != nil {
		return fmt.Errorf("making folder: %w", err)
	}
	for _, step := range [][]string{
		{root, "git", "archive", "--output", archive, commit},
		{work, "tar", "--extract", "--file", archive, "--directory", source},
		{source, "go", "build", "-ldflags", "-s -w", "-o", built + string(filepath.Separator), "./cmd/manager", "./cmd/agent"},
	} {
		if err := run(ctx, step[0], step[1:]...); err != nil {
			return fmt.Errorf("building the previous version: %w", err)
		}
	}
	if err := os.Rename(built, dir); err != nil {
		return fmt.Errorf("keeping the previous version: %w", err)
	}
	return nil
}

func run(ctx context.Context, dir string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	var output bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &output, &output
	if err := process.Run(ctx, cmd); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args[:2], " "), err, strings.TrimSpace(output.String()))
	}
	return nil
}
