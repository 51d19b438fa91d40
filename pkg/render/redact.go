package render

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// redacted stands for what was in the values.
const redacted = "<redacted>"

const (
	// shortestSecret is the length from which on a text of the values is redacted; shorter ones are in any sentence.
	shortestSecret = 3
	// shortestNumber is the same for the digits of a number.
	shortestNumber = 4
	// distinctive is the length from which on a text is redacted also within a longer word.
	distinctive = 8
)

// redactor removes the values of a chart from messages that templates and
// schemas write.
type redactor struct{ texts []string }

func newRedactor(values map[string]any) redactor {
	found := map[string]bool{}
	collectTexts(values, found)
	texts := make([]string, 0, len(found))
	for text := range found {
		texts = append(texts, text)
	}
	// The longest first: one may be part of another.
	slices.SortFunc(texts, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	return redactor{texts: texts}
}

// collectTexts gathers every form in which a value may stand in a message.
func collectTexts(value any, found map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		for _, item := range v {
			collectTexts(item, found)
		}
	case []any:
		for _, item := range v {
			collectTexts(item, found)
		}
	case string:
		quoted := strconv.Quote(v)
		forms := append(strings.Split(v, "\n"), v, quoted[1:len(quoted)-1])
		for _, form := range forms {
			if form = strings.TrimSpace(form); len(form) >= shortestSecret {
				found[form] = true
			}
		}
	case bool, nil:
	default:
		// Helm's schema validation writes numbers the English way.
		for _, form := range []string{fmt.Sprint(v), message.NewPrinter(language.English).Sprint(v)} {
			if len(form) >= shortestNumber {
				found[form] = true
			}
		}
	}
}

func (r redactor) redact(sentence string) string {
	for _, text := range r.texts {
		sentence = replaceWords(sentence, text)
	}
	return sentence
}

// replaceWords replaces a text wherever it stands, a short one only where it is
// a word of its own.
func replaceWords(sentence, text string) string {
	var result strings.Builder
	for {
		before, after, found := strings.Cut(sentence, text)
		result.WriteString(before)
		if !found {
			return result.String()
		}
		if len(text) >= distinctive || !inWord(before, after) {
			result.WriteString(redacted)
		} else {
			result.WriteString(text)
		}
		sentence = after
	}
}

// inWord says whether what lies between before and after is part of a longer word.
func inWord(before, after string) bool {
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(after)
	return isWordRune(last) || isWordRune(first)
}

func isWordRune(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
