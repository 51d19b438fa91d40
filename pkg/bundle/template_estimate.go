package bundle

import (
	"errors"
	"math/bits"
	"reflect"
	"regexp/syntax"
	"strings"
)

// estimates returns, for the functions whose result or whose work can be far larger than their arguments, what says so
// beforehand.
func estimates() map[string]func(m *meter, args []reflect.Value) error {
	return map[string]func(m *meter, args []reflect.Value) error{
		"repeat":  func(m *meter, a []reflect.Value) error { return m.output(times(intOf(a[0]), a[1].Len())) },
		"indent":  estimateIndent,
		"nindent": estimateIndent,
		"until":   func(m *meter, a []reflect.Value) error { return m.sequence(0, intOf(a[0]), 1) },
		"untilStep": func(m *meter, a []reflect.Value) error {
			return m.sequence(intOf(a[0]), intOf(a[1]), intOf(a[2]))
		},
		"seq": estimateSeq,
		"replace": func(m *meter, a []reflect.Value) error {
			source := a[2].String()
			return m.output(plus(len(source), times(strings.Count(source, a[0].String()), a[1].Len())))
		},
		"join": func(m *meter, a []reflect.Value) error {
			list := measureValue(a[1])
			return m.output(plus(list.weight, times(list.nodes, a[0].Len())))
		},
		"wrap":                       func(m *meter, a []reflect.Value) error { return m.wrap(intOf(a[0]), 1, a[1].Len()) },
		"wrapWith":                   func(m *meter, a []reflect.Value) error { return m.wrap(intOf(a[0]), a[1].Len(), a[2].Len()) },
		"toPrettyJson":               estimatePretty,
		"mustToPrettyJson":           estimatePretty,
		"printf":                     estimateFormat,
		"uniq":                       estimateUniq,
		"mustUniq":                   estimateUniq,
		"without":                    estimateWithout,
		"mustWithout":                estimateWithout,
		"regexMatch":                 estimateRegex,
		"mustRegexMatch":             estimateRegex,
		"regexFind":                  estimateRegex,
		"mustRegexFind":              estimateRegex,
		"regexFindAll":               estimateRegex,
		"mustRegexFindAll":           estimateRegex,
		"regexSplit":                 estimateRegex,
		"mustRegexSplit":             estimateRegex,
		"regexReplaceAll":            estimateRegexReplace,
		"mustRegexReplaceAll":        estimateRegexReplace,
		"regexReplaceAllLiteral":     estimateRegexReplace,
		"mustRegexReplaceAllLiteral": estimateRegexReplace,
		// It is slow by design.
		"derivePassword": func(m *meter, _ []reflect.Value) error { return m.spend(maxWork / 4) },
	}
}

// output records that a result of n bytes is about to be produced, or says that it is too large.
func (m *meter) output(n int) error {
	if n > maxSize {
		return errTooLarge
	}
	return m.spend(n)
}

// sequence records a list of the whole numbers from start to stop.
func (m *meter) sequence(start, stop, step int) error {
	// Beyond these bounds counting up could overflow, and then never end.
	const bound = 1 << 31
	for _, n := range []int{start, stop, step} {
		if n < -bound || n > bound {
			return errTooLarge
		}
	}
	return m.output(times(distance(start, stop)/max(distance(step, 0), 1), nodeWeight))
}

func estimateSeq(m *meter, args []reflect.Value) error {
	var numbers []int
	for i := range args[0].Len() {
		numbers = append(numbers, intOf(args[0].Index(i)))
	}
	switch len(numbers) {
	case 1:
		return m.sequence(1, numbers[0], 1)
	case 2:
		return m.sequence(numbers[0], numbers[1], 1)
	case 3:
		return m.sequence(numbers[0], numbers[2], numbers[1])
	}
	return nil
}

func estimateIndent(m *meter, args []reflect.Value) error {
	text := args[1].String()
	return m.output(plus(len(text), times(1+strings.Count(text, "\n"), max(intOf(args[0]), 0))))
}

// wrap records a text broken after so many characters each, with a separator of that length in between.
func (m *meter) wrap(every, separator, text int) error {
	return m.output(plus(text, times(text/max(every, 1), separator)))
}

func estimatePretty(m *meter, args []reflect.Value) error {
	s := measureValue(args[0])
	return m.output(plus(s.weight, times(s.nodes, 2*s.depth)))
}

// estimateFormat bounds what a format makes of its arguments, each of which every verb might repeat.
func estimateFormat(m *meter, args []reflect.Value) error {
	format := args[0].String()
	for _, directive := range strings.Split(format, "%")[1:] {
		verb := strings.TrimLeft(directive, "+-# 0123456789.[]")
		spec := directive[:len(directive)-len(verb)]
		// A pointer's address is different every time; so wide a field is nothing but padding.
		if strings.HasPrefix(verb, "p") || strings.HasPrefix(verb, "*") || longNumber(spec) {
			return errFormat
		}
	}
	return m.output(plus(len(format), times(strings.Count(format, "%"), measureValue(args[1]).weight)))
}

// longNumber says whether there are more than three digits in a row.
func longNumber(s string) bool {
	run := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			run = 0
			continue
		}
		if run++; run > 3 {
			return true
		}
	}
	return false
}

// estimateUniq: every item is compared with every other.
func estimateUniq(m *meter, args []reflect.Value) error {
	list := measureValue(args[0])
	return m.spend(times(list.weight, list.nodes))
}

func estimateWithout(m *meter, args []reflect.Value) error {
	return m.spend(times(measureValue(args[0]).weight, measureValue(args[1]).nodes))
}

// estimateRegex: every part of the expression may be tried at every place of the text.
func estimateRegex(m *meter, args []reflect.Value) error {
	size, err := patternSize(args[0].String())
	if err != nil {
		return err
	}
	return m.spend(times(size, 1+args[1].Len()/4))
}

func estimateRegexReplace(m *meter, args []reflect.Value) error {
	if err := estimateRegex(m, args); err != nil {
		return err
	}
	text, replacement := args[1].Len(), args[2].Len()
	return m.output(plus(text, times(text+1, replacement)))
}

// patternSize returns how large a regular expression is with its repetitions written out.
func patternSize(pattern string) (int, error) {
	const longest, largest = 1 << 10, 10_000
	if len(pattern) > longest {
		return 0, errPattern
	}
	expression, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, errors.New("the regular expression does not parse")
	}
	size := expressionSize(expression)
	if size > largest {
		return 0, errPattern
	}
	return size, nil
}

func expressionSize(e *syntax.Regexp) int {
	size := 1 + len(e.Rune)
	for _, sub := range e.Sub {
		size = plus(size, expressionSize(sub))
	}
	if e.Op == syntax.OpRepeat {
		size = times(size, max(e.Min, e.Max, 1))
	}
	return size
}

func intOf(v reflect.Value) int { return int(v.Int()) }

// most is where times and plus stop counting.
const most = 1 << 40

// times multiplies without overflow; factors below 0 count as 0.
func times(a, b int) int {
	high, low := bits.Mul64(uint64(max(a, 0)), uint64(max(b, 0)))
	if high != 0 || low > most {
		return most
	}
	return int(low)
}

func plus(a, b int) int { return min(min(a, most)+min(b, most), most) }

// distance returns how far two numbers within sequence's bounds are apart.
func distance(a, b int) int { return max(a-b, b-a) }
