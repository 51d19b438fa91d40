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

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

const maxOptionsBytes = 1 << 20

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
	data, err := toJSON(content)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
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
		if _, err = toJSON(content); err == nil {
			return nil, nil
		}
		return nil, oneError(lineOf(content, err), parserText(err))
	}
	if len(file.Content) == 0 {
		return nil, nil
	}
	root := file.Content[0]
	if expanded(root, map[*yamlv3.Node]int{}) > maxExpanded {
		return nil, oneError(root.Line, errAliases.Error())
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
