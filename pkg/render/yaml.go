package render

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// document is one YAML document of a file.
type document struct {
	// file and line tell where it starts; line 0 when the file was rendered, so that its lines tell nothing.
	file string
	line int
	data []byte
}

// splitDocuments splits a stream at its document markers. By the rules of YAML a
// line that begins with a marker is one wherever it stands, so no parser is
// needed, and one broken document does not hide the others.
func splitDocuments(file string, data []byte) []document {
	var docs []document
	current := document{file: file, line: 1}
	flush := func(next int) {
		if hasContent(current.data) {
			docs = append(docs, current)
		}
		current = document{file: file, line: next}
	}
	for n, line := range bytes.SplitAfter(newlines(data), []byte("\n")) {
		switch marker(line) {
		case "---":
			flush(n + 1)
			// A document may begin on the line of its marker.
			line = append([]byte("   "), line[len("---"):]...)
		case "...":
			flush(n + 2)
			continue
		}
		current.data = append(current.data, line...)
	}
	flush(0)
	return docs
}

// newlines writes every line break as a line feed, which is what YAML reads it as.
func newlines(data []byte) []byte {
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
}

// marker returns the document marker that a line begins with, or nothing.
func marker(line []byte) string {
	for _, m := range []string{"---", "..."} {
		rest, ok := bytes.CutPrefix(line, []byte(m))
		if ok && (len(rest) == 0 || strings.ContainsRune(" \t\n", rune(rest[0]))) {
			return m
		}
	}
	return ""
}

// hasContent says whether there is more than blanks, comments and directives.
func hasContent(data []byte) bool {
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}

// start returns the line of the file with the first content of the document.
func (d document) start() int {
	if d.line == 0 {
		return 0
	}
	line := d.line
	for text := range bytes.Lines(d.data) {
		if hasContent(text) {
			break
		}
		line++
	}
	return line
}

// strictness is what a decoder does about a key that a mapping sets twice.
type strictness int

const (
	// lenient keeps the last one, as Kubernetes and Helm do.
	lenient strictness = iota
	// strict refuses it.
	strict
)

// decode returns what the document holds: a map, a slice or a scalar, with the
// types of JSON and whole numbers as int64. Errors are *Error.
func (d document) decode(mode strictness) (any, error) {
	var value any
	if trimmed := bytes.TrimSpace(d.data); len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(trimmed) {
		// JSON may be indented with tabs, which YAML does not take.
		return value, d.wrap(unmarshalNumbers(trimmed, &value))
	}
	if err := checkAliases(d.file, d.data); err != nil {
		return nil, &Error{File: d.file, Line: d.line, Message: tooManyAliases}
	}
	convert := yaml.YAMLToJSON
	if mode == strict {
		convert = yaml.YAMLToJSONStrict
	}
	data, err := convert(d.data)
	if err != nil {
		return nil, d.wrap(err)
	}
	return value, d.wrap(unmarshalNumbers(data, &value))
}

// unmarshalNumbers decodes JSON with whole numbers as int64.
func unmarshalNumbers(data []byte, value *any) error {
	// The package converts numbers only below a map or a slice.
	var holder []any
	if err := utiljson.Unmarshal(append(append([]byte("["), data...), ']'), &holder); err != nil {
		return err
	}
	*value = holder[0]
	return nil
}

func (d document) wrap(err error) error {
	if err == nil {
		return nil
	}
	line, message := describeYAML(err)
	return &Error{File: d.file, Line: d.lineInFile(line), Message: message, Err: err}
}

// lineInFile turns a line of the document into one of the file.
func (d document) lineInFile(line int) int {
	switch {
	case d.line == 0:
		return 0
	case line == 0:
		return d.line
	default:
		return d.line + line - 1
	}
}

// yamlLine matches where a YAML parser says an error is.
var yamlLine = regexp.MustCompile(`line (\d+): `)

// wrongType matches the error of JSON about a value of another type than the field's.
var wrongType = regexp.MustCompile(`json: cannot unmarshal (\w+) into`)

// describeYAML returns the line that an error of a YAML parser names, 0 if none,
// and a message without the content that some of them quote.
func describeYAML(err error) (int, string) {
	text := err.Error()
	line := 0
	if at := yamlLine.FindStringSubmatchIndex(text); at != nil {
		line, _ = strconv.Atoi(text[at[2]:at[3]])
		text = text[at[1]:]
	}
	text, _, _ = strings.Cut(text, "\n")
	text = strings.TrimPrefix(text, "error converting YAML to JSON: ")
	text = strings.TrimPrefix(text, "yaml: ")
	switch {
	case wrongType.MatchString(text):
		return line, "a value is of type " + wrongType.FindStringSubmatch(text)[1] + ", where another type belongs"
	case strings.Contains(text, "excessive aliasing"):
		return line, "the aliases of the YAML expand to too much"
	case strings.Contains(text, "map key"):
		return line, "a key of a mapping is not a scalar"
	case strings.ContainsAny(text, "`{[") || strings.Contains(text, "cannot decode"):
		return line, "a value does not fit its tag or type"
	}
	return line, text
}
