package gitrepos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader/charts"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/source"
)

// inputError is something that a user has to put right before anything of the
// GitRepo can be read.
type inputError struct{ field, message string }

func (e *inputError) Error() string { return e.field + ": " + e.message }

// chartSecretOf returns the Secret with the GitRepo's credentials for charts,
// and the field that names it. Without a field there is none.
func chartSecretOf(repo *fleet.GitRepo) (key kube.Key, field string) {
	switch spec := repo.Spec; {
	case spec.HelmSecretNameForPaths != "":
		return kube.Key{Namespace: repo.Namespace, Name: spec.HelmSecretNameForPaths}, "spec.helmSecretNameForPaths"
	case spec.HelmSecretName != "":
		return kube.Key{Namespace: repo.Namespace, Name: spec.HelmSecretName}, "spec.helmSecretName"
	default:
		return kube.Key{}, ""
	}
}

// chartCredentials reads what the GitRepo's bundles may show to chart servers.
func (c *controller) chartCredentials(ctx context.Context, repo *fleet.GitRepo) (bundlereader.ChartCredentials, error) {
	spec := repo.Spec
	if spec.HelmSecretName == "" && spec.HelmSecretNameForPaths == "" {
		return bundlereader.ChartCredentials{}, nil
	}
	allowed, err := bundlereader.NewAddresses(spec.HelmRepoURLRegex)
	if err != nil {
		return bundlereader.ChartCredentials{}, &inputError{"spec.helmRepoURLRegex", err.Error()}
	}
	key, field := chartSecretOf(repo)
	secret, err := c.Secrets.Get(ctx, key)
	switch {
	case apierrors.IsNotFound(err):
		return bundlereader.ChartCredentials{}, &inputError{field, fmt.Sprintf("secret %s is not in namespace %s: create it, or correct the name", key.Name, key.Namespace)}
	case err != nil:
		return bundlereader.ChartCredentials{}, err
	}
	var found bundlereader.ChartCredentials
	if spec.HelmSecretNameForPaths != "" {
		found.Paths, err = bundlereader.PathCredentialsFromSecret(secret, allowed)
	} else {
		found.All, err = bundlereader.ChartAuthFromSecret(secret, allowed)
	}
	if err != nil {
		return bundlereader.ChartCredentials{}, &inputError{field, err.Error()}
	}
	return found, nil
}

// ChartRepositories fetches charts from Git repositories into mirrors.
type ChartRepositories struct{ Mirrors Mirrors }

// fullCommit is a commit that is named in full.
var fullCommit = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)

// Tree returns the files of a commit: that of the branch of the given name or,
// where there is none, of the tag, or the commit itself.
func (r ChartRepositories) Tree(ctx context.Context, commit charts.Commit) (fs.FS, error) {
	request := source.Request{URL: commit.URL}
	if auth := commit.Auth; auth != nil {
		request.CABundle, request.InsecureSkipTLSVerify = auth.CACerts, auth.InsecureSkipVerify
		request.Auth = &source.Auth{
			Username: auth.Username, Password: auth.Password, SSHPrivateKey: auth.SSHPrivateKey, KnownHosts: auth.KnownHosts,
		}
	}
	var last error
	for _, try := range attempts(commit.Ref) {
		request.Branch, request.Revision = try.Branch, try.Revision
		snapshot, err := r.Mirrors.Fetch(ctx, request)
		if err == nil {
			return snapshot.Tree(), nil
		}
		last = err
		var wrong *source.Error
		if !errors.As(err, &wrong) || wrong.Reason != source.RefNotFound {
			break
		}
	}
	return nil, last
}

// attempts lists what a name may be, the likeliest first.
func attempts(ref string) []source.Request {
	switch {
	case ref == "":
		return []source.Request{{Branch: "main"}, {Branch: "master"}}
	case fullCommit.MatchString(ref):
		return []source.Request{{Revision: ref}}
	default:
		return []source.Request{{Branch: ref}, {Revision: ref}}
	}
}
