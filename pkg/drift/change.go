package drift

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// maxFields is how many fields a Change names.
const maxFields = 3

// Change is who changed what of an object.
type Change struct {
	// Manager is the field manager; empty if that cannot be told.
	Manager string
	// Fields are the first of those that were changed, as in ".spec.replicas".
	Fields []string
}

// String is the end of a sentence: " (.spec.replicas, by hpa)"; it may be empty.
func (c Change) String() string {
	text := strings.Join(c.Fields, ", ")
	if c.Manager != "" {
		text = strings.TrimPrefix(text+", by the field manager "+c.Manager, ", ")
	}
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// ChangeOf tells from the marks that the API server keeps of who wrote which
// field who it was that changed what the patch restores: the last one of those
// who hold such a field, but for our own. An object that is not there, which is
// nil, does not tell.
func ChangeOf(live *unstructured.Unstructured, restoring map[string]any, ours ...string) Change {
	var paths [][]string
	leaves(restoring, nil, &paths)
	slices.SortFunc(paths, slices.Compare[[]string])
	var change Change
	if live == nil {
		return change // nobody signs a deletion
	}
	for _, path := range paths[:min(len(paths), maxFields)] {
		change.Fields = append(change.Fields, "."+strings.Join(path, "."))
	}
	var last time.Time
	for _, entry := range live.GetManagedFields() {
		if slices.Contains(ours, entry.Manager) || entry.Subresource == "status" || !holdsAny(entry, paths) {
			continue
		}
		at := time.Time{}
		if entry.Time != nil {
			at = entry.Time.Time
		}
		if change.Manager == "" || at.After(last) {
			change.Manager, last = entry.Manager, at
		}
	}
	return change
}

// leaves lists the paths at which a patch changes something.
func leaves(patch map[string]any, at []string, into *[][]string) {
	for key, value := range patch {
		path := append(slices.Clip(at), key)
		if inner, ok := value.(map[string]any); ok && len(inner) > 0 {
			leaves(inner, path, into)
			continue
		}
		*into = append(*into, path)
	}
}

func holdsAny(entry metav1.ManagedFieldsEntry, paths [][]string) bool {
	if entry.FieldsV1 == nil {
		return false
	}
	var held map[string]any
	if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &held) != nil {
		return false
	}
	return slices.ContainsFunc(paths, func(path []string) bool { return holds(held, path) })
}

// holds says whether somebody holds the field that the path leads to, or one
// above it that has no parts of its own, or one below it.
func holds(held map[string]any, path []string) bool {
	for _, key := range path {
		next, ok := held["f:"+key].(map[string]any)
		if !ok {
			return false
		}
		if len(next) == 0 {
			return true
		}
		held = next
	}
	return true
}
