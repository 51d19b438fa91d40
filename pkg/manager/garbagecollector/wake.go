package garbagecollector

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// wake turns the events of the watches into changes. Every event that can turn
// a decision is here, and names what it can turn; none of them is a timer.
func (c *controller) wake() {
	hub := c.Hub
	hub.GitRepos.OnEvent(c.onGitRepo)
	hub.HelmOps.OnEvent(c.onHelmOp)
	hub.Bundles.OnEvent(c.onBundle)
	hub.BundleDeployments.OnEvent(c.onDeployment)
	hub.Clusters.OnEvent(c.onCluster)
	hub.ClusterGroups.OnEvent(c.onGroup)
	hub.BundleNamespaceMappings.OnEvent(func(e kube.Event[*fleet.BundleNamespaceMapping]) {
		c.judgeBundlesIn([]string{e.Object().Namespace}, nil)
	})
	hub.Namespaces.OnEvent(c.onNamespace)
	hub.Contents.OnEvent(func(e kube.Event[*fleet.Content]) {
		ch := changeOf(e, ownership.OfContent)
		if !ch.gone {
			ch.tasks = []task{taskOf(taskContent, ch.object.ID)}
		}
		c.push(ch)
	})
	hub.Secrets.OnEvent(func(e kube.Event[*corev1.Secret]) { c.push(changeOf(e, ownership.OfSecret)) })
}

func (c *controller) push(ch change) {
	ch.at = c.Clock.Now()
	c.feed.push(ch)
}

// changeOf returns the change that an event is for the graph. An object that
// was deleted and made anew, of which a list shows the new one only, was made.
func changeOf[T kube.Object](e kube.Event[T], of func(T) ownership.Object) change {
	var none T
	gone := e.New == none
	return change{object: of(e.Object()), gone: gone, created: e.Old == none || !gone && e.Old.GetUID() != e.New.GetUID()}
}

// newlyLeaving says whether the event is the first that shows the object as
// marked for deletion.
func newlyLeaving[T kube.Object](e kube.Event[T]) bool {
	var none T
	return e.New != none && e.New.GetDeletionTimestamp() != nil && (e.Old == none || e.Old.GetDeletionTimestamp() == nil)
}

// newWord says whether a person may have said something new about what is held.
// A word that was carried out, taken off and said again may look like the old
// one, so what stands there is always heard.
func newWord(before, after map[string]string) bool {
	return ownership.Holds(before) != ownership.Holds(after) || ownership.Releases(after)
}

func (c *controller) onGitRepo(e kube.Event[*fleet.GitRepo]) {
	ch := changeOf(e, ownership.OfGitRepo)
	leaving := e.New != nil && e.New.DeletionTimestamp != nil
	word := e.Old != nil && e.New != nil && newWord(e.Old.Annotations, e.New.Annotations)
	if ch.created || ch.gone || leaving || word {
		ch.tasks = []task{taskOf(taskRepo, ch.object.ID)}
	}
	ch.judge = word
	c.push(ch)
}

func (c *controller) onHelmOp(e kube.Event[*fleet.HelmOp]) {
	ch := changeOf(e, ownership.OfHelmOp)
	if ch.created || ch.gone || newlyLeaving(e) {
		ch.tasks = []task{taskOf(taskHelmOp, ch.object.ID)}
	}
	c.push(ch)
}

func (c *controller) onBundle(e kube.Event[*fleet.Bundle]) {
	ch := changeOf(e, ownership.OfBundle)
	if ch.created || ch.gone {
		ch.judge = true
	} else {
		ch.edited = e.Old.Generation != e.New.Generation && ownership.TargetsDigest(&e.Old.Spec) != ownership.TargetsDigest(&e.New.Spec)
		leaving := e.New.DeletionTimestamp != nil
		// A bundle that is leaving is looked at again when its controller says
		// that it makes no deployments any more.
		acknowledged := leaving && e.Old.Status.ObservedGeneration != e.New.Status.ObservedGeneration
		ch.judge = ch.edited || acknowledged || newlyLeaving(e) || newWord(e.Old.Annotations, e.New.Annotations) ||
			!maps.Equal(e.Old.Labels, e.New.Labels)
	}
	if owner, ok := owner(ch.object.Refs); ok && judgesBundle(e) {
		ch.tasks = append(ch.tasks, taskOf(taskRepo, owner))
	}
	if e.Old != nil && e.New != nil && e.Old.Spec.ValuesHash != "" && e.New.Spec.ValuesHash == "" {
		ch.tasks = append(ch.tasks, task{taskSecret, kube.KeyOf(e.New)})
	}
	c.push(ch)
}

// judgesBundle says whether the event can turn whether there is a reason for
// the bundle itself.
func judgesBundle(e kube.Event[*fleet.Bundle]) bool {
	if e.Old == nil || e.New == nil {
		return true
	}
	return e.Old.Annotations[names.AnnotationGone] != e.New.Annotations[names.AnnotationGone] ||
		newWord(e.Old.Annotations, e.New.Annotations) || newlyLeaving(e)
}

func (c *controller) onDeployment(e kube.Event[*fleet.BundleDeployment]) {
	ch := changeOf(e, ownership.OfDeployment)
	switch {
	case ch.gone:
	case e.New.DeletionTimestamp != nil:
		// What the agent says of the removal decides when it is let go.
		ch.judge = true
	default:
		ch.judge = ch.created || !maps.Equal(e.Old.Labels, e.New.Labels)
		if !ch.created && !ch.judge && slices.Equal(kube.ContentsOf(e.Old), kube.ContentsOf(e.New)) {
			// Most events are reports of agents, which belong to nobody here.
			return
		}
	}
	c.push(ch)
}

func (c *controller) onCluster(e kube.Event[*fleet.Cluster]) {
	ch := changeOf(e, ownership.OfCluster)
	leaving := e.New != nil && e.New.DeletionTimestamp != nil
	if leaving {
		ch.tasks = []task{taskOf(taskCluster, ch.object.ID)}
	}
	ch.judge = ch.created || ch.gone || newlyLeaving(e) || !maps.Equal(e.Old.Labels, e.New.Labels)
	if !ch.judge && !leaving {
		return
	}
	c.push(ch)
}

func (c *controller) onNamespace(e kube.Event[*corev1.Namespace]) {
	ch := changeOf(e, ownership.OfNamespace)
	if newlyLeaving(e) {
		ch.judge = true
		ch.also = ch.object.Refs
	}
	c.push(ch)
	if e.Old != nil && e.New != nil && !maps.Equal(e.Old.Labels, e.New.Labels) {
		c.judgeBundlesIn(c.mappedNamespaces(), nil)
	}
}

// onGroup has the deployments judged of the clusters that have come into the
// group or left it. If more than that may turn, those of every bundle that uses
// groups are.
func (c *controller) onGroup(e kube.Event[*fleet.ClusterGroup]) {
	if e.Old != nil && e.New != nil && e.Old.Generation == e.New.Generation && maps.Equal(e.Old.Labels, e.New.Labels) {
		return
	}
	namespace := e.Object().Namespace
	clusters, known := c.movedClusters(e)
	if !known {
		c.judgeBundlesIn(append(c.mappedNamespaces(), namespace), usesGroups)
		return
	}
	if len(clusters) > 0 {
		c.push(change{also: clusters, only: true})
	}
}

// movedClusters returns the clusters whose membership an edit of a group's
// selector has changed; false if other answers may have changed, too.
func (c *controller) movedClusters(e kube.Event[*fleet.ClusterGroup]) ([]ownership.ID, bool) {
	if e.Old == nil || e.New == nil || !maps.Equal(e.Old.Labels, e.New.Labels) {
		return nil, false
	}
	before, err1 := metav1.LabelSelectorAsSelector(e.Old.Spec.Selector)
	after, err2 := metav1.LabelSelectorAsSelector(e.New.Spec.Selector)
	clusters, err3 := c.clusters.List(e.New.Namespace, labels.Everything())
	if err1 != nil || err2 != nil || err3 != nil {
		return nil, false
	}
	var moved []ownership.ID
	for _, cluster := range clusters {
		if set := labels.Set(cluster.Labels); before.Matches(set) != after.Matches(set) {
			moved = append(moved, ownership.IDOf(ownership.KindCluster, cluster.Namespace, cluster.Name))
		}
	}
	return moved, true
}

// usesGroups says whether a group can turn an answer of the bundle's targets.
func usesGroups(b *fleet.Bundle) bool {
	for i := range b.Spec.Targets {
		if b.Spec.Targets[i].ClusterGroup != "" || b.Spec.Targets[i].ClusterGroupSelector != nil {
			return true
		}
	}
	for i := range b.Spec.TargetRestrictions {
		if b.Spec.TargetRestrictions[i].ClusterGroup != "" || b.Spec.TargetRestrictions[i].ClusterGroupSelector != nil {
			return true
		}
	}
	return false
}

// judgeBundlesIn has all deployments judged of the bundles of these namespaces
// that the filter, if there is one, lets through.
func (c *controller) judgeBundlesIn(namespaces []string, filter func(*fleet.Bundle) bool) {
	slices.Sort(namespaces)
	var found []ownership.ID
	for _, namespace := range slices.Compact(namespaces) {
		bundles, err := c.bundles.List(namespace, labels.Everything())
		if err != nil {
			c.Log.WithError(err).Error("Listing bundles failed")
			continue
		}
		for _, b := range bundles {
			if filter == nil || filter(b) {
				found = append(found, ownership.IDOf(ownership.KindBundle, b.Namespace, b.Name))
			}
		}
	}
	if len(found) > 0 {
		c.push(change{also: found, only: true})
	}
}

// mappedNamespaces returns the namespaces whose bundles reach beyond them.
func (c *controller) mappedNamespaces() []string {
	mappings, err := c.mappings.List("", labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing bundle namespace mappings failed")
		return nil
	}
	var found []string
	for _, m := range mappings {
		found = append(found, m.Namespace)
	}
	return found
}
