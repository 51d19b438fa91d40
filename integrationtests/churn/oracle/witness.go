package oracle

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// inFlight is how far back the state may be that justifies a deletion: between the last look at the causes and the delete, the
// causes may change once more.
const inFlight = 3 * time.Second

// Witness follows the store of a hub.
type Witness struct {
	// Heard, if set before the history begins, is called after every change of a deployment or cluster, with the lock held: it
	// must be quick and ask the Witness nothing.
	Heard func(kind string, key kube.Key)

	mu    sync.Mutex
	world *World
	past  []step
	// allowed are the deployments that the test itself deletes.
	allowed map[types.UID]bool
	// removals are those that targets, mappings, groups and labels justified.
	removals []Removal
	offences []string
	revision int64
	counts   Counts
}

// step is a change that can be undone.
type step struct {
	at   time.Time
	undo func()
	redo func()
}

// Removal is a deployment that was marked for deletion, or deleted, because its cluster matched no more.
type Removal struct {
	Bundle kube.Key
	At     time.Time
}

// Counts says how much was seen.
type Counts struct {
	Changes, Deletions int
	// Late are deletions that were justified a moment before, but not any more when they took effect; Latest is how long a
	// moment that was at most.
	Late   int
	Latest time.Duration
}

// NewWitness returns a witness for a hub with these workspaces; Hear is for Environment.History.
func NewWitness(namespaces map[string]map[string]string) *Witness {
	return &Witness{world: NewWorld(namespaces), allowed: map[types.UID]bool{}}
}

// Hear notes a change and judges it if it is a deletion.
func (w *Witness) Hear(c harness.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision = max(w.revision, c.Revision)
	key := kube.Key{Namespace: c.Namespace, Name: c.Name}
	before := w.world.Deployments[key]
	undo, err := w.world.Apply(c)
	switch {
	case err != nil:
		w.offences = append(w.offences, err.Error())
		return
	case undo == nil:
		return
	}
	w.counts.Changes++
	after := w.world.Deployments[key]
	if c.Resource == deployments && before != nil && before.DeletionTimestamp == nil &&
		(after == nil || after.UID != before.UID || after.DeletionTimestamp != nil) {
		w.judge(before, c)
	}
	w.remember(step{c.At, undo, func() { _, _ = w.world.Apply(c) }})
	if w.Heard != nil && (c.Resource == deployments || c.Resource == clusters) {
		w.Heard(c.Resource, key)
	}
}

const (
	deployments = "fleet.cattle.io/bundledeployments"
	clusters    = "fleet.cattle.io/clusters"
)

func (w *Witness) remember(s step) {
	const enough = 4096
	if w.past = append(w.past, s); len(w.past) > enough && s.at.Sub(w.past[enough/2].at) > inFlight {
		w.past = append([]step(nil), w.past[enough/2:]...)
	}
}

// Allow says that the test itself is about to delete the deployment.
func (w *Witness) Allow(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.allowed[uid] = true
}

// judge looks whether a deployment had to go: by the state of that moment, or of shortly before.
func (w *Witness) judge(bd *fleet.BundleDeployment, c harness.Change) {
	w.counts.Deletions++
	if w.allowed[bd.UID] {
		return
	}
	why, untargeted := w.world.reasonToGo(bd)
	undone := 0
	var lapsed time.Time
	for why == "" && undone < len(w.past) {
		last := w.past[len(w.past)-1-undone]
		if c.At.Sub(last.at) > inFlight {
			break
		}
		last.undo()
		undone++
		lapsed = last.at
		why, untargeted = w.world.reasonToGo(bd)
	}
	if why != "" && undone > 0 {
		w.counts.Late++
		w.counts.Latest = max(w.counts.Latest, c.At.Sub(lapsed))
	}
	for ; undone > 0; undone-- {
		w.past[len(w.past)-undone].redo()
	}
	// Undoing has put the deployment back as it was before this change.
	_, _ = w.world.Apply(c)
	if why == "" {
		w.offences = append(w.offences, fmt.Sprintf("revision %d: deployment %s/%s (bundle %s, cluster %s) was deleted without a reason",
			c.Revision, bd.Namespace, bd.Name, kube.BundleOf(bd), kube.ClusterOf(bd)))
	}
	if untargeted {
		w.removals = append(w.removals, Removal{kube.BundleOf(bd), c.At})
	}
}

// reasonToGo says why a deployment has to go, and whether that is because its cluster does not match; nothing if it has not.
func (w *World) reasonToGo(bd *fleet.BundleDeployment) (why string, untargeted bool) {
	bundle, cluster := w.BundleOf(bd), w.ClusterOf(bd)
	switch {
	case cluster == nil || cluster.DeletionTimestamp != nil:
		return "the cluster leaves", false
	case bundle == nil || bundle.DeletionTimestamp != nil:
		return "the bundle leaves", false
	case bundle.Annotations[names.AnnotationHold] == "true":
		return "", false
	}
	if verdict := w.Match(bundle, cluster); verdict.Decided && !verdict.Deployed {
		return "the cluster does not match", true
	}
	return "", false
}

// Offences are the deletions that nothing justified.
func (w *Witness) Offences() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.offences...)
}

// Revision is that of the last change that was heard of.
func (w *Witness) Revision() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.revision
}

// Counts says how much was seen.
func (w *Witness) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

// Look shows the world as it is; look must not keep it.
func (w *Witness) Look(look func(*World)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	look(w.world)
}

// RemovedSince counts the deployments of a bundle that went since then because their clusters matched no more.
func (w *Witness) RemovedSince(bundle kube.Key, since time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, r := range w.removals {
		if r.Bundle == bundle && r.At.After(since) {
			n++
		}
	}
	return n
}

// Held counts the bundles of which removals wait for a person.
func (w *Witness) Held() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := 0
	for _, b := range w.world.Bundles {
		if condition(b.Status.Conditions, fleet.ConditionPruneHeld) != nil {
			held++
		}
	}
	return held
}
