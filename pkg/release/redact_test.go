package release

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestRedactorTakesValuesOut(t *testing.T) {
	values := map[string]any{
		"password": "s3cr3t-canary",
		"nested":   map[string]any{"list": []any{"another-canary", 42, true}},
		"long":     "first-line-canary\n  second-line-canary\n",
		"part":     "s3cr3t-canary-longer",
		"name":     "web-frontend",
		"short":    "abc",
	}
	r := NewRedactor(values, "web-frontend")
	for in, want := range map[string]string{
		"password is s3cr3t-canary!":                    "password is <redacted>!",
		"s3cr3t-canary-longer":                          "<redacted>",
		"base64 czNjcjN0LWNhbmFyeQ== of it":             "base64 <redacted> of it",
		"got another-canary and 42":                     "got <redacted> and 42",
		"only second-line-canary of it":                 "only <redacted> of it",
		"release web-frontend in abc is as it was":      "release web-frontend in abc is as it was",
		"a message\nof two\tlines":                      "a message of two lines",
		"quoted \"first-line-canary\\n\" as it appears": "quoted \"<redacted>\\n\" as it appears",
	} {
		if got := r.Message(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestRedactorCutsMessages(t *testing.T) {
	got := NewRedactor(nil).Message(strings.Repeat("ä", maxMessage))
	if len(got) > maxMessage || !strings.HasSuffix(got, "ä…") {
		t.Errorf("the message has %d bytes and ends in %q", len(got), got[len(got)-8:])
	}
}

func TestCleanErrorMatchesButDoesNotTell(t *testing.T) {
	r := NewRedactor(map[string]any{"x": "canary-value"})
	err := r.Error(fmt.Errorf("reading canary-value: %w", io.ErrUnexpectedEOF))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the error no longer matches its cause")
	}
	for _, text := range []string{err.Error(), fmt.Sprintf("%v", err), fmt.Sprintf("%s", fmt.Errorf("outer: %w", err))} {
		if strings.Contains(text, "canary") {
			t.Errorf("it tells %q", text)
		}
	}
	if r.Error(nil) != nil {
		t.Error("no error became one")
	}
}
