package gitrepos

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/source"
)

// refusal returns why the GitRepo must not be acted on, or nil. Rules that are
// not enforced yet refuse: ignoring them would grant what they forbid.
func (c *controller) refusal(repo *fleet.GitRepo) *refusal {
	restrictions, err1 := c.restrictions.List(repo.Namespace, labels.Everything())
	policies, err2 := c.policies.List(repo.Namespace, labels.Everything())
	if err1 != nil || err2 != nil {
		return &refusal{"RestrictionsUnknown", "the restrictions of the namespace could not be read; this is tried again when they change"}
	}
	unsupported := func(what string) *refusal {
		return &refusal{fleet.ReasonNotImplemented, what + " is not supported yet by this version, and is not ignored: remove it to go on"}
	}
	switch spec := repo.Spec; {
	case len(restrictions) > 0:
		return unsupported("GitRepoRestriction " + restrictions[0].Name + " in namespace " + repo.Namespace)
	case len(policies) > 0:
		return unsupported("Policy " + policies[0].Name + " in namespace " + repo.Namespace)
	case spec.OCIRegistrySecret != "":
		return unsupported("spec.ociRegistrySecret")
	}
	return nil
}

// request says what is to be fetched, and with which credentials.
func (c *controller) request(ctx context.Context, repo *fleet.GitRepo) (source.Request, error) {
	request := source.Request{
		URL: repo.Spec.Repo, Branch: repo.Spec.Branch, Revision: repo.Spec.Revision,
		CABundle: repo.Spec.CABundle, InsecureSkipTLSVerify: repo.Spec.InsecureSkipTLSVerify,
	}
	name, required := repo.Spec.ClientSecretName, true
	if name == "" {
		name, required = names.SecretGitCredential, false
	}
	secret, err := c.Hub.Secrets.Get(ctx, repo.Namespace, name)
	switch {
	case apierrors.IsNotFound(err) && !required:
		return request, nil
	case apierrors.IsNotFound(err):
		return request, fmt.Errorf("spec.clientSecretName: secret %s is not in namespace %s: create it, or correct the name", name, repo.Namespace)
	case err != nil:
		return request, fmt.Errorf("reading secret %s: %w", name, err)
	}
	if request.Auth, err = source.AuthFromSecret(secret); err != nil {
		return request, fmt.Errorf("spec.clientSecretName: %w", err)
	}
	return request, nil
}
