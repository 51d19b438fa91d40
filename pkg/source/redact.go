package source

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

const (
	redacted = "[redacted]"
	// maxMessage bounds, in runes, what a server may say in an error of ours.
	maxMessage = 400
	// noPassword is what GitHub has its users write where a password is asked for.
	noPassword = "x-oauth-basic" //nolint:gosec // a word that stands for no password
	// minSecret is the shortest text that is worth searching for: replacing
	// every "a" would make a message unreadable and hide nothing.
	minSecret = 4
)

// userInfo finds the user name and password in any address in a text.
var userInfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s]+@`)

// redactor removes the credentials of one request from texts.
type redactor struct {
	secrets []string
}

// newRedactor collects every form in which the credentials may turn up in a
// message: as they are, escaped for an address, and as an HTTP header.
func newRedactor(addr address, auth *Auth) *redactor {
	r := &redactor{}
	r.addPair(addr.user, addr.password)
	if auth != nil {
		r.addPair(auth.Username, auth.Password)
		r.addKey(auth.SSHPrivateKey)
		r.add(auth.BearerToken)
		if auth.App != nil {
			r.addKey(auth.App.PrivateKey)
		}
	}
	return r
}

func (r *redactor) addPair(user, password string) {
	if password == "" || password == noPassword {
		// A token may stand in for the user name.
		if len(user) >= 16 {
			r.add(user)
		}
		return
	}
	r.add(password)
	r.add(base64.StdEncoding.EncodeToString([]byte(user + ":" + password)))
	r.add(user + ":" + password)
}

func (r *redactor) addKey(key []byte) {
	for line := range strings.Lines(string(key)) {
		if line = strings.TrimSpace(line); len(line) >= 16 && !strings.HasPrefix(line, "-----") {
			r.add(line)
		}
	}
}

func (r *redactor) add(secret string) {
	for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
		if len(form) >= minSecret && !slices.Contains(r.secrets, form) {
			r.secrets = append(r.secrets, form)
		}
	}
	// The longest first, so that no secret is cut apart by a shorter one inside it.
	slices.SortStableFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
}

// clean returns text on one line, without credentials and bounded in length.
// Without a redactor there are no credentials.
func (r *redactor) clean(text string) string {
	text = userInfo.ReplaceAllString(r.replace(text), "$1")
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
	// Once more: a credential that was broken into lines is whole again.
	text = r.replace(strings.Join(strings.Fields(text), " "))
	if runes := []rune(text); len(runes) > maxMessage {
		text = string(runes[:maxMessage]) + "…"
	}
	return text
}

func (r *redactor) replace(text string) string {
	if r == nil {
		return text
	}
	for _, secret := range r.secrets {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	return text
}
