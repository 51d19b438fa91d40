package installation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
)

// SampleName names the repository that every installation begins with.
const SampleName = "sample"

// GitURL is the address of the git server; a repository is at GitURL()/NAME.git. It is known after Up.
func (i *Installation) GitURL() string { return fmt.Sprintf("http://127.0.0.1:%d", i.ports[gitPart]) }

// Repository returns one of the repositories that the git server serves, made or not.
func (i *Installation) Repository(name string) *repo.Repository {
	return repo.Open(filepath.Join(i.GitDir(), name+".git"))
}

// startGit serves the repositories, the sample among them, and writes down where.
func (i *Installation) startGit(ctx context.Context) error {
	sample, err := repo.Init(ctx, i.Repository(SampleName).Dir())
	if err != nil {
		return err
	}
	if _, err := sample.Head(ctx, repo.DefaultBranch); errors.Is(err, repo.ErrNoBranch) {
		tree := os.DirFS(filepath.Join(i.root, "dev", "playground", "sample"))
		_, err = sample.Commit(ctx, repo.Change{Message: "A small shop", Tree: tree})
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := i.startProgram(ctx, gitPart, healthz); err != nil {
		return err
	}
	return os.WriteFile(i.GitURLFile(), []byte(i.GitURL()+"\n"), 0o644)
}

// removeGit removes what Flotilla made below the git folder and returns what it did not make.
func (i *Installation) removeGit() (kept []string, err error) {
	entries, err := os.ReadDir(i.GitDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("removing repositories: %w", err)
	}
	for _, entry := range entries {
		path := filepath.Join(i.GitDir(), entry.Name())
		if entry.IsDir() && entry.Name() != SampleName+".git" && strings.HasSuffix(entry.Name(), ".git") {
			kept = append(kept, path)
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return kept, fmt.Errorf("removing repositories: %w", err)
		}
	}
	if len(kept) == 0 {
		return nil, os.Remove(i.GitDir())
	}
	return kept, nil
}
