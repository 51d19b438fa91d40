package render

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// finisher makes rendered objects ours.
type finisher struct {
	labels, annotations map[string]string
	// namespace of the release. Objects that name none go there; if it is forced, all do.
	namespace string
	forced    bool
	// keepCRDs leaves CustomResourceDefinitions behind when the release goes.
	keepCRDs    bool
	scope       func(schema.GroupVersionKind) (namespaced, known bool)
	mostObjects int
}

func newFinisher(in Input, namespace string, limits Limits) finisher {
	return finisher{
		labels:      in.Labels,
		annotations: in.Annotations,
		namespace:   namespace,
		forced:      in.Options.TargetNamespace != "",
		keepCRDs:    !isTrue(in.Options.DeleteCRDResources),
		scope:       in.IsNamespaced,
		mostObjects: limits.Objects,
	}
}

// finish changes the objects in place and returns them in the order in which
// Helm installs kinds.
func (f finisher) finish(objects []object) ([]object, error) {
	if len(objects) > f.mostObjects {
		return nil, &Error{Message: fmt.Sprintf("the bundle renders %d objects; at most %d are allowed", len(objects), f.mostObjects)}
	}
	scopes := scopes{cluster: f.scope, defined: definedScopes(objects)}
	if f.forced {
		if err := refuseClusterScoped(objects, scopes); err != nil {
			return nil, err
		}
	}
	for _, o := range objects {
		f.mark(o)
		f.place(o, scopes)
	}
	if err := refuseTwins(objects); err != nil {
		return nil, err
	}
	sortForInstall(objects)
	return objects, nil
}

// mark sets labels and annotations.
func (f finisher) mark(o object) {
	annotations := f.annotations
	if f.keepCRDs && isCRD(o) {
		annotations = maps.Clone(annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[kube.ResourcePolicyAnno] = kube.KeepPolicy
	}
	if len(f.labels) > 0 {
		o.SetLabels(merged(o.GetLabels(), f.labels))
	}
	if len(annotations) > 0 {
		o.SetAnnotations(merged(o.GetAnnotations(), annotations))
	}
}

// place gives an object its namespace. One of an unknown kind gets one only if
// it is forced: Helm places it when the cluster knows the kind.
func (f finisher) place(o object, s scopes) {
	namespaced, known := s.namespaced(o.GroupVersionKind())
	switch {
	case f.forced:
		o.SetNamespace(f.namespace)
	case known && namespaced && o.GetNamespace() == "":
		o.SetNamespace(f.namespace)
	}
}

// placeHook gives the object of a hook the namespace that Helm creates it in.
// Helm shows hooks to no post-renderer, so theirs is never forced.
func (f finisher) placeHook(o object) {
	f.forced = false
	f.place(o, scopes{cluster: f.scope})
}

func merged(own, ours map[string]string) map[string]string {
	result := make(map[string]string, len(own)+len(ours))
	maps.Copy(result, own)
	maps.Copy(result, ours)
	return result
}

// refuseClusterScoped refuses what no namespace can hold.
func refuseClusterScoped(objects []object, s scopes) error {
	var first *object
	others := 0
	for i, o := range objects {
		if namespaced, known := s.namespaced(o.GroupVersionKind()); namespaced || !known {
			continue
		}
		if first == nil {
			first = &objects[i]
			continue
		}
		others++
	}
	if first == nil {
		return nil
	}
	message := "the object is cluster-scoped, but the option namespace puts everything into one namespace; use defaultNamespace instead"
	if others > 0 {
		message += fmt.Sprintf(" (and so are %d others)", others)
	}
	return first.errorf("%s", message)
}

// refuseTwins refuses two objects of the same identity: Helm would create the
// first and fail on the second.
func refuseTwins(objects []object) error {
	type identity struct {
		kind            schema.GroupKind
		namespace, name string
	}
	seen := make(map[identity]object, len(objects))
	for _, o := range objects {
		id := identity{kind: o.GroupVersionKind().GroupKind(), namespace: o.GetNamespace(), name: o.GetName()}
		if first, twice := seen[id]; twice {
			if first.file == o.file || first.file == "" {
				return o.errorf("the bundle renders the object twice")
			}
			return o.errorf("the bundle renders the object twice, also from %s", first.file)
		}
		seen[id] = o
	}
	return nil
}

// sortForInstall puts the objects in the order in which Helm installs kinds,
// which a post-renderer can break and Helm does not restore.
func sortForInstall(objects []object) {
	rank := make(map[string]int, len(releaseutil.InstallOrder))
	for i, kind := range releaseutil.InstallOrder {
		rank[kind] = i
	}
	position := func(kind string) int {
		if i, known := rank[kind]; known {
			return i
		}
		return len(rank)
	}
	slices.SortStableFunc(objects, func(a, b object) int {
		if c := cmp.Compare(position(a.GetKind()), position(b.GetKind())); c != 0 {
			return c
		}
		if a.GetKind() != b.GetKind() {
			return strings.Compare(a.GetKind(), b.GetKind())
		}
		return 0
	})
}
