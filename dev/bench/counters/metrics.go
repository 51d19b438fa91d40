// Package counters reads what an API server and the manager count about themselves, and counts what the bench itself asks of
// an API server, so that the rest can be told apart from it.
package counters

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Sample is one line of a Prometheus text exposition.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// Samples calls f for every sample of the named metrics, in the order of the text. A histogram's samples have names of their
// own, such as "x_count".
func Samples(text []byte, f func(Sample), names ...string) error {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		for _, name := range names {
			rest, ok := strings.CutPrefix(line, name)
			if !ok || rest == "" || (rest[0] != '{' && rest[0] != ' ') {
				continue
			}
			sample, err := parse(name, rest)
			if err != nil {
				return fmt.Errorf("reading metric %s: %w", name, err)
			}
			f(sample)
		}
	}
	return lines.Err()
}

// Sum returns the sum of all samples of a metric, whatever their labels. A metric that is not there sums up to 0.
func Sum(text []byte, name string) (float64, error) {
	var sum float64
	err := Samples(text, func(s Sample) { sum += s.Value }, name)
	return sum, err
}

// parse reads what follows the name: labels in braces, if any, the value, and perhaps a time, which is left out.
func parse(name, rest string) (Sample, error) {
	sample := Sample{Name: name, Labels: map[string]string{}}
	if rest[0] == '{' {
		var err error
		if rest, err = labels(rest[1:], sample.Labels); err != nil {
			return Sample{}, err
		}
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return Sample{}, fmt.Errorf("there is no value in %q", rest)
	}
	value, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return Sample{}, fmt.Errorf("reading value: %w", err)
	}
	sample.Value = value
	return sample, nil
}

// labels reads labels up to the closing brace and returns what follows it.
func labels(text string, into map[string]string) (string, error) {
	for {
		text = strings.TrimLeft(text, " ,")
		if rest, ok := strings.CutPrefix(text, "}"); ok {
			return rest, nil
		}
		name, rest, ok := strings.Cut(text, `="`)
		if !ok {
			return "", fmt.Errorf("reading labels: %q is no label", text)
		}
		value, rest, err := quoted(rest)
		if err != nil {
			return "", err
		}
		into[name], text = value, rest
	}
}

// quoted reads up to the closing quote and returns the text before it, unescaped, and what follows.
func quoted(text string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:], nil
		case '\\':
			if i++; i == len(text) {
				return "", "", fmt.Errorf("reading labels: %q ends in the middle of an escape", text)
			}
			if text[i] == 'n' {
				b.WriteByte('\n')
				continue
			}
			b.WriteByte(text[i])
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", fmt.Errorf("reading labels: %q has no closing quote", text)
}
