package bundle

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// TemplateError says which field of the values cannot be evaluated for a cluster, and why. It quotes no value: those
// may be secret.
type TemplateError struct {
	// Field is the path of the field, such as values.a.b[0].
	Field string
	// Reason says what is wrong.
	Reason string
}

// Error returns field and reason.
func (e *TemplateError) Error() string { return "helm " + e.Field + ": " + e.Reason }

const (
	tooLarge = "larger than 1 MiB"
	tooDeep  = "nested deeper than 50 levels"
)

// path is where in the values something stands. It becomes text only for an error.
type path struct {
	parent *path
	name   string
	depth  int
}

func (p *path) key(name string) *path { return &path{parent: p, name: name, depth: p.depth + 1} }

func (p *path) index(i int) *path {
	return &path{parent: p, name: "[" + strconv.Itoa(i) + "]", depth: p.depth + 1}
}

func (p *path) error(reason string) error { return &TemplateError{Field: p.String(), Reason: reason} }

// simpleName is a name that can stand in a path without quotes.
var simpleName = regexp.MustCompile(`^(\[[0-9]+\]|[-_A-Za-z0-9]{1,63})$`)

// String returns the path; long or unusual names are quoted and cut.
func (p *path) String() string {
	if p.parent == nil {
		return p.name
	}
	name := p.name
	if !simpleName.MatchString(name) {
		const longest = 40
		if runes := []rune(name); len(runes) > longest {
			name = string(runes[:longest]) + "…"
		}
		return p.parent.String() + "[" + strconv.Quote(name) + "]"
	}
	if strings.HasPrefix(name, "[") {
		return p.parent.String() + name
	}
	return p.parent.String() + "." + name
}

// Messages of text/template that are worth passing on. They all quote the template, which may hold secrets, so only
// what is known to be harmless is taken from them: our own names of functions, names that templates refer to, and a
// few phrases.
var (
	missingKey   = regexp.MustCompile(`at <((?:\.[A-Za-z_][A-Za-z0-9_]*)+)>: map has no entry for key "[A-Za-z_][A-Za-z0-9_]*"$`)
	missingName  = regexp.MustCompile(`: map has no entry for key "([A-Za-z_][A-Za-z0-9_]*)"$`)
	failedCall   = regexp.MustCompile(`error calling ([A-Za-z0-9_]+):`)
	templateLine = regexp.MustCompile(`^template: [^:]*:([0-9]+)`)
)

func parsePhrases() []string {
	return []string{
		"unclosed action", "unterminated quoted string", "unterminated raw quoted string",
		"unterminated character constant", "unclosed left paren", "unexpected right paren", "undefined variable",
		"missing value for", "unexpected EOF", "bad number syntax", "empty command", "unclosed comment",
	}
}

// parseReason says why a template does not parse.
func parseReason(err error) string {
	message := err.Error()
	line := ""
	if m := templateLine.FindStringSubmatch(message); m != nil {
		line = " in line " + m[1]
	}
	for _, phrase := range parsePhrases() {
		if strings.Contains(message, phrase) {
			return fmt.Sprintf("the template does not parse: %s%s", phrase, line)
		}
	}
	return "the template does not parse" + line
}

// executeReason says why a template cannot be evaluated.
func executeReason(err error) string {
	message := err.Error()
	if m := missingKey.FindStringSubmatch(message); m != nil {
		return "the cluster has no " + m[1]
	}
	if m := missingName.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("there is no %q", m[1])
	}
	if m := failedCall.FindStringSubmatch(message); m != nil {
		return "the function " + m[1] + " failed"
	}
	return "the template cannot be evaluated for this cluster"
}
