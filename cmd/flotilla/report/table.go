package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tone is what a cell means, for those who see colours.
type tone int

const (
	plain tone = iota
	good
	bad
	doubtful
)

// The colours of tones, and what ends them.
const (
	green  = "\x1b[32m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	reset  = "\x1b[0m"
)

func (t tone) colour() string {
	switch t {
	case good:
		return green
	case bad:
		return red
	case doubtful:
		return yellow
	case plain:
	}
	return ""
}

// cell is one text of a table. What others wrote never reaches the terminal as
// anything but text: see Clean.
type cell struct {
	text string
	tone tone
}

// paint returns the text, in its colour if the reader sees colours.
func (c cell) paint(colour bool) string {
	if code := c.tone.colour(); colour && code != "" && c.text != "" {
		return code + c.text + reset
	}
	return c.text
}

func text(s string) cell { return cell{text: s} }

// table is rows under a header. The last column may be as long as it likes.
type table struct {
	header []string
	rows   [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

const (
	gap = 3
	// widest is how many runes a column but the last one takes at most before
	// it pushes the rest of its own row away, and no other.
	widest = 60
)

// write prints the table; colour says whether the reader sees colours.
func (t *table) write(out io.Writer, colour bool) error {
	rows := make([][]cell, 0, len(t.rows)+1)
	if len(t.header) > 0 {
		var header []cell
		for _, h := range t.header {
			header = append(header, text(h))
		}
		rows = append(rows, header)
	}
	for _, row := range t.rows {
		cleaned := make([]cell, len(row))
		for i, c := range row {
			cleaned[i] = cell{Clean(c.text), c.tone}
		}
		rows = append(rows, cleaned)
	}
	widths := map[int]int{}
	for _, row := range rows {
		for i, c := range row[:max(len(row)-1, 0)] {
			if n := utf8.RuneCountInString(c.text); n <= widest {
				widths[i] = max(widths[i], n)
			}
		}
	}
	for _, row := range rows {
		if err := writeRow(out, row, widths, colour); err != nil {
			return err
		}
	}
	return nil
}

func writeRow(out io.Writer, row []cell, widths map[int]int, colour bool) error {
	var line strings.Builder
	for i, c := range row {
		line.WriteString(c.paint(colour))
		if i < len(row)-1 {
			line.WriteString(strings.Repeat(" ", max(widths[i]-utf8.RuneCountInString(c.text), 0)+gap))
		}
	}
	_, err := fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	return err
}

// Clean makes one line of a text, without control characters: agents and users
// write into statuses what they like.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
}
