package gitrepos

import (
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/policy"
)

// ruled returns the GitRepo with the defaults of its workspace, and why it must
// not be acted on, or nil.
func (c *controller) ruled(repo *fleet.GitRepo) (*fleet.GitRepo, *refusal) {
	restrictions, err1 := c.restrictions.List(repo.Namespace, labels.Everything())
	policies, err2 := c.policies.List(repo.Namespace, labels.Everything())
	if err1 != nil || err2 != nil {
		return repo, &refusal{"RestrictionsUnknown", "the restrictions of the namespace could not be read; this is tried again when they change"}
	}
	if refused := unsupported(repo.Spec); refused != nil {
		return repo, refused
	}
	if len(restrictions)+len(policies) == 0 {
		return repo, nil
	}
	verdict := policy.Of(restrictions, policies).GitRepo(repo.Spec)
	with := *repo
	with.Spec = verdict.Spec
	if len(verdict.Refusals) > 0 {
		return &with, &refusal{reasonForbidden, strings.Join(verdict.Refusals, "; ") + "; what runs stays as it is"}
	}
	return &with, nil
}

// unsupported refuses what this version would do something else with than was
// asked for.
func unsupported(spec fleet.GitRepoSpec) *refusal {
	if spec.OCIRegistrySecret == "" {
		return nil
	}
	return &refusal{fleet.ReasonNotImplemented, "spec.ociRegistrySecret is not supported yet by this version, and is not ignored: remove it to go on"}
}
