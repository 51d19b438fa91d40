package render

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"helm.sh/helm/v3/pkg/chartutil"
)

// Explain turns an error of the Helm action that was given r into an *Error if
// its cause lies in the bundle: a template, a schema, a manifest. It says where,
// and holds nothing of the values. Any other error is returned as it is.
func (r *Rendered) Explain(err error) error {
	if err == nil {
		return nil
	}
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	text := err.Error()
	for _, explain := range []func(string) *Error{
		r.explainTemplate, r.explainManifest, r.explainSchema, r.explainVersion,
	} {
		if found := explain(text); found != nil {
			found.Message = newRedactor(r.Values).redact(found.Message)
			found.Err = err
			return found
		}
	}
	return err
}

// The forms in which Helm's engine reports a template: while parsing, from the
// functions fail and required, and while executing.
var (
	parseFailure   = regexp.MustCompile(`(?s)parse error (?:at|in) \(([^():]+)(?::(\d+))?(?::\d+)?\): (.*)`)
	calledFailure  = regexp.MustCompile(`(?s)execution error (?:at|in) \(([^():]+)(?::(\d+))?(?::\d+)?\): (.*)`)
	executeFailure = regexp.MustCompile(`(?s)template: ([^:]+):(\d+)(?::\d+)?: (.*)`)
)

// nestedTemplate matches the templates on the way from a file to the place that failed.
var nestedTemplate = regexp.MustCompile(`(?s)^executing "[^"]*" (at <.*?>): (.*)$`)

func (r *Rendered) explainTemplate(text string) *Error {
	for _, failure := range []*regexp.Regexp{parseFailure, calledFailure, executeFailure} {
		match := failure.FindStringSubmatch(text)
		if match == nil {
			continue
		}
		line, _ := strconv.Atoi(match[2])
		return &Error{File: r.paths.inBundle(match[1]), Line: line, Message: "rendering: " + innermost(match[3])}
	}
	if strings.HasPrefix(text, "rendering template failed") {
		return &Error{Message: "rendering: the template engine failed on a template of the chart"}
	}
	return nil
}

// innermost returns the last of a chain of messages, with the expression it is about.
func innermost(text string) string {
	if at := strings.LastIndex(text, "executing \""); at > 0 {
		text = text[at:]
	}
	if match := nestedTemplate.FindStringSubmatch(text); match != nil {
		return match[1] + ": " + match[2]
	}
	return text
}

var manifestFailure = regexp.MustCompile(`(?s)YAML parse error on ([^:]+): (.*)`)

func (r *Rendered) explainManifest(text string) *Error {
	match := manifestFailure.FindStringSubmatch(text)
	if match == nil {
		return nil
	}
	// The line is one of what was rendered, so it stays in the message.
	line, message := describeYAML(errors.New(match[2]))
	if line > 0 {
		message += " (line " + strconv.Itoa(line) + " of a rendered manifest)"
	}
	return &Error{File: r.paths.inBundle(match[1]), Message: "the template renders no valid YAML: " + message}
}

const schemaFailure = "values don't meet the specifications of the schema(s) in the following chart(s):"

func (r *Rendered) explainSchema(text string) *Error {
	_, details, ok := strings.Cut(text, schemaFailure)
	if !ok {
		return nil
	}
	return &Error{
		File:    r.paths.inBundle(r.paths.chart + "/" + schemaFile),
		Message: "the values do not fit the schema of the chart: " + strings.Join(strings.Fields(details), " "),
	}
}

func (r *Rendered) explainVersion(text string) *Error {
	at := strings.Index(text, "chart requires kubeVersion")
	if at < 0 {
		return nil
	}
	return &Error{File: r.paths.inBundle(r.paths.chart + "/" + chartutil.ChartfileName), Message: text[at:]}
}
