package gitrepos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader/charts"
	"github.com/flotilla-gitops/flotilla/pkg/source"
)

// chartCredentials reads what the GitRepo's bundles may show to chart servers.
func (c *controller) chartCredentials(ctx context.Context, repo *fleet.GitRepo) (bundlereader.ChartCredentials, error) {
	var found bundlereader.ChartCredentials
	spec := repo.Spec
	if spec.HelmSecretName == "" && spec.HelmSecretNameForPaths == "" {
		return found, nil
	}
	allowed, err := bundlereader.NewAddresses(spec.HelmRepoURLRegex)
	if err != nil {
		return found, fmt.Errorf("spec.helmRepoURLRegex: %w", err)
	}
	if spec.HelmSecretNameForPaths != "" {
		secret, err := c.chartSecret(ctx, repo.Namespace, "spec.helmSecretNameForPaths", spec.HelmSecretNameForPaths)
		if err != nil {
			return found, err
		}
		if found.Paths, err = bundlereader.PathCredentialsFromSecret(secret, allowed); err != nil {
			return found, fmt.Errorf("spec.helmSecretNameForPaths: %w", err)
		}
		return found, nil
	}
	secret, err := c.chartSecret(ctx, repo.Namespace, "spec.helmSecretName", spec.HelmSecretName)
	if err != nil {
		return found, err
	}
	if found.All, err = bundlereader.ChartAuthFromSecret(secret, allowed); err != nil {
		return found, fmt.Errorf("spec.helmSecretName: %w", err)
	}
	return found, nil
}

// chartSecret reads a Secret that a field names.
func (c *controller) chartSecret(ctx context.Context, namespace, field, name string) (*corev1.Secret, error) {
	secret, err := c.Hub.Secrets.Get(ctx, namespace, name)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("%s: secret %s is not in namespace %s: create it, or correct the name", field, name, namespace)
	case err != nil:
		return nil, fmt.Errorf("reading secret %s: %w", name, err)
	}
	return secret, nil
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
