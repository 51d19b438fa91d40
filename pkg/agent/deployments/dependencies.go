package deployments

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Neighbour is another deployment of the same cluster, as far as dependencies
// go.
type Neighbour struct {
	Name string
	// Labels are those of its bundle; Bundle and Workspace name the bundle.
	Labels            map[string]string
	Bundle, Workspace string
	DependsOn         []fleet.BundleRef
	State             fleet.BundleState
	// Removing says that it is marked for deletion and not confirmed to be gone.
	Removing bool
}

// unmet returns why the dependencies of a deployment hold it back: one
// sentence for each that does. It is empty if none does.
func unmet(self Neighbour, others []Neighbour) []string {
	var reasons []string
	for _, ref := range self.DependsOn {
		if reason := unmetRef(self, ref, others); reason != "" {
			reasons = append(reasons, reason)
		}
	}
	if len(reasons) > 0 {
		if cycle := findCycle(self, others); len(cycle) > 0 {
			reasons = append(reasons, fmt.Sprintf("the dependencies are a circle: %s; take one of them away", strings.Join(cycle, " → ")))
		}
	}
	return reasons
}

func unmetRef(self Neighbour, ref fleet.BundleRef, others []Neighbour) string {
	matched, err := matching(self, ref, others)
	if err != nil {
		return fmt.Sprintf("dependsOn has a selector that cannot be read: %v", err)
	}
	if len(matched) == 0 {
		return fmt.Sprintf("no bundle that matches %s is deployed to this cluster yet", describe(ref))
	}
	accepted := ref.AcceptedStates
	if len(accepted) == 0 {
		accepted = []fleet.BundleState{fleet.Ready}
	}
	var waiting []string
	for _, n := range matched {
		switch {
		case n.Removing:
			waiting = append(waiting, n.Name+" is being removed")
		case !slices.Contains(accepted, n.State):
			waiting = append(waiting, fmt.Sprintf("%s is %s", n.Name, n.State))
		}
	}
	if len(waiting) == 0 {
		return ""
	}
	return fmt.Sprintf("waiting for %s to be %s: %s", describe(ref), joinStates(accepted), strings.Join(waiting, ", "))
}

// matching returns the neighbours that a reference means, by name. It means
// bundles of the workspace that the referring bundle is in, and never itself.
func matching(self Neighbour, ref fleet.BundleRef, others []Neighbour) ([]Neighbour, error) {
	selector := labels.Nothing()
	if ref.Selector != nil {
		parsed, err := metav1.LabelSelectorAsSelector(ref.Selector)
		if err != nil {
			return nil, err
		}
		selector = parsed
	}
	var matched []Neighbour
	for _, n := range others {
		if n.Name == self.Name || n.Workspace != self.Workspace {
			continue
		}
		if ref.Name != "" && n.Bundle == ref.Name || selector.Matches(labels.Set(n.Labels)) {
			matched = append(matched, n)
		}
	}
	slices.SortFunc(matched, func(a, b Neighbour) int { return strings.Compare(a.Name, b.Name) })
	return matched, nil
}

// dependents returns the neighbours that are being removed and depend on self:
// they go first. A circle of dependencies orders nothing.
func dependents(self Neighbour, others []Neighbour) []string {
	var waiting []string
	all := append(slices.Clone(others), self)
	for _, n := range others {
		if n.Removing && dependsOn(n, self, all) && !reaches(self, n, all) {
			waiting = append(waiting, n.Name)
		}
	}
	slices.Sort(waiting)
	return waiting
}

// dependsOn says whether a names b in one of its dependencies.
func dependsOn(a, b Neighbour, all []Neighbour) bool {
	for _, ref := range a.DependsOn {
		matched, err := matching(a, ref, all)
		if err != nil {
			continue // what cannot be read orders nothing
		}
		if slices.ContainsFunc(matched, func(n Neighbour) bool { return n.Name == b.Name }) {
			return true
		}
	}
	return false
}

// reaches says whether a depends on b, however far.
func reaches(a, b Neighbour, all []Neighbour) bool { return len(path(a, b.Name, all)) > 0 }

// findCycle returns the names on a way along dependencies from self back to
// self; nil if there is none.
func findCycle(self Neighbour, others []Neighbour) []string {
	return path(self, self.Name, append(slices.Clone(others), self))
}

// path returns the names on a shortest way along dependencies from a to the
// neighbour called target, both included; nil if there is none.
func path(a Neighbour, target string, all []Neighbour) []string {
	type visit struct {
		at  Neighbour
		way []string
	}
	seen := map[string]bool{}
	for queue := []visit{{a, []string{a.Name}}}; len(queue) > 0; queue = queue[1:] {
		here := queue[0]
		for _, ref := range here.at.DependsOn {
			matched, err := matching(here.at, ref, all)
			if err != nil {
				continue
			}
			for _, n := range matched {
				way := append(slices.Clone(here.way), n.Name)
				if n.Name == target {
					return way
				}
				if !seen[n.Name] {
					seen[n.Name] = true
					queue = append(queue, visit{n, way})
				}
			}
		}
	}
	return nil
}

func describe(ref fleet.BundleRef) string {
	var parts []string
	if ref.Name != "" {
		parts = append(parts, "bundle "+ref.Name)
	}
	if ref.Selector != nil {
		parts = append(parts, "bundles with labels "+metav1.FormatLabelSelector(ref.Selector))
	}
	if len(parts) == 0 {
		return "a dependency without name and selector"
	}
	return strings.Join(parts, " or ")
}

func joinStates(states []fleet.BundleState) string {
	words := make([]string, len(states))
	for i, s := range states {
		words[i] = string(s)
	}
	return strings.Join(words, " or ")
}

// neighbourOf returns what dependencies need to know of a deployment.
func neighbourOf(bd *fleet.BundleDeployment, state fleet.BundleState, removed bool) Neighbour {
	n := Neighbour{
		Name: bd.Name, Labels: bd.Labels, DependsOn: bd.Spec.DependsOn, State: state,
		Bundle: bd.Labels[names.LabelBundleName], Workspace: bd.Labels[names.LabelBundleNamespace],
		Removing: bd.DeletionTimestamp != nil && !removed,
	}
	if n.Bundle == "" {
		n.Bundle = bd.Name
	}
	return n
}
