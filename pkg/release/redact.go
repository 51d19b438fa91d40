package release

import (
	"encoding/base64"
	"errors"
	"sort"
	"strings"
	"unicode/utf8"
)

const (
	// maxMessage is the length in bytes to which messages are cut.
	maxMessage = 1024
	// shortestSecret is the length of the shortest value that is masked: shorter ones are parts of many words.
	shortestSecret = 6
	mask           = "<redacted>"
)

// Redactor takes values out of messages. Helm and the API server quote what
// they were given in some errors.
type Redactor struct{ replacer *strings.Replacer }

// NewRedactor returns a Redactor of every string in values. Strings in spare
// are names that messages need, and are left.
func NewRedactor(values map[string]any, spare ...string) *Redactor {
	secrets := map[string]bool{}
	collect(values, secrets)
	for _, s := range spare {
		delete(secrets, s)
	}
	forms := map[string]bool{}
	for secret := range secrets {
		forms[secret] = true
		forms[base64.StdEncoding.EncodeToString([]byte(secret))] = true
		for line := range strings.Lines(secret) {
			if line = strings.TrimSpace(line); len(line) >= shortestSecret {
				forms[line] = true
			}
		}
	}
	ordered := make([]string, 0, len(forms))
	for form := range forms {
		ordered = append(ordered, form)
	}
	// The replacer takes the first that fits: longer ones first, or a part would be left.
	sort.Slice(ordered, func(i, j int) bool {
		if len(ordered[i]) != len(ordered[j]) {
			return len(ordered[i]) > len(ordered[j])
		}
		return ordered[i] < ordered[j]
	})
	pairs := make([]string, 0, 2*len(ordered))
	for _, form := range ordered {
		pairs = append(pairs, form, mask)
	}
	return &Redactor{replacer: strings.NewReplacer(pairs...)}
}

func collect(value any, into map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		for _, item := range v {
			collect(item, into)
		}
	case []any:
		for _, item := range v {
			collect(item, into)
		}
	case string:
		if len(v) >= shortestSecret {
			into[v] = true
		}
	}
}

// Message returns the message without values, in one line, cut to a length
// that fits a condition.
func (r *Redactor) Message(message string) string {
	message = strings.Join(strings.Fields(r.replacer.Replace(message)), " ")
	if len(message) <= maxMessage {
		return message
	}
	end := maxMessage - len("…")
	for end > 0 && !utf8.RuneStart(message[end]) {
		end--
	}
	return message[:end] + "…"
}

// Error returns an error with the clean message of err that still matches what
// err wraps; nil stays nil.
func (r *Redactor) Error(err error) error {
	if err == nil {
		return nil
	}
	return &cleanError{message: r.Message(err.Error()), err: err}
}

type cleanError struct {
	message string
	err     error
}

func (e *cleanError) Error() string { return e.message }

// Is and As look into the error that was cleaned; its own text is out of reach.
func (e *cleanError) Is(target error) bool { return errors.Is(e.err, target) }

func (e *cleanError) As(target any) bool { return errors.As(e.err, target) }
