package harness

import (
	"io"
	"testing"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/gittest"
)

// Repository is a git repository that a server of the test's own serves over HTTP.
type Repository = gittest.Repository

// GitRepository makes an empty repository and serves it until the test ends.
func GitRepository(t testing.TB) *Repository {
	t.Helper()
	return gittest.New(t, gitserver.Options{})
}

// GitRepositoryOverTLS is a GitRepository over HTTPS, with a certificate of an authority that nobody knows.
func GitRepositoryOverTLS(t testing.TB) *Repository {
	t.Helper()
	return gittest.New(t, gitserver.Options{TLS: true})
}

// CloseAtEnd closes something when the test ends.
func CloseAtEnd(t testing.TB, what string, c io.Closer) {
	t.Helper()
	gittest.CloseAtEnd(t, what, c)
}
