package deployments

import (
	"cmp"
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// extras returns the objects that carry the marks of a deployment and are not
// in its release. One that was not known before is read first: what an upgrade
// has just deleted may not be known to be gone yet.
func (c *Controller) extras(ctx context.Context, deployment string, rel *release.Release) ([]Observation, error) {
	known, unknown := map[place]Observation{}, []place{}
	marked := c.watches.Marked(c.setOf(deployment))
	c.memory.with(deployment, func(r *remembered) {
		for _, e := range marked {
			at := place{resource: e.Resource, namespace: e.Namespace, name: e.Name}
			if _, ours := r.places[at]; ours || r.removing[at] {
				continue
			}
			if seen, ok := r.judged.extras[at]; ok && seen.Version == e.Version {
				known[at] = seen
				continue
			}
			unknown = append(unknown, at)
		}
	})
	for _, at := range unknown {
		live, err := c.get(ctx, at)
		if err != nil {
			return nil, err
		}
		if live == nil || live.GetDeletionTimestamp() != nil || !release.Holds(rel.Key, live) || !Standalone(metadataOf(live)) {
			continue
		}
		known[at] = Observation{
			Object: release.Object{GroupVersionKind: live.GroupVersionKind(), Namespace: live.GetNamespace(), Name: live.GetName()},
			Health: Extra, UID: live.GetUID(), Version: live.GetResourceVersion(), CreatedAt: live.GetCreationTimestamp(),
		}
	}
	c.memory.with(deployment, func(r *remembered) { r.judged.extras = known })
	list := make([]Observation, 0, len(known))
	for _, o := range known {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Observation) int { return cmp.Compare(a.Object.String(), b.Object.String()) })
	return list, nil
}

func metadataOf(live *unstructured.Unstructured) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Labels: live.GetLabels(), Annotations: live.GetAnnotations(), OwnerReferences: live.GetOwnerReferences(),
	}}
}
