package bundles

import (
	"errors"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// conclude remembers what the reconcile came to and has the status say it.
func (c *controller) conclude(key kube.Key, b *book, plan rollout.Plan, err error) {
	changed, gone := b.news(plan)
	c.rollups.expect(key, changed, gone)
	o := outcome{
		known: true, generation: b.generation, resources: b.resources,
		unavailable: plan.Unavailable, maxUnavailable: plan.MaxUnavailable,
		unavailablePartitions: plan.UnavailablePartitions, maxUnavailablePartitions: plan.MaxUnavailablePartitions,
		newlyCreated: plan.NewlyCreated,
	}
	for _, p := range plan.Partitions {
		o.partitions = append(o.partitions, fleet.PartitionStatus{
			Name: p.Name, Count: p.Count, MaxUnavailable: p.MaxUnavailable, Unavailable: p.Unavailable,
		})
	}
	for _, p := range b.problems {
		o.problems = append(o.problems, p.Field+": "+p.Message)
	}
	if plan.Problem != "" {
		o.problems = append(o.problems, plan.Problem)
	}
	if err != nil && !kube.IsPassing(err) && !errors.Is(err, errChanged) {
		o.err = err.Error()
	}
	c.rollups.conclude(key, o)
	c.status.Coalesce(key)
	b.settle(plan, err)
}

// concludeDeletion has the status of a bundle that is being deleted say that
// this was seen, and that no cluster is a target any more.
func (c *controller) concludeDeletion(key kube.Key, b *fleet.Bundle) {
	var gone []string
	if old := c.book(key); old != nil {
		for i := range old.entries {
			gone = append(gone, old.entries[i].id)
		}
		for cluster := range old.undecided {
			gone = append(gone, cluster.String())
		}
	}
	c.setBook(key, nil)
	c.marks.Take(key)
	c.rollups.expect(key, nil, gone)
	c.rollups.conclude(key, outcome{known: true, generation: b.Generation})
	c.status.Coalesce(key)
}

// news returns what the status has not been told yet: targets that are new or
// differ, and clusters that are targets no more.
func (b *book) news(plan rollout.Plan) (changed []status.Target, gone []string) {
	held := map[int]rollout.Step{}
	for _, step := range plan.Hold {
		held[step.Index] = step
	}
	for i := range b.targets {
		t, e := &b.targets[i], &b.entries[i]
		told := status.Target{Cluster: e.id, Fingerprint: names.Fingerprint(t.DeploymentID, t.Copies), Partition: plan.PartitionOf(i, t)}
		if step, is := held[i]; is {
			told.Held, told.Reason = step.Message, string(step.Reason)
			told.Invalid = step.Reason == rollout.ReasonInvalidOptions || step.Reason == rollout.ReasonNameConflict
		}
		if !e.telled || e.told != told {
			e.told, e.telled = told, true
			changed = append(changed, told)
		}
	}
	for key, message := range b.undecided {
		changed = append(changed, status.Target{Cluster: key.String(), Held: message, Partition: -1})
	}
	for key := range b.gone {
		gone = append(gone, key.String())
	}
	return changed, gone
}

// settle remembers which targets need no look until something of them changes.
func (b *book) settle(plan rollout.Plan, err error) {
	clear(b.gone)
	if err == nil {
		clear(b.fresh)
	}
	for _, i := range plan.Settled {
		if e := &b.entries[i]; e.wrote == nil {
			// The cache holds the deployment; keeping it here as well would
			// keep its earlier states alive.
			b.targets[i].Settled, b.targets[i].Existing = true, nil
		}
	}
}
