package drift

import (
	"encoding/json"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Difference is a leaf of what is desired that is not in the live object, or
// not as desired.
type Difference struct {
	// Path leads to the leaf; items of lists are named by their index.
	Path []string
	// Desired is what is asked for, Live what is there; nil if there is nothing.
	Desired, Live any
}

// Differences are all of one object. None says that the object is as desired.
type Differences []Difference

// Within says whether every leaf of desired is in live, in the same form and,
// in lists, in the same place. What live has beyond that does not matter, but
// for items of lists.
func Within(desired, live *unstructured.Unstructured) bool {
	return len(Compare(desired, live)) == 0
}

// Compare returns where live is not as desired. The status is nobody's wish,
// and neither is what the API server writes into the metadata.
func Compare(desired, live *unstructured.Unstructured) Differences {
	var found Differences
	want := asStored(desired)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		value, there := live.Object[key]
		found = compare(found, []string{key}, want[key], given{value, there})
	}
	return found
}

// given is a value that may not be there.
type given struct {
	value any
	there bool
}

func compare(found Differences, path []string, want any, have given) Differences {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.value.(map[string]any)
		if !ok {
			break
		}
		for _, key := range slices.Sorted(maps.Keys(w)) {
			value, there := h[key]
			found = compare(found, append(slices.Clip(path), key), w[key], given{value, there})
		}
		return found
	case []any:
		h, ok := have.value.([]any)
		if !ok || len(h) != len(w) {
			break
		}
		for i := range w {
			found = compare(found, append(slices.Clip(path), strconv.Itoa(i)), w[i], given{h[i], true})
		}
		return found
	case nil:
		// To ask for null is to ask for nothing to be there.
		if have.value == nil {
			return found
		}
	default:
		if have.there && sameLeaf(want, have.value) {
			return found
		}
	}
	return append(found, Difference{Path: path, Desired: want, Live: have.value})
}

// sameLeaf compares two values that are no maps and no lists. Numbers are the
// same if they mean the same: decoders differ in the types they choose.
func sameLeaf(a, b any) bool {
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	if a == b {
		return true
	}
	x, ok := number(a)
	if !ok {
		return false
	}
	y, ok := number(b)
	return ok && x == y
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case int:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// Digest identifies the differences: as long as it stays, nobody has changed
// anything that was asked for.
func (d Differences) Digest() uint64 {
	hash := fnv.New64a()
	for _, one := range d {
		// What was decoded from JSON can be encoded as JSON.
		text, _ := json.Marshal([]any{one.Path, one.Desired, one.Live})
		_, _ = hash.Write(text)
	}
	return hash.Sum64()
}

// Plain returns the differences that are there whatever the API server makes of
// what it is given: without quantities that mean the same, and without empty
// values that may have been left out. They are what is left to judge by where
// the API server cannot be asked.
func (d Differences) Plain() Differences {
	return slices.DeleteFunc(slices.Clone(d), func(one Difference) bool {
		return one.Live == nil && isEmpty(one.Desired) || sameQuantity(one.Desired, one.Live)
	})
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	case string:
		return v == ""
	case bool:
		return !v
	}
	return false
}

func sameQuantity(a, b any) bool {
	x, err := resource.ParseQuantity(scalar(a))
	if err != nil {
		return false
	}
	y, err := resource.ParseQuantity(scalar(b))
	return err == nil && x.Cmp(y) == 0
}

func scalar(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	if n, ok := number(v); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return ""
}

// Fields names what differs, as in ".spec.replicas", each once and at most n.
func (d Differences) Fields(n int) []string {
	var fields []string
	for _, one := range d {
		if len(fields) == n {
			break
		}
		if field := "." + strings.Join(one.Path, "."); !slices.Contains(fields, field) {
			fields = append(fields, field)
		}
	}
	return fields
}
