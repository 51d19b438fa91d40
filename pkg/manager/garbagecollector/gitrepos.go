package garbagecollector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// collectBundles deletes the bundles that the GitRepo no longer justifies, and
// lets the GitRepo go once it is being deleted and every one of them is marked.
func (c *controller) collectBundles(ctx context.Context, key kube.Key) (time.Duration, error) {
	repo, err := optional(c.gitrepos.Get(key.Namespace, key.Name))
	if err != nil {
		return 0, fmt.Errorf("reading gitrepo: %w", err)
	}
	bundles, err := c.bundles.GetByIndex(kube.BundlesByRepo, key.String())
	if err != nil {
		return 0, fmt.Errorf("listing bundles: %w", err)
	}
	var errs []error
	candidates := c.bundleCandidates(repo, unmarked(bundles))
	if len(candidates) > 0 {
		live, err := c.Hub.GitRepos.Get(ctx, key.Namespace, key.Name)
		if err != nil {
			return 0, fmt.Errorf("confirming gitrepo: %w", err)
		}
		for bundle, reason := range c.bundleCandidates(live, unmarked(bundles)) {
			errs = append(errs, c.deleteBundle(ctx, bundle, reason))
		}
		return 0, errors.Join(errs...)
	}
	if repo != nil && repo.DeletionTimestamp != nil {
		return 0, c.releaseRepo(ctx, repo)
	}
	return 0, nil
}

func (c *controller) bundleCandidates(repo *fleet.GitRepo, bundles []*fleet.Bundle) map[*fleet.Bundle]ownership.Reason {
	found := map[*fleet.Bundle]ownership.Reason{}
	for _, b := range bundles {
		verdict := ownership.Bundle(ownership.BundleFacts{Bundle: b, GitRepo: repo})
		switch verdict.Action {
		case ownership.Delete:
			found[b] = verdict.Reason
		case ownership.Orphaned:
			c.Metrics.orphan("Bundle")
			c.Log.WithFields(logrus.Fields{
				"bundle": b.Name, "namespace": b.Namespace, "gitrepo": kube.RepoOf(b).String(), "reason": string(verdict.Reason),
			}).Warn("Bundle has no owner, and its owner was not seen leaving: it is kept")
		case ownership.Keep, ownership.Release, ownership.Wait:
		}
	}
	return found
}

// deleteBundle deletes exactly the state of the bundle that was decided about:
// a bundle whose folder is back has changed since.
func (c *controller) deleteBundle(ctx context.Context, b *fleet.Bundle, reason ownership.Reason) error {
	err := c.Hub.Bundles.Delete(ctx, b)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting bundle %s/%s: %w", b.Namespace, b.Name, err)
	}
	c.Metrics.deleted("Bundle", reason)
	c.Log.WithFields(logrus.Fields{
		"bundle": b.Name, "namespace": b.Namespace, "gitrepo": kube.RepoOf(b).String(), "reason": string(reason),
	}).Info("Deleted bundle")
	return nil
}

// releaseRepo takes our finalizer off a GitRepo whose bundles are all marked.
func (c *controller) releaseRepo(ctx context.Context, repo *fleet.GitRepo) error {
	if !slices.Contains(repo.Finalizers, names.FinalizerGitRepo) {
		return nil
	}
	facts := ownership.ParentFacts{Generation: repo.Generation, ObservedGeneration: repo.Status.ObservedGeneration}
	if ownership.Parent(facts).Action == ownership.Wait {
		return nil
	}
	list, err := c.Hub.Bundles.List(ctx, repo.Namespace, labels.SelectorFromSet(labels.Set{names.LabelRepoName: repo.Name}))
	if err != nil {
		return fmt.Errorf("listing bundles: %w", err)
	}
	facts.Unmarked = len(unmarked(pointers(list.Items)))
	if ownership.Parent(facts).Action != ownership.Release {
		return nil
	}
	after := repo.DeepCopy()
	after.Finalizers = without(after.Finalizers, names.FinalizerGitRepo)
	if _, err := c.Hub.GitRepos.Patch(ctx, repo, after); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("releasing gitrepo: %w", err)
	}
	return nil
}
