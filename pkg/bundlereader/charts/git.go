package charts

import (
	"context"
	"errors"
	"io/fs"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
)

// Repositories reads Git repositories. Errors name the address, and hold no
// credentials.
type Repositories interface {
	// Tree returns the files of a commit.
	Tree(ctx context.Context, r Commit) (fs.FS, error)
}

// Commit names a commit of a Git repository.
type Commit struct {
	// URL is the clone address: http(s):// or ssh://.
	URL string
	// Ref is a branch, a tag or a commit; empty means the branch main or, where
	// there is none, master.
	Ref string
	// Auth is what may be shown to the server; nil for nothing.
	Auth *bundlereader.ChartAuth
}

// clone returns the chart in a folder of a Git repository.
func (s *Source) clone(ctx context.Context, o origin, who identity) (map[string][]byte, error) {
	if s.repositories == nil {
		return nil, errors.New("charts from Git repositories cannot be fetched here")
	}
	commit := Commit{URL: o.url, Ref: o.ref, Auth: who.at(o.url)}
	if len(o.sshKey) > 0 {
		own := bundlereader.ChartAuth{SSHPrivateKey: o.sshKey}
		if commit.Auth != nil {
			own.KnownHosts = commit.Auth.KnownHosts
		}
		commit.Auth = &own
	}
	tree, err := s.repositories.Tree(ctx, commit)
	if err != nil {
		if who.auth != nil && commit.Auth == nil {
			return nil, &withheldError{err}
		}
		return nil, err
	}
	files, err := bundlereader.Folder(ctx, tree, o.folder, bundlereader.Limits{MaxBytes: maxUnpackedBytes})
	if err != nil {
		return nil, err
	}
	root, err := findRoot(files, ".")
	if err != nil {
		return nil, err
	}
	return chartAt(files, root)
}

// withheldError is an error that credentials might have kept from happening.
type withheldError struct{ err error }

func (e *withheldError) Error() string {
	return e.err.Error() + " (no credentials were sent, because spec.helmRepoURLRegex of the GitRepo does not match this address)"
}

func (e *withheldError) Unwrap() error { return e.err }
