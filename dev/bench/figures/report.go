package figures

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Measure is one figure. Its value is the median where there were several rounds.
type Measure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  Unit    `json:"unit,omitempty"`
	// Rounds are the figures that Value is the median of; empty if there was one only.
	Rounds Samples `json:"rounds,omitempty"`
	// Ceiling is what the API server alone came to in the same run, in the same unit; 0 if that says nothing about the measure.
	Ceiling float64 `json:"ceiling,omitempty"`
	// Target is what the project has set itself, in words.
	Target string `json:"target,omitempty"`
}

// Of returns the measure of several rounds.
func Of(name string, rounds Samples, unit Unit) Measure {
	return Measure{Name: name, Value: rounds.Median(), Unit: unit, Rounds: rounds}
}

// Share is the figure as a part of the ceiling; 0 if there is none.
func (m Measure) Share() float64 {
	if m.Ceiling == 0 {
		return 0
	}
	return m.Value / m.Ceiling
}

// Fact is something that the figures depend on.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Count is how often something was done.
type Count struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Counts are counts of one phase, also per each of the objects that it was about.
type Counts struct {
	Name string `json:"name"`
	// Objects is how many there were, Each names one of them.
	Objects int     `json:"objects,omitempty"`
	Each    string  `json:"each,omitempty"`
	Counts  []Count `json:"counts"`
}

// Total is the sum of all counts.
func (c Counts) Total() int {
	total := 0
	for _, count := range c.Counts {
		total += count.Count
	}
	return total
}

// Report is everything that one run has measured.
type Report struct {
	Facts    []Fact    `json:"facts,omitempty"`
	Measures []Measure `json:"measures,omitempty"`
	Counts   []Counts  `json:"counts,omitempty"`
}

// Fact adds a fact.
func (r *Report) Fact(name string, value any) {
	r.Facts = append(r.Facts, Fact{Name: name, Value: fmt.Sprint(value)})
}

// Add adds measures.
func (r *Report) Add(measures ...Measure) { r.Measures = append(r.Measures, measures...) }

// JSON writes the report for programs.
func (r *Report) JSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}

// Text writes the report for people.
func (r *Report) Text(out io.Writer) error {
	var b strings.Builder
	for _, fact := range r.Facts {
		fmt.Fprintf(&b, "%s: %s\n", fact.Name, fact.Value)
	}
	if len(r.Measures) > 0 {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		table(&b, measureRows(r.Measures))
	}
	for _, counts := range r.Counts {
		b.WriteByte('\n')
		table(&b, countRows(counts))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func measureRows(measures []Measure) [][]string {
	rows := [][]string{{"measure", "figure", "min", "max", "rounds", "ceiling", "share", "target"}}
	for _, m := range measures {
		row := []string{m.Name, format(m.Value, m.Unit), "", "", "", "", "", m.Target}
		if n := len(m.Rounds); n > 0 {
			row[2], row[3], row[4] = format(slices.Min(m.Rounds), m.Unit), format(slices.Max(m.Rounds), m.Unit), fmt.Sprint(n)
		}
		if m.Ceiling != 0 {
			row[5], row[6] = format(m.Ceiling, m.Unit), fmt.Sprintf("%.0f %%", 100*m.Share())
		}
		rows = append(rows, row)
	}
	return rows
}

func countRows(c Counts) [][]string {
	rows := [][]string{{c.Name, "count", ""}}
	each := func(n int) string {
		if c.Objects == 0 {
			return ""
		}
		return digits(float64(n) / float64(c.Objects))
	}
	if c.Objects > 0 {
		rows[0][2] = "per " + c.Each
	}
	for _, count := range c.Counts {
		rows = append(rows, []string{count.Name, fmt.Sprint(count.Count), each(count.Count)})
	}
	return append(rows, []string{"all", fmt.Sprint(c.Total()), each(c.Total())})
}

// table writes rows below each other, figures to the right. The first row is the heading; columns that are empty below it are
// left out.
func table(out *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for column := range widths {
		if !slices.ContainsFunc(rows[1:], func(row []string) bool { return row[column] != "" }) {
			continue
		}
		for _, row := range rows {
			widths[column] = max(widths[column], utf8.RuneCountInString(row[column]))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for column, cell := range row {
			if widths[column] == 0 {
				continue
			}
			padding := strings.Repeat(" ", widths[column]-utf8.RuneCountInString(cell))
			switch {
			case column == 0:
				line.WriteString(cell + padding)
			case rows[0][column] == "target":
				line.WriteString("  " + cell + padding)
			default:
				line.WriteString("  " + padding + cell)
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}
