package bundlereader

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "gopkg.in/yaml.v3"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

const (
	maxOptionsBytes = 1 << 20
	// maxNodes bounds a fleet.yaml with its aliases written out.
	maxNodes = 100_000
	// maxWarnings is how many warnings about one file are worth reading.
	maxWarnings = 20
)

// document is a fleet.yaml that has been read: what it says, and where.
type document struct {
	options fleet.FleetYAML
	root    *yamlv3.Node // nil if the file is empty or there is none
}

// parseOptions reads a fleet.yaml. What it says is decided by the parser that
// Kubernetes manifests are read with; a second one, which keeps lines and
// columns, only finds out where something is. Findings have no file yet. If
// one of them is an error, the document is not to be used.
func parseOptions(content []byte) (document, []Finding) {
	if len(content) > maxOptionsBytes {
		return document{}, oneError(0, fmt.Sprintf("the file has more than %d bytes", maxOptionsBytes))
	}
	root, findings := parseNodes(content)
	if hasErrors(findings) {
		return document{}, findings
	}
	doc := document{root: root}
	if quoteTexts(root, reflect.TypeFor[fleet.FleetYAML]()) {
		quoted, err := yamlv3.Marshal(root)
		if err != nil {
			return document{}, oneError(0, parserText(err))
		}
		content = quoted
	}
	err := decode(content, &doc.options)
	if err == nil {
		return doc, append(findings, unknownFields(root)...)
	}
	if root != nil {
		if wrong, ok := wrongType(root, reflect.TypeFor[fleet.FleetYAML](), ""); ok && wrong.Field != "" {
			return document{}, append(findings, wrong)
		}
	}
	return document{}, append(findings, oneError(lineOf(content, err), parserText(err))...)
}

// decode reads YAML the way Kubernetes does, as JSON.
func decode(content []byte, into any) error {
	data, err := yaml.YAMLToJSON(content)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// quoteTexts makes texts of numbers and booleans where the field takes a text,
// in the way they are written: version 1.10 is not version 1.1. It reports
// whether there were any.
func quoteTexts(node *yamlv3.Node, t reflect.Type) bool {
	if node == nil {
		return false
	}
	t = pointed(t)
	switch {
	case node.Kind == yamlv3.ScalarNode && t.Kind() == reflect.String:
		isText := node.Tag == "!!str" && node.Style != 0 || node.Tag == "!!null"
		if isText || node.Tag == "!!str" && !looksOtherwise(node.Value) {
			return false
		}
		node.Tag, node.Style = "!!str", yamlv3.DoubleQuotedStyle
		return true
	case node.Kind == yamlv3.SequenceNode && t.Kind() == reflect.Slice:
		changed := false
		for _, item := range node.Content {
			changed = quoteTexts(item, t.Elem()) || changed
		}
		return changed
	case node.Kind == yamlv3.MappingNode:
		changed := false
		for i := 0; i+1 < len(node.Content); i += 2 {
			if kind, ok := valueType(t, node.Content[i].Value); ok {
				changed = quoteTexts(node.Content[i+1], kind) || changed
			}
		}
		return changed
	}
	return false
}

// looksOtherwise says whether an older YAML takes a plain text for a boolean.
func looksOtherwise(text string) bool {
	switch strings.ToLower(text) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	return false
}

// valueType is the type of a field of a struct, or of the values of a map.
func valueType(t reflect.Type, key string) (reflect.Type, bool) {
	if t.Kind() == reflect.Map {
		return t.Elem(), true
	}
	f, ok := find(fields(t), key)
	return f.kind, ok
}

// parseNodes returns the tree of the first document of a file. The findings
// are what no parser can make sense of, and what one had better not try.
func parseNodes(content []byte) (*yamlv3.Node, []Finding) {
	decoder := yamlv3.NewDecoder(bytes.NewReader(content))
	var file yamlv3.Node
	switch err := decoder.Decode(&file); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		// The two parsers differ in rare cases; the other one decides.
		if _, err = yaml.YAMLToJSON(content); err == nil {
			return nil, nil
		}
		return nil, oneError(lineOf(content, err), parserText(err))
	}
	if len(file.Content) == 0 {
		return nil, nil
	}
	root := file.Content[0]
	if size := expanded(root, map[*yamlv3.Node]int{}); size > maxNodes {
		return nil, oneError(root.Line, fmt.Sprintf("the file has more than %d values when its aliases are written out", maxNodes))
	}
	isNull := root.Kind == yamlv3.ScalarNode && root.Tag == "!!null"
	if root.Kind != yamlv3.MappingNode && !isNull {
		return nil, []Finding{{Severity: Error, Line: root.Line, Column: root.Column, Message: "the file must hold fields, such as \"namespace: web\""}}
	}
	var more yamlv3.Node
	if err := decoder.Decode(&more); err == nil && len(more.Content) > 0 {
		first := more.Content[0]
		return root, []Finding{{Severity: Warning, Line: first.Line, Column: first.Column, Message: "only the first document of the file counts"}}
	}
	return root, nil
}

// expanded counts the nodes below a node as if aliases were written out. An
// alias to a node that it is in counts as too many.
func expanded(node *yamlv3.Node, known map[*yamlv3.Node]int) int {
	if size, ok := known[node]; ok {
		return size
	}
	known[node] = maxNodes + 1 // until it is known
	size := 1
	if node.Kind == yamlv3.AliasNode {
		size += expanded(node.Alias, known)
	}
	for _, child := range node.Content {
		size = min(size+expanded(child, known), maxNodes+1)
	}
	known[node] = size
	return size
}

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
		for i := 0; i+1 < len(node.Content); i += 2 {
			w.node(node.Content[i+1], t.Elem(), prefix+node.Content[i].Value+".")
		}
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
	for i, child := range node.Content {
		kind, at := t, path
		switch {
		case node.Kind == yamlv3.SequenceNode && t.Kind() == reflect.Slice:
			kind, at = t.Elem(), fmt.Sprintf("%s[%d]", path, i)
		case node.Kind == yamlv3.MappingNode && i%2 == 1:
			var ok bool
			key := node.Content[i-1].Value
			if kind, ok = valueType(t, key); !ok {
				continue
			}
			at = strings.TrimPrefix(path+"."+key, ".")
		default:
			continue
		}
		if wrong, ok := wrongType(child, kind, at); ok {
			return wrong, true
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

// parserLine finds the line in a message of a YAML parser.
var parserLine = regexp.MustCompile(`line (\d+):?\s*`)

// lineOf returns the line that a parser complains about, or 0. The parser
// counts from 0 where grammar, not spelling, is the matter, and does not speak
// of the first line.
func lineOf(content []byte, err error) int {
	text := err.Error()
	found := parserLine.FindStringSubmatch(text)
	switch {
	case found == nil && strings.Contains(text, "yaml: ") && !strings.Contains(text, "anchor"):
		return 1
	case found == nil:
		return 0
	}
	line, _ := strconv.Atoi(found[1])
	if strings.Contains(text, "did not find expected") {
		line++
	}
	// What is missing at the end is missed after the last line.
	return min(line, bytes.Count(bytes.TrimRight(content, "\n"), []byte("\n"))+1)
}

// parserText is a message of a YAML parser without what is said elsewhere.
func parserText(err error) string {
	text := err.Error()
	for _, prefix := range []string{"error converting YAML to JSON: ", "error unmarshaling JSON: ", "yaml: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	text = parserLine.ReplaceAllString(text, "")
	const maxText = 300
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return "the YAML cannot be parsed: " + text
}

func oneError(line int, message string) []Finding {
	return []Finding{{Severity: Error, Line: line, Message: message}}
}

func hasErrors(findings []Finding) bool {
	for _, f := range findings {
		if f.Severity == Error {
			return true
		}
	}
	return false
}

// position finds where a field is set, given by its path; lists count from 0.
// What is not there is placed at the field that it would be in.
func (d document) position(path ...any) (line, column int) {
	node := d.root
	for _, step := range path {
		if node == nil {
			break
		}
		line, column = node.Line, node.Column
		next := child(node, step)
		if next == nil {
			return line, column
		}
		node = next
	}
	if node == nil {
		return 0, 0
	}
	return node.Line, node.Column
}

func child(node *yamlv3.Node, step any) *yamlv3.Node {
	if node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	switch step := step.(type) {
	case int:
		if node.Kind == yamlv3.SequenceNode && step < len(node.Content) {
			return node.Content[step]
		}
	case string:
		for i := 0; node.Kind == yamlv3.MappingNode && i+1 < len(node.Content); i += 2 {
			if strings.EqualFold(node.Content[i].Value, step) {
				return node.Content[i+1]
			}
		}
	}
	return nil
}
