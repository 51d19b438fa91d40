package bundlereader

import (
	"fmt"
	"path"
	"strings"
)

const (
	ignoreFile = ".fleetignore"
	// maxPatterns bounds the patterns of one file: each is compared with every
	// name below.
	maxPatterns = 1000
)

// pattern is one line of a .fleetignore. It is compared with the last part of
// a path only.
type pattern struct {
	glob    string
	dirOnly bool
}

// ignored says whether one of the patterns matches a file or folder.
func ignored(patterns []pattern, name string, isDir bool) bool {
	for _, p := range patterns {
		if p.dirOnly && !isDir {
			continue
		}
		if ok, _ := path.Match(p.glob, name); ok {
			return true
		}
	}
	return false
}

// parseIgnore reads a .fleetignore. Each line is a pattern, except for empty
// lines and comments. A line that cannot be a pattern is an error, because to
// skip it would deploy what is meant to stay out; one that cannot match
// anything is a warning. Findings have lines, but no file yet.
func parseIgnore(content string) (patterns []pattern, findings []Finding) {
	number := 0
	for line := range strings.SplitSeq(content, "\n") {
		number++
		line = trimBlanks(strings.TrimSuffix(line, "\r"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if len(patterns) >= maxPatterns || len(findings) >= maxWarnings {
			return patterns, append(findings, Finding{Severity: Error, Line: number, Message: fmt.Sprintf("the file has more than %d patterns, or too many mistakes", maxPatterns)})
		}
		p := pattern{glob: line}
		if dir, ok := strings.CutSuffix(line, "/*"); ok {
			p = pattern{glob: dir, dirOnly: true}
		}
		switch _, err := path.Match(p.glob, ""); {
		case err != nil:
			findings = append(findings, Finding{Severity: Error, Line: number, Message: "the pattern cannot be parsed"})
			continue
		case strings.Contains(p.glob, "/"):
			findings = append(findings, Finding{Severity: Warning, Line: number, Message: "the pattern never matches: patterns are compared with names, not with paths"})
		case strings.HasPrefix(p.glob, "!"):
			findings = append(findings, Finding{Severity: Warning, Line: number, Message: "the pattern does not bring back what others ignore: \"!\" has no meaning here"})
		}
		patterns = append(patterns, p)
	}
	return patterns, findings
}

// trimBlanks removes blanks at the end of a line, but for one that is escaped
// by a backslash.
func trimBlanks(line string) string {
	for strings.HasSuffix(line, " ") || strings.HasSuffix(line, "\t") {
		shorter := line[:len(line)-1]
		if escaped := len(shorter) - len(strings.TrimRight(shorter, `\`)); escaped%2 == 1 {
			return line
		}
		line = shorter
	}
	return line
}
