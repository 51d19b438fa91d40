package bundlereader

import (
	"encoding/json"
	"reflect"
	"strings"
)

// field is a field that a fleet.yaml may have.
type field struct {
	name string // as it is written
	kind reflect.Type
}

// fields lists the fields of a struct as JSON has them, embedded ones included.
// It is empty for what is not a struct or reads itself, as a GenericMap does.
func fields(t reflect.Type) []field {
	t = pointed(t)
	if t.Kind() != reflect.Struct || readsItself(t) {
		return nil
	}
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && (name == "" || strings.Contains(options, "inline")):
			all = append(all, fields(f.Type)...)
		case f.IsExported() && name != "-" && name != "":
			all = append(all, field{name: name, kind: f.Type})
		}
	}
	return all
}

func pointed(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// readsItself says whether a type has JSON of its own making.
func readsItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

// find returns the field of a name. Case does not matter, as it never did.
func find(known []field, name string) (field, bool) {
	for _, f := range known {
		if f.name == name {
			return f, true
		}
	}
	for _, f := range known {
		if strings.EqualFold(f.name, name) {
			return f, true
		}
	}
	return field{}, false
}

// suggest returns the known field that the unknown name is most likely meant to
// be, or "" if none is close. Fields elsewhere in the file count if they have
// exactly this name.
func suggest(known []field, elsewhere map[string]string, name string) string {
	const maxName = 64
	if len(name) > maxName {
		return ""
	}
	lower := strings.ToLower(name)
	best, bestDistance := "", max(1, len(name)/3)+1
	for _, f := range known {
		if d := distance(lower, strings.ToLower(f.name), bestDistance); d < bestDistance {
			best, bestDistance = f.name, d
		}
	}
	if best == "" {
		return elsewhere[lower]
	}
	return best
}

// fieldPaths maps the names of all fields, in lower case, to their paths. The
// shortest path wins; names that lead into lists are left out.
func fieldPaths(t reflect.Type) map[string]string {
	paths := map[string]string{}
	type level struct {
		kind   reflect.Type
		prefix string
	}
	const maxDepth = 3
	levels := []level{{kind: t}}
	for range maxDepth {
		var below []level
		for _, l := range levels {
			for _, f := range fields(l.kind) {
				full := l.prefix + f.name
				if _, ok := paths[strings.ToLower(f.name)]; !ok {
					paths[strings.ToLower(f.name)] = full
				}
				below = append(below, level{kind: f.kind, prefix: full + "."})
			}
		}
		levels = below
	}
	return paths
}

// distance is the number of edits between two words; transposed neighbours
// count as one. It gives up at limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	var before []int
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current := make([]int, len(b)+1)
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous = previous, current
	}
	return min(previous[len(b)], limit)
}
