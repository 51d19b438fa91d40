package bundlereader

import (
	"fmt"
	"reflect"
	"strings"

	yamlv3 "gopkg.in/yaml.v3"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// maxWarnings is how many warnings about one file are worth reading.
const maxWarnings = 20

// unknownFields warns of every field that means nothing, and of fields that
// are there twice.
func unknownFields(root *yamlv3.Node) []Finding {
	if root == nil {
		return nil
	}
	w := &fieldWalk{elsewhere: fieldPaths(reflect.TypeFor[fleet.FleetYAML]()), seen: map[*yamlv3.Node]bool{}}
	w.node(root, reflect.TypeFor[fleet.FleetYAML](), "")
	return w.findings
}

type fieldWalk struct {
	elsewhere map[string]string
	seen      map[*yamlv3.Node]bool // aliased nodes are looked at once
	findings  []Finding
}

func (w *fieldWalk) node(node *yamlv3.Node, t reflect.Type, prefix string) {
	if node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	if w.seen[node] {
		return
	}
	w.seen[node] = true
	t = pointed(t)
	switch {
	case node.Kind == yamlv3.MappingNode && len(fields(t)) > 0:
		w.mapping(node, t, prefix)
	case node.Kind == yamlv3.MappingNode && t.Kind() == reflect.Map:
		w.twice(node, prefix)
		for i := 0; i+1 < len(node.Content); i += 2 {
			w.node(node.Content[i+1], t.Elem(), prefix+node.Content[i].Value+".")
		}
	case readsItself(t):
		w.free(node, prefix)
	case node.Kind == yamlv3.SequenceNode && t.Kind() == reflect.Slice:
		for i, item := range node.Content {
			w.node(item, t.Elem(), fmt.Sprintf("%s[%d].", strings.TrimSuffix(prefix, "."), i))
		}
	}
}

func (w *fieldWalk) mapping(node *yamlv3.Node, t reflect.Type, prefix string) {
	known := fields(t)
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Tag == "!!merge" {
			w.merged(value, t, prefix)
			continue
		}
		f, ok := find(known, key.Value)
		if !ok {
			w.warn(key, prefix, func() string { return unknownText(key.Value, suggest(known, w.elsewhere, key.Value)) })
			continue
		}
		if line, twice := first[f.name]; twice {
			w.warn(key, prefix, func() string { return fmt.Sprintf("the field is already set in line %d; the last one counts", line) })
		}
		first[f.name] = key.Line
		w.node(value, f.kind, prefix+f.name+".")
	}
}

// free looks at what may hold anything, such as values.
func (w *fieldWalk) free(node *yamlv3.Node, prefix string) {
	switch node.Kind {
	case yamlv3.MappingNode:
		w.twice(node, prefix)
		for i := 0; i+1 < len(node.Content); i += 2 {
			w.free(node.Content[i+1], prefix+shorten(node.Content[i].Value)+".")
		}
	case yamlv3.SequenceNode:
		for i, item := range node.Content {
			w.free(item, fmt.Sprintf("%s[%d].", strings.TrimSuffix(prefix, "."), i))
		}
	default: // what an alias stands for is looked at where it is written
	}
}

// twice warns of keys that are there twice, where every key is allowed.
func (w *fieldWalk) twice(node *yamlv3.Node, prefix string) {
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if line, again := first[key.Value]; again && key.Tag != "!!merge" {
			w.warn(key, prefix, func() string { return fmt.Sprintf("the field is already set in line %d; the last one counts", line) })
		}
		first[key.Value] = key.Line
	}
}

// merged looks at what "<<" brings in: a mapping, or several.
func (w *fieldWalk) merged(value *yamlv3.Node, t reflect.Type, prefix string) {
	if value.Kind == yamlv3.SequenceNode {
		for _, item := range value.Content {
			w.node(item, t, prefix)
		}
		return
	}
	w.node(value, t, prefix)
}

// warn adds a warning, as long as there are few.
func (w *fieldWalk) warn(key *yamlv3.Node, prefix string, message func() string) {
	switch {
	case len(w.findings) < maxWarnings:
		w.findings = append(w.findings, Finding{Severity: Warning, Line: key.Line, Column: key.Column, Field: prefix + shorten(key.Value), Message: message()})
	case len(w.findings) == maxWarnings:
		w.findings = append(w.findings, Finding{Severity: Warning, Line: key.Line, Column: key.Column, Message: "there are more fields that are unknown or set twice"})
	}
}

// shorten keeps a name from outside at a length that can be shown.
func shorten(name string) string {
	const maxShown = 60
	if len(name) <= maxShown {
		return name
	}
	return strings.ToValidUTF8(name[:maxShown], "") + "…"
}

func unknownText(name, suggestion string) string {
	text := fmt.Sprintf("there is no field %q, so it is ignored", shorten(name))
	if suggestion != "" {
		text += fmt.Sprintf("; did you mean %q?", suggestion)
	}
	return text
}
