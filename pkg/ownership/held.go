package ownership

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// maxHeldNames is how many of the things that are held a condition names.
const maxHeldNames = 10

// Held is what is held of one Bundle or GitRepo, for its condition PruneHeld
// to say.
type Held struct {
	// Kind, Namespace and Name are those of the Bundle or GitRepo.
	Kind            Kind
	Namespace, Name string
	Generation      int64
	// Deployments are the clusters ("namespace/name") of a Bundle's, or the
	// Bundles of a GitRepo with how many of theirs.
	Deployments []string
	// Count is how many deployments that are.
	Count int
	// Bundles are those whose folder is gone.
	Bundles []string
	// Reasons are the distinct reasons.
	Reasons []string
	Limits  Limits
}

// Condition returns the condition PruneHeld, or nil if nothing is held.
func (h Held) Condition() *fleet.Condition {
	if h.Count == 0 && len(h.Bundles) == 0 {
		return nil
	}
	reasons := slices.Clone(h.Reasons)
	slices.SortFunc(reasons, func(a, b string) int { return rank(a) - rank(b) })
	reasons = slices.Compact(reasons)
	var why []string
	for _, r := range reasons {
		why = append(why, h.explain(r))
	}
	return &fleet.Condition{
		Type: fleet.ConditionPruneHeld, Status: metav1.ConditionTrue, Reason: reasons[0],
		Message:            fmt.Sprintf("%s: %s. %s", h.list(), strings.Join(why, "; "), h.wayOut(reasons[0])),
		ObservedGeneration: h.Generation,
	}
}

// rank orders reasons: what a person has to decide comes first.
func rank(reason string) int {
	return slices.Index([]string{fleet.ReasonKindLeaving, fleet.ReasonSideEffects, fleet.ReasonFoldersGone, fleet.ReasonHeldByUser}, reason)
}

func (h Held) list() string {
	var parts []string
	if h.Count > 0 {
		parts = append(parts, fmt.Sprintf("%s held (%s)", plural(h.Count, "deployment"), bounded(h.Deployments)))
	}
	if len(h.Bundles) > 0 {
		parts = append(parts, fmt.Sprintf("%s held (%s)", plural(len(h.Bundles), "bundle"), bounded(h.Bundles)))
	}
	return strings.Join(parts, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}

func bounded(list []string) string {
	list = slices.Sorted(slices.Values(list))
	if more := len(list) - maxHeldNames; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:maxHeldNames], ", "), more)
	}
	return strings.Join(list, ", ")
}

func (h Held) explain(reason string) string {
	switch reason {
	case fleet.ReasonSideEffects:
		return fmt.Sprintf("their clusters no longer match although nobody edited the targets, and more than %d and %d %% of a bundle's deployments would go within %s",
			h.Limits.Deployments, h.Limits.Percent, h.Limits.Window)
	case fleet.ReasonFoldersGone:
		return "the newest commit no longer has their folders, which are more than half of the repository's bundles"
	case fleet.ReasonHeldByUser:
		return "the annotation " + names.AnnotationHold + " asks that nothing be removed"
	case fleet.ReasonKindLeaving:
		return "the definition of the kind is being deleted, which is nobody's word about them"
	}
	return reason
}

// wayOut says what a person can do.
func (h Held) wayOut(reason string) string {
	switch reason {
	case fleet.ReasonHeldByUser:
		return "To let them go, remove the annotation"
	case fleet.ReasonKindLeaving:
		return "Nothing is removed because of that; delete the objects themselves before their definition, to remove what they deployed"
	}
	return fmt.Sprintf("If that is what you want, let them go with: flotilla gc release -n %s %s/%s (or annotate it with %s=yes). Else correct the cause; what matches again stays",
		h.Namespace, strings.ToLower(h.Kind.String()), h.Name, names.AnnotationReleaseHeld)
}
