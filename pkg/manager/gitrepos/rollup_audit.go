package gitrepos

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// account is how the status of GitRepos is counted anew.
func (c *controller) account() kube.Account {
	return kube.Account{Kind: "GitRepo", Keys: c.audited, Mismatch: c.mismatch, Repair: c.repair}
}

func (c *controller) audited() ([]kube.Key, error) {
	repos, err := c.gitrepos.List("", labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing gitrepos: %w", err)
	}
	return kube.KeysOf(repos), nil
}

func (c *controller) mismatch(key kube.Key) (string, error) {
	repo, err := c.gitrepos.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading gitrepo: %w", err)
	}
	kept := c.facts(key, repo)
	facts := kept
	if err := c.addChildren(key, &facts); err != nil {
		return "", err
	}
	facts.Stale = c.rollups.stale(key, facts.Now.Time)
	right, told := status.ForGitRepo(facts), repo.Status
	if equality.Semantic.DeepEqual(told, right) {
		// The hub says what is right; what is kept must, too.
		told, _ = c.rollups.status(kept, facts.Now.Time)
	}
	return kube.Difference(&fleet.GitRepo{Status: told}, &fleet.GitRepo{Status: right})
}

func (c *controller) repair(key kube.Key) error {
	var facts status.GitRepoFacts
	if err := c.addChildren(key, &facts); err != nil {
		return err
	}
	c.rollups.rebuild(key, facts)
	c.status.Wake(key)
	return nil
}

// addChildren reads the GitRepo's bundles and deployments, and which of their
// clusters are offline.
func (c *controller) addChildren(key kube.Key, facts *status.GitRepoFacts) error {
	var err error
	if facts.Bundles, err = c.bundles.GetByIndex(kube.BundlesByRepo, key.String()); err != nil {
		return fmt.Errorf("listing bundles: %w", err)
	}
	if facts.Deployments, err = c.deployments.GetByIndex(kube.DeploymentsByRepo, key.String()); err != nil {
		return fmt.Errorf("listing deployments: %w", err)
	}
	facts.Offline = status.Offline{}
	for _, bd := range facts.Deployments {
		of := kube.ClusterOf(bd)
		cluster, err := c.clusters.Get(of.Namespace, of.Name)
		if err == nil {
			facts.Offline.Note(cluster)
		} else if !apierrors.IsNotFound(err) {
			return fmt.Errorf("reading cluster: %w", err)
		}
	}
	return nil
}
