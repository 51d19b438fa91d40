package garbagecollector

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// reportWindow is the shortest time between two reports on one object.
const reportWindow = 250 * time.Millisecond

// reportSoon has the condition PruneHeld of a Bundle or GitRepo brought up to
// date.
func (c *controller) reportSoon(id ownership.ID) {
	key := kube.Key{Namespace: id.Namespace(), Name: id.Name()}
	switch id.Kind {
	case ownership.KindBundle:
		c.bundleReports.Coalesce(key)
	case ownership.KindGitRepo:
		c.repoReports.Coalesce(key)
	default:
		// Nothing else holds anything.
	}
}

// reportBundle says on a bundle what is held of it.
func (c *controller) reportBundle(ctx context.Context, key kube.Key) (time.Duration, error) {
	b, err := optional(c.bundles.Get(key.Namespace, key.Name))
	if err != nil || b == nil {
		return 0, err
	}
	id := ownership.IDOf(ownership.KindBundle, key.Namespace, key.Name)
	holding := c.ledgers.holdingOf(id)
	if !holding.known {
		return 0, nil
	}
	if repo := kube.RepoOf(b); repo.Name != "" {
		defer c.repoReports.Coalesce(repo)
	}
	want := ownership.Held{
		Kind: ownership.KindBundle, Namespace: b.Namespace, Name: b.Name, Generation: b.Generation,
		Deployments: c.clustersHolding(holding.held), Count: len(holding.held), Reasons: distinctReasons(holding.held), Limits: c.Limits,
	}.Condition()
	conditions, changed := withCondition(b.Status.Conditions, want, c.Clock.Now())
	if !changed {
		return 0, nil
	}
	slim := func(conditions []fleet.Condition) *fleet.Bundle {
		return &fleet.Bundle{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name, ResourceVersion: b.ResourceVersion},
			Status:     fleet.BundleStatus{Conditions: conditions},
		}
	}
	if _, err := c.Hub.Bundles.PatchStatus(ctx, slim(b.Status.Conditions), slim(conditions)); err != nil {
		return 0, ignoreGone("bundle", err)
	}
	c.announce(b, status.Get(b.Status.Conditions, fleet.ConditionPruneHeld), want)
	return 0, nil
}

// reportRepo says on a GitRepo what is held of it and of its bundles, and takes
// a person's word off that was carried out.
func (c *controller) reportRepo(ctx context.Context, key kube.Key) (time.Duration, error) {
	repo, err := optional(c.gitrepos.Get(key.Namespace, key.Name))
	if err != nil || repo == nil {
		return 0, err
	}
	held, settled, known := c.heldOf(repo)
	if !known {
		// The bundles that are still to be judged report when they were.
		return 0, nil
	}
	if settled && ownership.Releases(repo.Annotations) && !ownership.Holds(repo.Annotations) && repo.DeletionTimestamp == nil {
		err := c.patchRepo(ctx, repo, func(after *metav1.ObjectMeta) { delete(after.Annotations, names.AnnotationReleaseHeld) })
		if err != nil {
			return 0, fmt.Errorf("recording that held removals are done: %w", err)
		}
	}
	want := held.Condition()
	conditions, changed := withCondition(repo.Status.Conditions, want, c.Clock.Now())
	if !changed {
		return 0, nil
	}
	slim := func(conditions []fleet.Condition) *fleet.GitRepo {
		return &fleet.GitRepo{
			ObjectMeta: metav1.ObjectMeta{Namespace: repo.Namespace, Name: repo.Name, ResourceVersion: repo.ResourceVersion},
			Status:     fleet.GitRepoStatus{StatusBase: fleet.StatusBase{Conditions: conditions}},
		}
	}
	if _, err := c.Hub.GitRepos.PatchStatus(ctx, slim(repo.Status.Conditions), slim(conditions)); err != nil {
		return 0, ignoreGone("gitrepo", err)
	}
	c.announce(repo, status.Get(repo.Status.Conditions, fleet.ConditionPruneHeld), want)
	return 0, nil
}

// heldOf returns what is held of a GitRepo, whether nothing is and nothing is to
// be judged, and whether that is known at all.
func (c *controller) heldOf(repo *fleet.GitRepo) (held ownership.Held, settled, known bool) {
	id := ownership.IDOf(ownership.KindGitRepo, repo.Namespace, repo.Name)
	held = ownership.Held{
		Kind: ownership.KindGitRepo, Namespace: repo.Namespace, Name: repo.Name, Generation: repo.Generation, Limits: c.Limits,
	}
	gone := c.folders.of(id)
	held.Bundles = slices.Collect(maps.Keys(gone))
	held.Reasons = slices.Collect(maps.Values(gone))
	c.graphs.RLock()
	bundles := slices.Collect(c.graph.Dependents(id, ownership.KindBundle))
	c.graphs.RUnlock()
	settled = len(gone) == 0
	for _, bundle := range bundles {
		holding := c.ledgers.holdingOf(bundle)
		if !holding.known {
			return held, false, false
		}
		settled = settled && c.ledgers.settled(bundle)
		if len(holding.held) == 0 {
			continue
		}
		held.Count += len(holding.held)
		held.Deployments = append(held.Deployments, fmt.Sprintf("%d of bundle %s", len(holding.held), bundle.Name()))
		held.Reasons = append(held.Reasons, distinctReasons(holding.held)...)
	}
	return held, settled, true
}

// clustersHolding returns the clusters of deployments.
func (c *controller) clustersHolding(deployments map[ownership.ID]string) []string {
	var found []string
	for id := range deployments {
		name := id.Namespace()
		if bd, err := c.deployments.Get(id.Namespace(), id.Name()); err == nil {
			name = kube.ClusterOf(bd).String()
		}
		found = append(found, name)
	}
	return found
}

// withCondition returns the conditions with want in them, or without PruneHeld
// if want is nil, and whether that is a change.
func withCondition(have []fleet.Condition, want *fleet.Condition, now time.Time) ([]fleet.Condition, bool) {
	conditions := slices.Clone(have)
	if want == nil {
		changed := status.Remove(&conditions, fleet.ConditionPruneHeld)
		return conditions, changed
	}
	changed := status.Set(&conditions, *want, metav1.NewTime(now))
	return conditions, changed
}

// announce records an Event when something begins to be held, or nothing is any
// more.
func (c *controller) announce(about runtime.Object, was, is *fleet.Condition) {
	switch {
	case was == nil && is != nil:
		c.Recorder.Eventf(about, nil, corev1.EventTypeWarning, fleet.ConditionPruneHeld, "Remove", "%s", is.Message)
	case was != nil && is == nil:
		c.Recorder.Eventf(about, nil, corev1.EventTypeNormal, "PruneReleased", "Remove", "Nothing is held any more")
	}
}

func ignoreGone(what string, err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("reporting on %s what is held: %w", what, err)
}
