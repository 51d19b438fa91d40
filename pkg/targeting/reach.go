package targeting

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Reach is the set of namespaces whose clusters a bundle may be deployed to.
type Reach struct {
	// Namespaces are the bundle's own, first, and those that a
	// BundleNamespaceMapping opens, sorted.
	Namespaces []string
	// Problems are mappings that cannot be read. While there are any, a
	// namespace that is not in Namespaces is not known to be out of reach.
	Problems []Problem
}

// Contains says whether clusters of the namespace are within reach.
func (r Reach) Contains(namespace string) bool { return slices.Contains(r.Namespaces, namespace) }

// ReachOf computes the reach of a bundle from the mappings of its namespace
// and all namespaces of the hub.
func ReachOf(b *fleet.Bundle, mappings []*fleet.BundleNamespaceMapping, namespaces []*corev1.Namespace) Reach {
	r := Reach{Namespaces: []string{b.Namespace}}
	for _, m := range mappings {
		bundles, err1 := metav1.LabelSelectorAsSelector(m.BundleSelector)
		targets, err2 := metav1.LabelSelectorAsSelector(m.NamespaceSelector)
		if err1 != nil || err2 != nil {
			r.Problems = append(r.Problems, Problem{
				Field:   "bundlenamespacemapping/" + m.Name,
				Message: "its bundleSelector or namespaceSelector does not parse: correct it",
			})
			continue
		}
		if !bundles.Matches(labels.Set(b.Labels)) {
			continue
		}
		for _, ns := range namespaces {
			if targets.Matches(labels.Set(ns.Labels)) && !r.Contains(ns.Name) {
				r.Namespaces = append(r.Namespaces, ns.Name)
			}
		}
	}
	slices.Sort(r.Namespaces[1:])
	return r
}
