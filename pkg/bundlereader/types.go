package bundlereader

import (
	"fmt"
	"reflect"
	"strings"

	yamlv3 "gopkg.in/yaml.v3"
)

// quoteTexts makes texts of numbers and booleans where the field takes a text,
// in the way they are written: version 1.10 is not version 1.1. It reports
// whether there were any.
func quoteTexts(node *yamlv3.Node, t reflect.Type) bool {
	if node == nil {
		return false
	}
	changed := false
	for _, v := range values(node, pointed(t)) {
		changed = quoteTexts(v.node, v.kind) || changed
	}
	if node.Kind != yamlv3.ScalarNode || pointed(t).Kind() != reflect.String || isText(node) {
		return changed
	}
	node.Tag, node.Style = "!!str", yamlv3.DoubleQuotedStyle
	return true
}

// isText says whether both parsers take a scalar for a text, or for nothing.
func isText(node *yamlv3.Node) bool {
	switch node.Tag {
	case "!!null":
		return true
	case "!!str":
		return node.Style != 0 || !looksOtherwise(node.Value)
	default:
		return false
	}
}

// looksOtherwise says whether an older YAML takes a plain text for a boolean.
func looksOtherwise(text string) bool {
	switch strings.ToLower(text) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	return false
}

// value is a value in a list or a set of fields.
type value struct {
	node *yamlv3.Node
	kind reflect.Type
	path string // from the list or the fields it is in
}

// values lists what a node holds, as far as its type has a place for it.
func values(node *yamlv3.Node, t reflect.Type) []value {
	var held []value
	switch {
	case node.Kind == yamlv3.SequenceNode && t.Kind() == reflect.Slice:
		for i, item := range node.Content {
			held = append(held, value{node: item, kind: t.Elem(), path: fmt.Sprintf("[%d]", i)})
		}
	case node.Kind == yamlv3.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i].Value
			if kind, ok := valueType(t, key); ok {
				held = append(held, value{node: node.Content[i+1], kind: kind, path: "." + key})
			}
		}
	}
	return held
}

// valueType is the type of a field of a struct, or of the values of a map.
func valueType(t reflect.Type, key string) (reflect.Type, bool) {
	if t.Kind() == reflect.Map {
		return t.Elem(), true
	}
	f, ok := find(fields(t), key)
	return f.kind, ok
}

// wrongType finds the deepest value that cannot be what its field is. It asks
// the parser itself, value by value, so that it never disagrees with it.
func wrongType(node *yamlv3.Node, t reflect.Type, path string) (Finding, bool) {
	if node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	text, err := yamlv3.Marshal(writtenOut(node))
	if err != nil {
		return Finding{}, false
	}
	if err = decode(text, reflect.New(t).Interface()); err == nil {
		return Finding{}, false
	}
	t = pointed(t)
	for _, v := range values(node, t) {
		if deeper, ok := wrongType(v.node, v.kind, strings.TrimPrefix(path+v.path, ".")); ok {
			return deeper, true
		}
	}
	return Finding{
		Severity: Error, Line: node.Line, Column: node.Column, Field: path,
		Message: fmt.Sprintf("the value must be %s", describe(t)),
	}, true
}

// writtenOut returns a copy of a node without anchors and aliases. The caller
// has made sure that it is of bounded size.
func writtenOut(node *yamlv3.Node) *yamlv3.Node {
	if node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	out := *node
	out.Anchor, out.Content = "", nil
	for _, child := range node.Content {
		out.Content = append(out.Content, writtenOut(child))
	}
	return &out
}

// describe says what a field takes, in the words of YAML.
func describe(t reflect.Type) string {
	switch kind := t.Kind(); {
	case kind == reflect.Bool:
		return "true or false"
	case t.PkgPath() == "k8s.io/apimachinery/pkg/util/intstr":
		return "a number or a percentage"
	case t.Name() == "Duration":
		return "a duration such as 15m"
	case kind >= reflect.Int && kind <= reflect.Uint64:
		return "a whole number"
	case kind == reflect.String:
		return "a text"
	case kind == reflect.Slice:
		return "a list"
	default:
		return "a set of fields"
	}
}
