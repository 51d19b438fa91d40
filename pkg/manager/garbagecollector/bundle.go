package garbagecollector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// collectBundle judges deployments of a bundle, deletes those without a reason
// to exist, and lets the bundle go once it is being deleted and every one of
// them is marked.
func (c *controller) collectBundle(ctx context.Context, key kube.Key) error {
	id := ownership.IDOf(ownership.KindBundle, key.Namespace, key.Name)
	bundle, err := optional(c.bundles.Get(key.Namespace, key.Name))
	if err != nil {
		return fmt.Errorf("reading bundle: %w", err)
	}
	cached := c.cachedWorld(bundle)
	b := &batch{id: id, key: key, work: c.ledgers.take(id)}
	if bundle != nil && (!cached.Settled() || cached.ReleasedByUser()) {
		// Until the removals of an edit are known to be complete, no deployment
		// is left out.
		b.work.all = true
		if b.work.since.IsZero() {
			b.work.since = c.Clock.Now()
		}
	}
	err = c.collect(ctx, b, cached)
	c.ledgers.done(id, b.work, err != nil)
	c.reportSoon(id)
	if err != nil {
		return err
	}
	if bundle != nil && bundle.DeletionTimestamp != nil {
		return c.releaseBundle(ctx, id, bundle)
	}
	return nil
}

// batch is a number of deployments of one bundle that are judged together.
type batch struct {
	id    ownership.ID
	key   kube.Key
	work  work
	pairs []ownership.Pair
	// restored says that the brake was found on, from before a restart.
	restored bool
	// spent counts what side effects took away.
	spent atomic.Int64
}

func (c *controller) collect(ctx context.Context, b *batch, cached *world) error {
	if err := c.gather(b, cached); err != nil {
		return err
	}
	proposed := cached.judge(b.pairs)
	w, decided, disputed := cached, proposed, false
	if !proposed.Idle() {
		candidates := candidatesOf(proposed)
		var err error
		if w, err = c.liveWorld(ctx, b.key, candidates); err != nil {
			return err
		}
		decided = w.judge(candidates)
		disputed = proposed.Disputes(decided)
		decided.Keep = append(decided.Keep, proposed.Keep...)
		decided.Orphans = append(decided.Orphans, proposed.Orphans...)
	}
	decided = c.brake(b, w, decided)
	err := c.carryOut(ctx, b, decided)
	c.ledgers.with(b.id, func(l *ledger) { l.brake.Spend(c.Clock.Now(), int(b.spent.Load())) })
	if err != nil || cached.Bundle == nil {
		return err
	}
	if disputed || w.Bundle.Generation != cached.Bundle.Generation {
		return c.stale(b.key)
	}
	return c.settle(ctx, b, w, decided)
}

// stale says that the caches show something else than the API server. It is
// tried again until they agree, like any other conflict.
func (c *controller) stale(bundle kube.Key) error {
	resource := fleet.SchemeGroupVersion.WithResource(c.Hub.Bundles.Resource.Plural).GroupResource()
	return apierrors.NewConflict(resource, bundle.Name, errors.New("the caches are behind the API server"))
}

// gather finds the deployments that are to be judged, but for those that were
// deleted already and that the watch has not told of yet.
func (c *controller) gather(b *batch, w *world) error {
	var ids []ownership.ID
	c.graphs.RLock()
	if b.work.all {
		ids = slices.Collect(c.graph.Dependents(b.id, ownership.KindDeployment))
	} else {
		for id := range b.work.some {
			ids = append(ids, id)
		}
	}
	c.graphs.RUnlock()
	// The same picture makes the same choice, whoever looks.
	slices.SortFunc(ids, ownership.ID.Compare)
	b.restored = c.restoreBrake(b, w.Bundle)
	b.pairs = make([]ownership.Pair, 0, len(ids))
	for _, id := range ids {
		bd, err := optional(c.deployments.Get(id.Namespace(), id.Name()))
		if err != nil {
			return fmt.Errorf("reading deployment: %w", err)
		}
		if bd != nil && ownership.Belongs(bd, b.id) {
			b.pairs = append(b.pairs, ownership.Pair{Deployment: bd, Fresh: b.work.some[id].fresh})
		}
	}
	c.ledgers.with(b.id, func(l *ledger) {
		if len(l.sent)+len(l.held) == 0 && !b.restored {
			return
		}
		b.pairs = slices.DeleteFunc(b.pairs, func(p ownership.Pair) bool {
			return l.sent[idOf(p.Deployment)] == p.Deployment.UID && p.Deployment.DeletionTimestamp == nil
		})
		for i := range b.pairs {
			_, held := l.held[idOf(b.pairs[i].Deployment)]
			b.pairs[i].Held = b.restored || held && l.brake.Holds()
		}
	})
	return nil
}

// restoreBrake puts the brake on that was on before a restart, and says so when
// it does. Which deployments it held is not known any more: all that have no
// reason to exist are taken to be.
func (c *controller) restoreBrake(b *batch, bundle *fleet.Bundle) bool {
	if bundle == nil {
		return false
	}
	held := status.Get(bundle.Status.Conditions, fleet.ConditionPruneHeld)
	restored := false
	c.ledgers.with(b.id, func(l *ledger) {
		if !l.judged && held != nil && held.Reason == fleet.ReasonSideEffects {
			l.brake.Hold()
			restored = true
		}
	})
	return restored
}

func idOf(bd *fleet.BundleDeployment) ownership.ID {
	return ownership.IDOf(ownership.KindDeployment, bd.Namespace, bd.Name)
}

// candidatesOf returns what has to be confirmed.
func candidatesOf(j ownership.Judgement) []ownership.Pair {
	var pairs []ownership.Pair
	for _, list := range [][]ownership.Candidate{j.Delete, j.SideEffects, j.Held} {
		for _, c := range list {
			pairs = append(pairs, c.Pair)
		}
	}
	return append(pairs, j.Adopt...)
}

// brake lets side effects through as far as they may go, and holds the rest.
func (c *controller) brake(b *batch, w *world, j ownership.Judgement) ownership.Judgement {
	c.graphs.RLock()
	unmarked := c.graph.Unmarked(b.id)
	c.graphs.RUnlock()
	now := c.Clock.Now()
	c.ledgers.with(b.id, func(l *ledger) {
		if w.ReleasedByUser() && !w.HeldByUser() {
			l.brake.Release()
		}
		allowed := l.brake.Allow(now, c.Limits, len(j.SideEffects), unmarked-len(l.sent))
		j.Delete = append(j.Delete, j.SideEffects[:allowed]...)
		for _, candidate := range j.SideEffects[allowed:] {
			candidate.HeldBy = fleet.ReasonSideEffects
			j.Held = append(j.Held, candidate)
		}
		l.book(j)
	})
	return j
}

// book notes what is held of the deployments that were judged, and what is not
// any more.
func (l *ledger) book(j ownership.Judgement) {
	if len(l.held) > 0 {
		for _, p := range slices.Concat(j.Keep, j.Adopt, j.Orphans) {
			delete(l.held, idOf(p.Deployment))
		}
		for _, candidate := range j.Delete {
			delete(l.held, idOf(candidate.Deployment))
		}
	}
	for _, candidate := range j.Held {
		if l.held == nil {
			l.held = map[ownership.ID]string{}
		}
		l.held[idOf(candidate.Deployment)] = candidate.HeldBy
	}
	braked := 0
	for _, reason := range l.held {
		if reason == fleet.ReasonSideEffects {
			braked++
		}
	}
	l.brake.Ease(braked)
}

// carryOut does what was decided.
func (c *controller) carryOut(ctx context.Context, b *batch, j ownership.Judgement) error {
	c.noteOrphans(b, j)
	errDelete := c.deleteDeployments(ctx, b, j.Delete)
	errAdopt := c.requests.Write(ctx, len(j.Adopt), func(i int) error {
		return c.releaseDeployment(ctx, j.Adopt[i].Deployment, ownership.ReasonAdopted)
	})
	if errDelete != nil {
		return errDelete
	}
	return errAdopt
}

func (c *controller) deleteDeployments(ctx context.Context, b *batch, candidates []ownership.Candidate) error {
	if len(candidates) == 0 {
		return nil
	}
	err := c.requests.Write(ctx, len(candidates), func(i int) error { return c.deleteDeployment(ctx, b, candidates[i]) })
	c.Log.WithFields(logrus.Fields{
		"bundle": b.key.String(), "deployments": len(candidates), "clusters": clusterNames(candidates), "reason": string(candidates[0].Reason),
	}).Info("Deleted deployments")
	return err
}

// deleteDeployment deletes exactly the object that was judged.
func (c *controller) deleteDeployment(ctx context.Context, b *batch, candidate ownership.Candidate) error {
	bd := candidate.Deployment
	id := idOf(bd)
	// Noted before the watch can tell of it.
	c.sending(b, id, candidate)
	err := c.Hub.BundleDeployments.Delete(ctx, bd)
	if err != nil && !apierrors.IsNotFound(err) {
		c.ledgers.with(b.id, func(l *ledger) { delete(l.sent, id) })
		c.departures.end(id, b.work.since)
		c.Metrics.failed(ownership.KindDeployment)
		return fmt.Errorf("deleting deployment %s/%s: %w", bd.Namespace, bd.Name, err)
	}
	if err == nil {
		c.Metrics.deleted(ownership.KindDeployment, candidate.Reason)
		if candidate.SideEffect {
			b.spent.Add(1)
		}
	}
	c.Log.WithFields(logrus.Fields{
		"deployment": bd.Name, "namespace": bd.Namespace, "bundle": b.key.String(), "reason": string(candidate.Reason),
	}).Debug("Deleted deployment")
	return nil
}

// sending notes that a deployment is being deleted, and since when that was due.
func (c *controller) sending(b *batch, id ownership.ID, candidate ownership.Candidate) {
	c.ledgers.with(b.id, func(l *ledger) {
		if l.sent == nil {
			l.sent = map[ownership.ID]types.UID{}
		}
		l.sent[id] = candidate.Deployment.UID
	})
	if candidate.Reason == ownership.ReasonUntargeted {
		c.departures.note(id, b.work.sinceOf(id))
	}
}

// clusterNames returns the clusters of the first few candidates.
func clusterNames(candidates []ownership.Candidate) []string {
	const named = 10
	var found []string
	for _, candidate := range candidates[:min(len(candidates), named)] {
		found = append(found, kube.ClusterOf(candidate.Deployment).String())
	}
	return found
}

// noteOrphans says once of each orphan that there is one.
func (c *controller) noteOrphans(b *batch, j ownership.Judgement) {
	var found []*fleet.BundleDeployment
	c.ledgers.with(b.id, func(l *ledger) {
		if len(l.orphans) > 0 {
			for _, p := range j.Keep {
				delete(l.orphans, idOf(p.Deployment))
			}
		}
		for _, p := range j.Orphans {
			id := idOf(p.Deployment)
			if l.orphans == nil {
				l.orphans = map[ownership.ID]bool{}
			}
			if !l.orphans[id] {
				l.orphans[id] = true
				found = append(found, p.Deployment)
			}
		}
	})
	for _, bd := range found {
		c.Log.WithFields(logrus.Fields{
			"deployment": bd.Name, "namespace": bd.Namespace, "bundle": b.key.String(), "reason": string(ownership.ReasonOwnerMissing),
		}).Warn("Deployment has no owner, and its owner was not seen leaving: it is kept")
	}
}

// settle records on the bundle that the removals of its targets are complete,
// and takes a person's word off that was carried out.
func (c *controller) settle(ctx context.Context, b *batch, w *world, j ownership.Judgement) error {
	bundle := w.Bundle
	if bundle == nil || bundle.DeletionTimestamp != nil || !b.work.all || heldByUser(j) {
		return nil
	}
	_, released := bundle.Annotations[names.AnnotationReleaseHeld]
	released = released && !w.HeldByUser()
	if w.Settled() && !released {
		return nil
	}
	if newer, err := c.bundles.Get(b.key.Namespace, b.key.Name); err == nil && newer.UID == bundle.UID && newer.Generation == bundle.Generation {
		// Statuses are written while deployments go: the cache may be ahead of
		// what was read before.
		bundle = newer
	}
	after := bundle.DeepCopy()
	if after.Annotations == nil {
		after.Annotations = map[string]string{}
	}
	after.Annotations[names.AnnotationSettledTargets] = ownership.TargetsDigest(&bundle.Spec)
	if released {
		delete(after.Annotations, names.AnnotationReleaseHeld)
	}
	if err := c.patchMeta(ctx, bundle, after); err != nil {
		return fmt.Errorf("recording that removals are complete: %w", err)
	}
	c.ledgers.with(b.id, func(l *ledger) { l.edited = false })
	return nil
}

// patchMeta writes the difference between the annotations and finalizers of two
// states of a bundle. It leaves the spec out, which may be large.
func (c *controller) patchMeta(ctx context.Context, before, after *fleet.Bundle) error {
	slim := func(b *fleet.Bundle) *fleet.Bundle {
		return &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{
			Namespace: b.Namespace, Name: b.Name, ResourceVersion: b.ResourceVersion, Annotations: b.Annotations, Finalizers: b.Finalizers,
		}}
	}
	_, err := c.Hub.Bundles.Patch(ctx, slim(before), slim(after))
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func heldByUser(j ownership.Judgement) bool {
	return slices.ContainsFunc(j.Held, func(c ownership.Candidate) bool { return c.HeldBy == fleet.ReasonHeldByUser })
}

// releaseBundle takes our finalizer off a bundle whose deployments are all
// marked. The cache may be behind the controller that creates them, so the API
// server is asked.
func (c *controller) releaseBundle(ctx context.Context, id ownership.ID, bundle *fleet.Bundle) error {
	if !slices.Contains(bundle.Finalizers, names.FinalizerBundle) {
		return nil
	}
	c.graphs.RLock()
	facts := ownership.ParentFacts{
		Generation: bundle.Generation, ObservedGeneration: bundle.Status.ObservedGeneration, Unmarked: c.graph.Unmarked(id),
	}
	c.graphs.RUnlock()
	if ownership.Parent(facts).Action == ownership.Wait {
		// The event of the last deployment, or of the acknowledgement, is to come.
		return nil
	}
	leaves, err := c.kindLeaves(ctx, c.Hub.Bundles.Resource.Plural)
	if err != nil || leaves {
		return err
	}
	list, err := c.Hub.BundleDeployments.List(ctx, "", deploymentsOf(bundle))
	if err != nil {
		return fmt.Errorf("listing deployments: %w", err)
	}
	if facts.Unmarked = len(unmarked(pointers(list.Items))); ownership.Parent(facts).Action != ownership.Release {
		// The event of the deployment that the cache does not hold yet wakes us.
		return nil
	}
	after := bundle.DeepCopy()
	after.Finalizers = without(after.Finalizers, names.FinalizerBundle)
	if err := c.patchMeta(ctx, bundle, after); err != nil {
		return fmt.Errorf("releasing bundle: %w", err)
	}
	return nil
}
