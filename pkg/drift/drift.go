package drift

import (
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Drift is how a live object differs from what it should be.
type Drift struct {
	// Restoring is the JSON merge patch that makes the live object what it should be.
	Restoring map[string]any
	// Text shows what that changes: see Text.
	Text string
}

// Between returns how a live object differs from what the API server predicts
// of it, less what the rules leave out; nil if it does not.
func Between(live, predicted *unstructured.Unstructured, rules Rules) *Drift {
	is, should := strip(live.Object), strip(predicted.Object)
	changing := rules.changing(live)
	comparedIs, comparedShould := apply(changing, is), apply(changing, should)
	if len(mergePatch(comparedIs, comparedShould)) == 0 {
		return nil
	}
	return &Drift{
		Restoring: mergePatch(is, keep(changing, is, should)),
		Text:      text(live, readable(comparedIs, comparedShould)),
	}
}

// Local returns the drift that the differences alone make, for where the API
// server could not be asked; nil if they are none for certain. Nothing can be
// restored by it.
func Local(live *unstructured.Unstructured, differences Differences) *Drift {
	differences = differences.Plain()
	if len(differences) == 0 {
		return nil
	}
	shown := map[string]any{}
	for _, one := range differences {
		set(shown, one.Path, one.Desired)
	}
	return &Drift{Text: text(live, shown)}
}

// set puts a value where the path leads to. Items of lists are named by their
// index, as if the list were a map.
func set(into map[string]any, path []string, value any) {
	for _, key := range path[:len(path)-1] {
		next, ok := into[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			into[key] = next
		}
		into = next
	}
	into[path[len(path)-1]] = value
}

// mergePatch returns the JSON merge patch that makes b of a.
func mergePatch(a, b map[string]any) map[string]any {
	patch := map[string]any{}
	for key := range a {
		if _, stays := b[key]; !stays {
			patch[key] = nil
		}
	}
	for key, value := range b {
		old, there := a[key]
		if there && same(old, value) {
			continue
		}
		oldMap, wasMap := old.(map[string]any)
		newMap, isMap := value.(map[string]any)
		if !wasMap || !isMap {
			patch[key] = value
			continue
		}
		if change := mergePatch(oldMap, newMap); len(change) > 0 {
			patch[key] = change
		}
	}
	return patch
}

// same compares values as JSON would have them.
func same(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, same)
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !same(x[i], y[i]) {
				return false
			}
		}
		return true
	case nil:
		return b == nil
	}
	if m, n := reflect.TypeOf(a), reflect.TypeOf(b); m != nil && n != nil && m.Comparable() && n.Comparable() {
		return sameLeaf(a, b)
	}
	return reflect.DeepEqual(a, b)
}
