package harness

import (
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
}

// GitRepository makes an empty repository and serves it until the test ends.
func GitRepository(t testing.TB) *Repository {
	t.Helper()
	dir := t.TempDir()
	bare, err := repo.Init(t.Context(), filepath.Join(dir, "sample.git"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := gitserver.Start(gitserver.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("closing git server: %v", err)
		}
	})
	return &Repository{Repository: bare, URL: server.URL() + "/sample.git"}
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
