package copies

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Uses are what the Secrets of one workspace are used for.
type Uses struct {
	Clusters []*fleet.Cluster
	GitRepos []*fleet.GitRepo
	HelmOps  []*fleet.HelmOp
	// Restrictions and Policies name what GitRepos and HelmOps use that name no Secret.
	Restrictions []*fleet.GitRepoRestriction
	Policies     []*fleet.Policy
}

// Refused says why a Secret cannot be a source; it is empty if it can.
func (u Uses) Refused(s *corev1.Secret) string {
	if of := kindOfCredential(s); of != "" {
		return fmt.Sprintf("it is %s", of)
	}
	if by := u.usedBy(s.Name); by != "" {
		return by + " with it: put what the cluster needs into a Secret of its own"
	}
	return ""
}

// usedBy says what reaches something with the Secret; it is empty if nothing does.
func (u Uses) usedBy(secret string) string {
	for _, c := range u.Clusters {
		if slices.Contains(NamedByCluster(c), secret) {
			return fmt.Sprintf("Cluster %s is reached", c.Name)
		}
	}
	for _, r := range u.GitRepos {
		if slices.Contains(NamedByGitRepo(r), secret) {
			return fmt.Sprintf("GitRepo %s works", r.Name)
		}
	}
	for _, h := range u.HelmOps {
		if slices.Contains(NamedByHelmOp(h), secret) {
			return fmt.Sprintf("HelmOp %s works", h.Name)
		}
	}
	for _, r := range u.Restrictions {
		if slices.Contains(append([]string{r.DefaultClientSecretName}, r.AllowedClientSecretNames...), secret) {
			return fmt.Sprintf("GitRepoRestriction %s lets GitRepos work", r.Name)
		}
	}
	for _, p := range u.Policies {
		if slices.Contains(namedByPolicy(p), secret) {
			return fmt.Sprintf("Policy %s lets repositories be read", p.Name)
		}
	}
	return ""
}

// NamedByCluster returns the Secrets that a Cluster names; some may be empty.
func NamedByCluster(c *fleet.Cluster) []string { return []string{c.Spec.KubeConfigSecret} }

// NamedByGitRepo returns the Secrets that a GitRepo names; some may be empty.
func NamedByGitRepo(r *fleet.GitRepo) []string {
	return []string{r.Spec.ClientSecretName, r.Spec.HelmSecretName, r.Spec.HelmSecretNameForPaths, r.Spec.WebhookSecret, r.Spec.OCIRegistrySecret}
}

// NamedByHelmOp returns the Secrets that a HelmOp names; some may be empty.
func NamedByHelmOp(h *fleet.HelmOp) []string { return []string{h.Spec.HelmSecretName} }

func namedByPolicy(p *fleet.Policy) []string {
	var all []string
	if g := p.GitRepo; g != nil {
		all = append(append(all, g.DefaultClientSecretName), g.AllowedClientSecretNames...)
	}
	if h := p.HelmOp; h != nil {
		all = append(append(all, h.DefaultHelmSecretName), h.AllowedHelmSecretNames...)
	}
	return all
}

// kindOfCredential says what a Secret is that only the hub has a use for.
func kindOfCredential(s *corev1.Secret) string {
	switch s.Type {
	case names.SecretTypeBundleValues, names.SecretTypeDeployment, names.SecretTypeOCIStorage, names.SecretTypeHelmOpAccess:
		return "one that Flotilla writes for bundles"
	case names.SecretTypeAgentCredential, names.SecretTypeClusterRegValues:
		return "a credential of agents"
	case corev1.SecretTypeServiceAccountToken, corev1.SecretTypeBootstrapToken:
		return "a credential of the hub's own API"
	case "helm.sh/release.v1":
		return "a record of Helm"
	case corev1.SecretTypeDockercfg:
		return "of type " + string(corev1.SecretTypeDockercfg) + ", which is not watched: use " + string(corev1.SecretTypeDockerConfigJson)
	}
	switch s.Name {
	case names.SecretGitCredential, names.SecretOCIStorage:
		return "what GitRepos use that name no Secret; put what the cluster needs into a Secret of its own"
	}
	return ""
}
