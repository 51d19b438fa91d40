package bundlereader

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Addresses says which addresses credentials may be shown to.
type Addresses struct{ pattern *regexp.Regexp }

// NewAddresses reads the helmRepoURLRegex of a GitRepo. An empty one allows
// nothing, and nil is returned.
func NewAddresses(pattern string) (*Addresses, error) {
	if pattern == "" {
		return nil, nil
	}
	compiled, err := regexp.Compile("^(?:" + pattern + ")")
	if err != nil {
		return nil, fmt.Errorf("the regular expression %q does not parse", bounded(pattern, maxFieldText))
	}
	compiled.Longest()
	return &Addresses{compiled}, nil
}

// Allow says whether an address may be shown credentials: the pattern has to
// match from its beginning, and at least to the end of its host. What matches
// https://charts.example.com alone does not match that name with something
// behind it. User and password in the address do not count.
func (a *Addresses) Allow(address string) bool {
	if a == nil {
		return false
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return false
	}
	u.User, u.Fragment = nil, ""
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	origin := u.Scheme + "://" + u.Host
	for _, prefix := range []string{"", "git::"} {
		found := a.pattern.FindStringIndex(prefix + u.String())
		if found != nil && found[1] >= len(prefix)+len(origin) {
			return true
		}
	}
	return false
}
