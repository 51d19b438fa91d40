package garbagecollector

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// folders remembers the bundles that are held because their folders are gone,
// and why, by GitRepo.
type folders struct {
	mu   sync.Mutex
	held map[ownership.ID]map[string]string
}

func newFolders() *folders { return &folders{held: map[ownership.ID]map[string]string{}} }

func (f *folders) set(repo ownership.ID, held map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(held) == 0 {
		delete(f.held, repo)
		return
	}
	f.held[repo] = held
}

func (f *folders) of(repo ownership.ID) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[repo]
}

func (f *folders) total() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, held := range f.held {
		n += len(held)
	}
	return n
}

// collectRepo deletes the bundles that a GitRepo no longer justifies, and lets
// the GitRepo go once it is being deleted and every one of them is marked.
func (c *controller) collectRepo(ctx context.Context, key kube.Key) error {
	id := ownership.IDOf(ownership.KindGitRepo, key.Namespace, key.Name)
	repo, err := optional(c.gitrepos.Get(key.Namespace, key.Name))
	if err != nil {
		return fmt.Errorf("reading gitrepo: %w", err)
	}
	j, err := c.collectBundles(ctx, id, ownership.Owner{GitRepo: repo}, c.liveGitRepo)
	if err != nil {
		return err
	}
	held := map[string]string{}
	for _, candidate := range j.Held {
		held[candidate.Bundle.Name] = candidate.HeldBy
	}
	c.folders.set(id, held)
	c.reportSoon(id)
	if repo != nil && repo.DeletionTimestamp != nil {
		return c.releaseRepo(ctx, id, repo)
	}
	return nil
}

// collectHelmOp deletes the bundles of a HelmOp that is being deleted.
func (c *controller) collectHelmOp(ctx context.Context, key kube.Key) error {
	id := ownership.IDOf(ownership.KindHelmOp, key.Namespace, key.Name)
	op, err := optional(c.helmops.Get(key.Namespace, key.Name))
	if err != nil {
		return fmt.Errorf("reading helmop: %w", err)
	}
	_, err = c.collectBundles(ctx, id, ownership.Owner{HelmOp: op}, c.liveHelmOp)
	return err
}

// collectBundles deletes the bundles of an owner without a reason to exist. The
// owner is read once more before anything goes.
func (c *controller) collectBundles(
	ctx context.Context, id ownership.ID, owner ownership.Owner, live func(context.Context, ownership.ID) (ownership.Owner, error),
) (ownership.BundlesJudgement, error) {
	bundles, err := c.bundlesOf(id)
	if err != nil {
		return ownership.BundlesJudgement{}, err
	}
	j := ownership.JudgeBundles(owner, bundles)
	for _, b := range j.Orphans {
		c.Log.WithFields(logrus.Fields{
			"bundle": b.Name, "namespace": b.Namespace, "owner": id.String(), "reason": string(ownership.ReasonOwnerMissing),
		}).Warn("Bundle has no owner, and its owner was not seen leaving: it is kept")
	}
	if len(j.Delete) == 0 {
		return j, nil
	}
	if owner, err = live(ctx, id); err != nil {
		return j, err
	}
	j = ownership.JudgeBundles(owner, bundles)
	return j, c.requests.Write(ctx, len(j.Delete), func(i int) error { return c.deleteBundle(ctx, id, j.Delete[i]) })
}

func (c *controller) bundlesOf(id ownership.ID) ([]*fleet.Bundle, error) {
	c.graphs.RLock()
	ids := slices.SortedFunc(c.graph.Dependents(id, ownership.KindBundle), ownership.ID.Compare)
	c.graphs.RUnlock()
	var found []*fleet.Bundle
	for _, id := range ids {
		b, err := optional(c.bundles.Get(id.Namespace(), id.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading bundle: %w", err)
		}
		if b != nil {
			found = append(found, b)
		}
	}
	return found, nil
}

func (c *controller) liveGitRepo(ctx context.Context, id ownership.ID) (ownership.Owner, error) {
	repo, err := c.Hub.GitRepos.Get(ctx, id.Namespace(), id.Name())
	if err != nil {
		return ownership.Owner{}, fmt.Errorf("confirming gitrepo: %w", err)
	}
	owner := ownership.Owner{GitRepo: repo}
	if repo.DeletionTimestamp != nil {
		owner.KindLeaves, err = c.kindLeaves(ctx, c.Hub.GitRepos.Resource.Plural)
	}
	return owner, err
}

func (c *controller) liveHelmOp(ctx context.Context, id ownership.ID) (ownership.Owner, error) {
	op, err := c.Hub.HelmOps.Get(ctx, id.Namespace(), id.Name())
	if err != nil {
		return ownership.Owner{}, fmt.Errorf("confirming helmop: %w", err)
	}
	owner := ownership.Owner{HelmOp: op}
	if op.DeletionTimestamp != nil {
		owner.KindLeaves, err = c.kindLeaves(ctx, c.Hub.HelmOps.Resource.Plural)
	}
	return owner, err
}

// deleteBundle deletes exactly the state of the bundle that was judged: a
// bundle whose folder is back has changed since.
func (c *controller) deleteBundle(ctx context.Context, owner ownership.ID, candidate ownership.BundleCandidate) error {
	b := candidate.Bundle
	err := c.Hub.Bundles.Delete(ctx, b)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.Metrics.failed(ownership.KindBundle)
		return fmt.Errorf("deleting bundle %s/%s: %w", b.Namespace, b.Name, err)
	}
	c.Metrics.deleted(ownership.KindBundle, candidate.Reason)
	c.Log.WithFields(logrus.Fields{
		"bundle": b.Name, "namespace": b.Namespace, "owner": owner.String(), "reason": string(candidate.Reason),
	}).Info("Deleted bundle")
	return nil
}

// releaseRepo takes our finalizer off a GitRepo whose bundles are all marked.
func (c *controller) releaseRepo(ctx context.Context, id ownership.ID, repo *fleet.GitRepo) error {
	if !slices.Contains(repo.Finalizers, names.FinalizerGitRepo) {
		return nil
	}
	c.graphs.RLock()
	facts := ownership.ParentFacts{Generation: repo.Generation, ObservedGeneration: repo.Status.ObservedGeneration, Unmarked: c.graph.Unmarked(id)}
	c.graphs.RUnlock()
	if ownership.Parent(facts).Action == ownership.Wait {
		return nil
	}
	leaves, err := c.kindLeaves(ctx, c.Hub.GitRepos.Resource.Plural)
	if err != nil || leaves {
		return err
	}
	list, err := c.Hub.Bundles.List(ctx, repo.Namespace, labels.SelectorFromSet(labels.Set{names.LabelRepoName: repo.Name}))
	if err != nil {
		return fmt.Errorf("listing bundles: %w", err)
	}
	if facts.Unmarked = len(unmarked(pointers(list.Items))); ownership.Parent(facts).Action != ownership.Release {
		return nil
	}
	if err := c.patchRepo(ctx, repo, func(after *metav1.ObjectMeta) { after.Finalizers = without(after.Finalizers, names.FinalizerGitRepo) }); err != nil {
		return fmt.Errorf("releasing gitrepo: %w", err)
	}
	return nil
}

// patchRepo changes annotations or finalizers of a GitRepo.
func (c *controller) patchRepo(ctx context.Context, repo *fleet.GitRepo, edit func(*metav1.ObjectMeta)) error {
	after := repo.DeepCopy()
	edit(&after.ObjectMeta)
	_, err := c.Hub.GitRepos.Patch(ctx, repo, after)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
