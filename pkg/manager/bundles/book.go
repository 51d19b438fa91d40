package bundles

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/policy"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/status"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// book is what the controller keeps of one bundle between reconciles, so that
// a reconcile costs what has changed. Only the bundle's reconcile touches it,
// and that never runs twice at once.
type book struct {
	// uid, generation and labels are those of the bundle that the book was
	// written for; with another one it is written anew.
	uid        types.UID
	generation int64
	labels     map[string]string

	bundle *fleet.Bundle
	// full is the bundle with the helm values that its Secret holds.
	full *fleet.Bundle
	// content is the name of the Content that the targets run; resources the
	// digest of spec.resources.
	content, resources string

	// rules are those of the bundle's workspace.
	rules policy.Rules
	// sources are the objects of the workspace that targets have copied.
	sources  *sources
	reach    targeting.Reach
	matchers map[string]*targeting.Matcher
	variants map[variantKey]*variant
	problems []targeting.Problem

	// targets are the clusters that match, in order, and entries what else is
	// known of each of them, by the same index.
	targets []rollout.Target
	entries []entry
	// undecided are clusters that have a deployment of which it cannot be said
	// whether they still match: it stays as it is, and counts.
	undecided map[kube.Key]string

	// fresh are clusters that were looked at since the last plan; gone those
	// that were targets, or undecided, and are no more.
	fresh map[kube.Key]bool
	gone  map[kube.Key]bool
	// same is what sameBeside has found out.
	same *bool
}

// entry is what is known of a target beside what the roll-out asks for.
type entry struct {
	cluster kube.Key
	// id is the cluster as its status names it: "namespace/name".
	id string
	// namespace is the cluster's on the hub.
	namespace string
	variant   *variant
	// succeeds is the line of deployments that the next one takes the place
	// of: see ownership.Succession.
	succeeds string
	// wrote is the deployment as it was last written, until the cache holds
	// it; since is when.
	wrote *fleet.BundleDeployment
	since time.Time
	// told is what the status was last told of the target.
	told   status.Target
	telled bool
}

// part names what is to be looked at again of a bundle: one of its clusters.
type part struct {
	cluster kube.Key
	// gone is the UID of the deployment that is there no more; succeeds is the
	// line that the next one continues.
	gone     types.UID
	succeeds string
}

// isFor says whether the book was written for this state of the bundle.
func (b *book) isFor(bundle *fleet.Bundle) bool {
	return b.uid == bundle.UID && b.generation == bundle.Generation && sameLabels(b.labels, bundle.Labels)
}

// find returns where the cluster is among the targets, or would be.
func (b *book) find(cluster kube.Key) (int, bool) {
	// By index: writers of other targets may be at work on theirs.
	return sort.Find(len(b.entries), func(i int) int { return compare(cluster, b.entries[i].cluster) })
}

func compare(a, b kube.Key) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// put adds the target, or replaces what was known of it.
func (b *book) put(t rollout.Target, e entry) {
	i, found := b.find(e.cluster)
	if found {
		b.targets[i], b.entries[i] = t, e
		return
	}
	b.targets = slices.Insert(b.targets, i, t)
	b.entries = slices.Insert(b.entries, i, e)
}

// drop removes a target.
func (b *book) drop(cluster kube.Key) {
	i, found := b.find(cluster)
	if !found {
		return
	}
	b.targets = slices.Delete(b.targets, i, i+1)
	b.entries = slices.Delete(b.entries, i, i+1)
}

// order puts the targets in order after many were added.
func (b *book) order() {
	by := make([]int, len(b.entries))
	for i := range by {
		by[i] = i
	}
	slices.SortFunc(by, func(i, j int) int { return compare(b.entries[i].cluster, b.entries[j].cluster) })
	targets, entries := make([]rollout.Target, len(by)), make([]entry, len(by))
	for to, from := range by {
		targets[to], entries[to] = b.targets[from], b.entries[from]
	}
	b.targets, b.entries = targets, entries
}

// usesGroups says whether an answer of the book depends on cluster groups.
func (b *book) usesGroups() bool {
	for _, m := range b.matchers {
		if m.UsesGroups() {
			return true
		}
	}
	return false
}
