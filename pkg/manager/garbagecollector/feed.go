package garbagecollector

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// change is one event of a watch, as far as the graph and what is to be judged
// because of it are concerned.
type change struct {
	at     time.Time
	object ownership.Object
	// gone says that the object is not there any more, created that it was not
	// there before.
	gone, created bool
	// edited says that the targets of a bundle are others now.
	edited bool
	// released says that we let the object go.
	released bool
	// judge says that the deployments which depend on the object are to be
	// judged; also names others whose deployments are.
	judge bool
	also  []ownership.ID
	// only says that no object has changed: the change is what also names.
	only bool
	// tasks are to be done besides.
	tasks []task
}

// feed hands changes from the watches to the one writer of the graph, in their
// order. It takes any number of them, so that no watch ever waits.
type feed struct {
	mu      sync.Mutex
	changes []change
	ready   chan struct{}
}

func newFeed() *feed { return &feed{ready: make(chan struct{}, 1)} }

func (f *feed) push(c change) {
	f.mu.Lock()
	f.changes = append(f.changes, c)
	f.mu.Unlock()
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

func (f *feed) drain() []change {
	f.mu.Lock()
	defer f.mu.Unlock()
	changes := f.changes
	f.changes = nil
	return changes
}

// write is the only writer of the graph.
func (c *controller) write(ctx context.Context) {
	for {
		c.apply(c.feed.drain())
		select {
		case <-ctx.Done():
			return
		case <-c.feed.ready:
		}
	}
}

// apply brings the graph up to date and has looked at what that may turn.
func (c *controller) apply(changes []change) {
	if len(changes) == 0 {
		return
	}
	c.graphs.Lock()
	defer c.graphs.Unlock()
	for _, ch := range changes {
		switch {
		case ch.released:
			c.graph.Release(ch.object.ID)
		case !ch.only:
			c.observe(ch)
		}
		for _, id := range ch.also {
			c.judgeAll(ch, id)
		}
	}
}

// observe takes an object's change into the graph.
func (c *controller) observe(ch change) {
	before := c.graph.Refs(ch.object.ID)
	if ch.gone {
		c.graph.Drop(ch.object.ID)
	} else {
		c.graph.Put(ch.object)
	}
	for _, t := range ch.tasks {
		c.queue.add(t, t.kind.priority())
	}
	c.follow(ch, before)
	if ch.judge {
		c.judgeAll(ch, ch.object.ID)
	}
}

// judgeAll has every deployment judged that depends on an object.
func (c *controller) judgeAll(ch change, id ownership.ID) {
	if id.Kind == ownership.KindBundle {
		c.judgeBundle(ch, id)
		return
	}
	for deployment := range c.graph.Deployments(id) {
		c.judgeDeployment(ch, deployment)
	}
	if id.Kind == ownership.KindGitRepo {
		for bundle := range c.graph.Dependents(id, ownership.KindBundle) {
			c.judgeBundle(ch, bundle)
		}
	}
}

// judgeBundle has all deployments of a bundle judged.
func (c *controller) judgeBundle(ch change, bundle ownership.ID) {
	c.ledgers.noteAll(bundle, ch.at)
	for deployment := range c.graph.Dependents(bundle, ownership.KindDeployment) {
		c.releaseMarked(deployment)
	}
	c.collectSoon(bundle)
}

// judgeDeployment has one deployment judged.
func (c *controller) judgeDeployment(ch change, deployment ownership.ID) {
	c.releaseMarked(deployment)
	bundle, ok := c.graph.Ref(deployment, ownership.KindBundle)
	if !ok {
		return
	}
	c.ledgers.note(bundle, deployment, pending{since: ch.at, fresh: ch.created && ch.object.ID == deployment && c.started.Load()})
	c.collectSoon(bundle)
}

// releaseMarked has a deployment looked at that waits to be let go.
func (c *controller) releaseMarked(deployment ownership.ID) {
	if c.graph.State(deployment) == ownership.Leaving {
		c.queue.add(taskOf(taskRelease, deployment), ownership.PriorityUntargeted)
	}
}

func (c *controller) collectSoon(bundle ownership.ID) {
	priority := ownership.PriorityUntargeted
	if c.graph.State(bundle) == ownership.Leaving {
		priority = ownership.PriorityChildren
	}
	c.queue.add(taskOf(taskBundle, bundle), priority)
}

// follow has looked at what the object belongs to, and what belongs to it.
func (c *controller) follow(ch change, before []ownership.ID) {
	id := ch.object.ID
	switch id.Kind {
	case ownership.KindDeployment:
		c.followDeployment(ch, before)
	case ownership.KindBundle:
		c.followBundle(ch, before)
	case ownership.KindCluster:
		if ch.gone {
			c.sweepNamespaces(id)
		}
	case ownership.KindNamespace:
		if cluster, ok := c.graph.Ref(id, ownership.KindCluster); ok {
			c.sweepNamespaces(cluster)
		}
	case ownership.KindSecret:
		if !ch.gone && len(ch.object.Refs) == 1 && c.graph.State(ch.object.Refs[0]) != ownership.Present {
			c.queue.add(taskOf(taskSecret, id), ownership.PriorityLeftovers)
		}
	case ownership.KindGitRepo, ownership.KindHelmOp, ownership.KindContent:
	}
}

// followBundle forgets what was known of another bundle of the name, and looks
// at what the bundle leaves behind.
func (c *controller) followBundle(ch change, before []ownership.ID) {
	id := ch.object.ID
	if ch.gone {
		c.leftovers(id)
	}
	if ch.gone || ch.created {
		c.ledgers.forget(id)
	}
	if ch.edited {
		c.ledgers.noteEdit(id)
	}
	if owner, ok := owner(before, ch.object.Refs); ok && (ch.gone || ch.object.Leaving) {
		c.queue.add(taskOf(taskRepo, owner), ownership.PriorityChildren)
	}
}

// followDeployment looks at what a deployment that changed leaves behind.
func (c *controller) followDeployment(ch change, before []ownership.ID) {
	id := ch.object.ID
	if ch.gone {
		c.leftovers(id)
		c.departed(id, ch.at)
	}
	for _, ref := range before {
		if ref.Kind == ownership.KindContent && !c.graph.Used(ref) {
			c.queue.add(taskOf(taskContent, ref), ownership.PriorityLeftovers)
		}
		if ref.Kind == ownership.KindBundle && (ch.gone || ch.object.Leaving) {
			if c.ledgers.confirm(ref, id) {
				c.reportSoon(ref)
			}
			if c.graph.State(ref) == ownership.Leaving && c.graph.Unmarked(ref) == 0 {
				c.collectSoon(ref)
			}
		}
	}
	for _, ref := range ch.object.Refs {
		// It may have been marked as unused before it was used again.
		if ref.Kind == ownership.KindContent && c.started.Load() && !slices.Contains(before, ref) {
			c.queue.add(taskOf(taskContent, ref), ownership.PriorityLeftovers)
		}
	}
}

// leftovers has the Secrets looked at that belonged to the object.
func (c *controller) leftovers(id ownership.ID) {
	for secret := range c.graph.Dependents(id, ownership.KindSecret) {
		c.queue.add(taskOf(taskSecret, secret), ownership.PriorityLeftovers)
	}
}

// sweepNamespaces has the namespaces of a cluster looked at that we let go.
func (c *controller) sweepNamespaces(cluster ownership.ID) {
	if c.graph.State(cluster) != ownership.Released {
		return
	}
	for namespace := range c.graph.Dependents(cluster, ownership.KindNamespace) {
		c.queue.add(taskOf(taskNamespace, namespace), ownership.PriorityChildren)
	}
}

// owner returns the GitRepo or HelmOp among what an object refers to or
// referred to.
func owner(lists ...[]ownership.ID) (ownership.ID, bool) {
	for _, refs := range lists {
		for _, ref := range refs {
			if ref.Kind == ownership.KindGitRepo || ref.Kind == ownership.KindHelmOp {
				return ref, true
			}
		}
	}
	return ownership.ID{}, false
}
