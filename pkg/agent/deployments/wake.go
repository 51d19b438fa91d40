package deployments

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/kube/watchset"
	"github.com/flotilla-gitops/flotilla/pkg/release"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func (c *Controller) key(name string) kube.Key {
	return kube.Key{Namespace: c.deps.Namespace, Name: name}
}

// deploymentChanged wakes a deployment when it changes, unless its status is
// all that did and is what was reported, and those that may wait for it.
func (c *Controller) deploymentChanged(e kube.Event[*fleet.BundleDeployment]) {
	bd := e.Object()
	c.memory.know(bd.Name, c.setOf(bd.Name))
	undone := c.memory.shown(bd)
	if e.Old == nil || e.New == nil || !sameToAgent(e.Old, e.New) || undone {
		c.queue.Wake(c.key(bd.Name))
	}
	if e.Old != nil && e.New != nil && sameToNeighbours(e.Old, e.New) {
		return
	}
	c.wakeNeighbours(bd.Name)
}

// sameToAgent says whether nothing changed that the agent did not write.
func sameToAgent(before, after *fleet.BundleDeployment) bool {
	return before.UID == after.UID && before.Generation == after.Generation &&
		before.DeletionTimestamp.Equal(after.DeletionTimestamp) && slices.Equal(before.Finalizers, after.Finalizers)
}

// sameToNeighbours says whether nothing changed that another deployment could
// wait for.
func sameToNeighbours(before, after *fleet.BundleDeployment) bool {
	return status.DeploymentState(before) == status.DeploymentState(after) &&
		labels.Equals(before.Labels, after.Labels) && before.DeletionTimestamp.Equal(after.DeletionTimestamp) &&
		status.IsTrue(before.Status.Conditions, fleet.ConditionRemoved) == status.IsTrue(after.Status.Conditions, fleet.ConditionRemoved)
}

// wakeNeighbours wakes the deployments that wait for others.
func (c *Controller) wakeNeighbours(name string) {
	all, err := c.cache.List(c.deps.Namespace, labels.Everything())
	if err != nil {
		c.log.WithError(err).Error("Listing deployments failed")
		return
	}
	for _, bd := range all {
		pending := bd.DeletionTimestamp != nil || !bd.Applied() && len(bd.Spec.DependsOn) > 0
		if bd.Name != name && pending {
			c.queue.Wake(c.key(bd.Name))
		}
	}
}

// objectChanged wakes the deployment of an object when that changes.
func (c *Controller) objectChanged(e watchset.Event) {
	if name, ok := c.memory.changed(e); ok {
		c.queue.Coalesce(c.key(name))
	}
}

// watchChanged wakes a deployment when a watch of its objects comes to work,
// or ceases to.
func (c *Controller) watchChanged(owner string) {
	c.memory.with(owner, (*remembered).retry)
	c.queue.Coalesce(c.key(owner))
}

// releaseChanged wakes the deployment of a release when the record changes in
// another way than the controller wrote, and those that want its name.
func (c *Controller) releaseChanged(record release.Record) {
	name := c.memory.named(record.Deployment)
	c.memory.mu.Lock()
	known := c.memory.byName[name]
	same := known != nil && known.release != nil && known.release.Record == record
	var blocked []string
	for other, r := range c.memory.byName {
		if r.blocked == record.Key && other != name {
			r.blocked, r.failed = release.Key{}, nil
			blocked = append(blocked, other)
		}
	}
	c.memory.mu.Unlock()
	if !same {
		c.queue.Coalesce(c.key(name))
	}
	for _, other := range blocked {
		c.queue.Wake(c.key(other))
	}
}

// HubBack wakes the deployments of which the hub was not told what came of
// them: it did not answer, and does again.
func (c *Controller) HubBack() {
	c.memory.mu.Lock()
	var names []string
	for name, r := range c.memory.byName {
		if r.unreported {
			names = append(names, name)
		}
	}
	c.memory.mu.Unlock()
	for _, name := range names {
		c.queue.Wake(c.key(name))
	}
}

// KindsChanged has deployments tried again that failed for want of a kind: the
// cluster may serve it now.
func (c *Controller) KindsChanged() {
	c.memory.mu.Lock()
	var names []string
	for name, r := range c.memory.byName {
		if r.lacking {
			r.lacking, r.failed = false, nil
			names = append(names, name)
		}
	}
	c.memory.mu.Unlock()
	if len(names) == 0 {
		return
	}
	meta.MaybeResetRESTMapper(c.deps.Releases.RESTMapper())
	for _, name := range names {
		c.queue.Wake(c.key(name))
	}
}
