package drift

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// pointer is a JSON pointer, taken apart.
type pointer []string

func parsePointer(path string) (pointer, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("path %q does not begin with a slash", path)
	}
	tokens := strings.Split(path[1:], "/")
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for i, token := range tokens {
		tokens[i] = unescape.Replace(token)
	}
	return tokens, nil
}

// index returns the place in a list that a token names; false if it names none.
func index(token string, length int) (int, bool) {
	if len(token) > 1 && token[0] == '0' {
		return 0, false
	}
	i, err := strconv.Atoi(token)
	return i, err == nil && i >= 0 && i < length && token[0] != '+'
}

// get returns what the pointer leads to.
func (p pointer) get(value any) (any, bool) {
	for _, token := range p {
		switch v := value.(type) {
		case map[string]any:
			next, ok := v[token]
			if !ok {
				return nil, false
			}
			value = next
		case []any:
			i, ok := index(token, len(v))
			if !ok {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// drop returns the value without what the pointer leads to. The value that was
// given is not changed.
func (p pointer) drop(value any) any {
	if _, ok := p.get(value); !ok || len(p) == 0 {
		return value
	}
	token, last := p[0], len(p) == 1
	switch v := value.(type) {
	case map[string]any:
		changed := maps.Clone(v)
		if last {
			delete(changed, token)
		} else {
			changed[token] = p[1:].drop(v[token])
		}
		return changed
	case []any:
		i, _ := index(token, len(v))
		if last {
			return slices.Delete(slices.Clone(v), i, i+1)
		}
		changed := slices.Clone(v)
		changed[i] = p[1:].drop(v[i])
		return changed
	}
	return value
}

// copyFrom returns the value with what the pointer leads to as it is in other,
// where both have what holds it. The value that was given is not changed.
func (p pointer) copyFrom(other, value any) any {
	if len(p) == 0 {
		return other
	}
	switch v := value.(type) {
	case map[string]any:
		o, ok := other.(map[string]any)
		if !ok {
			return value
		}
		theirs, there := o[p[0]]
		ours, here := v[p[0]]
		changed := maps.Clone(v)
		switch {
		case len(p) == 1 && !there:
			delete(changed, p[0])
		case len(p) == 1, !here && there:
			changed[p[0]] = theirs
		case here && there:
			changed[p[0]] = p[1:].copyFrom(theirs, ours)
		}
		return changed
	case []any:
		o, ok := other.([]any)
		if !ok {
			return value
		}
		i, ok := index(p[0], min(len(v), len(o)))
		if !ok {
			return value
		}
		changed := slices.Clone(v)
		changed[i] = p[1:].copyFrom(o[i], v[i])
		return changed
	}
	return value
}
