package copies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Kinds of sources.
const (
	KindSecret    = "Secret"
	KindConfigMap = "ConfigMap"
)

// Ref names a source in a workspace, and its copy in the namespace of a release.
type Ref struct{ Kind, Name string }

// String returns "Secret pull".
func (r Ref) String() string { return r.Kind + " " + r.Name }

func (r Ref) compare(other Ref) int {
	return cmp.Or(strings.Compare(r.Kind, other.Kind), strings.Compare(r.Name, other.Name))
}

// FieldError says which of the downstreamResources is wrong, and why.
type FieldError struct {
	// Index counts from 0; Field is "kind" or "name".
	Index  int
	Field  string
	Reason string
}

// Error implements error.
func (e *FieldError) Error() string {
	return fmt.Sprintf("downstreamResources[%d].%s: %s", e.Index, e.Field, e.Reason)
}

// Refs returns what the options name, sorted and each once. Kinds may be written in small letters, as in Fleet. What is
// wrong is returned beside what is right.
func Refs(resources []fleet.DownstreamResource) ([]Ref, []*FieldError) {
	var refs []Ref
	var wrong []*FieldError
	for i, r := range resources {
		ref := Ref{Name: r.Name}
		switch strings.ToLower(r.Kind) {
		case "secret":
			ref.Kind = KindSecret
		case "configmap":
			ref.Kind = KindConfigMap
		case "":
			wrong = append(wrong, &FieldError{i, "kind", "it is missing: write Secret or ConfigMap"})
			continue
		default:
			wrong = append(wrong, &FieldError{i, "kind", fmt.Sprintf("%s cannot be copied: only Secret and ConfigMap can", r.Kind)})
			continue
		}
		if r.Name == "" {
			wrong = append(wrong, &FieldError{i, "name", "it is missing: write the name of the " + ref.Kind + " in the workspace"})
			continue
		}
		if problems := validation.IsDNS1123Subdomain(r.Name); len(problems) > 0 {
			wrong = append(wrong, &FieldError{i, "name", fmt.Sprintf("%q is no name of a %s: %s", r.Name, ref.Kind, problems[0])})
			continue
		}
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, Ref.compare)
	return slices.Compact(refs), wrong
}
