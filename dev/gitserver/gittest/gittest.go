// Package gittest gives tests git repositories that real servers serve.
package gittest

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
)

// Repository is a git repository that a server of the test's own serves over HTTP.
type Repository struct {
	*repo.Repository

	// URL is for GitRepo.spec.repo.
	URL string
	// CA is the certificate of the authority that the server's is signed by, for GitRepo.spec.caBundle; empty without TLS.
	CA []byte
}

// New makes an empty repository and serves it until the test ends, in a folder that options do not say.
func New(t testing.TB, options gitserver.Options) *Repository {
	t.Helper()
	options.Dir = t.TempDir()
	bare, err := repo.Init(t.Context(), filepath.Join(options.Dir, "sample.git"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := gitserver.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	CloseAtEnd(t, "git server", server)
	return &Repository{Repository: bare, URL: server.URL() + "/sample.git", CA: server.CA()}
}

// ServeOverSSH serves the repository over SSH, too, and returns its address there.
func (r *Repository) ServeOverSSH(t testing.TB) (*gitserver.SSHServer, string) {
	t.Helper()
	server, err := gitserver.StartSSH(filepath.Dir(r.Dir()))
	if err != nil {
		t.Fatal(err)
	}
	CloseAtEnd(t, "SSH server", server)
	return server, server.URL(r.Dir())
}

// CloseAtEnd closes something when the test ends.
func CloseAtEnd(t testing.TB, what string, c io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("closing %s: %v", what, err)
		}
	})
}

// Push makes a commit and returns its id.
func (r *Repository) Push(t testing.TB, change repo.Change) string {
	t.Helper()
	commit, err := r.Commit(t.Context(), change)
	if err != nil {
		t.Fatalf("committing: %v", err)
	}
	return commit
}

// Serve has the repository ask for a password, or fail, from now on.
func (r *Repository) Serve(t testing.TB, behaviour gitserver.Behaviour) {
	t.Helper()
	if err := gitserver.Configure(r.Dir(), behaviour); err != nil {
		t.Fatal(err)
	}
}
