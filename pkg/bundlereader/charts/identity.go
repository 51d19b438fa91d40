package charts

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/transport"
)

// identity is how to be let in where one chart is.
type identity struct {
	auth *bundlereader.ChartAuth
	// named is the address that the options name: a repository or a chart.
	named string
}

func identityOf(ref bundlereader.ChartRef) identity {
	return identity{auth: ref.Auth, named: plainAddress(address(ref))}
}

// plainAddress is the address that a pattern is compared with.
func plainAddress(address string) string {
	if o, err := parseOrigin(address); err == nil {
		return o.url
	}
	return address
}

// at returns what may be shown at an address, or nil: it is allowed there, or
// the address is part of the repository that is named and allowed.
func (i identity) at(address string) *bundlereader.ChartAuth {
	if i.auth == nil {
		return nil
	}
	if i.auth.Allowed.Allow(address) || beneath(i.named, address) && i.auth.Allowed.Allow(i.named) {
		return i.auth
	}
	return nil
}

// beneath says whether an address is in the folder of another one.
func beneath(folder, address string) bool {
	a, err1 := url.Parse(folder)
	b, err2 := url.Parse(address)
	return err1 == nil && err2 == nil && transport.SameOrigin(a, b) &&
		strings.HasPrefix(b.Path, strings.TrimSuffix(a.Path, "/")+"/") && !strings.Contains(b.Path, "/../")
}

// scope keeps apart what is kept of different identities: nobody is served from
// a cache what a server would not have given them.
func (i identity) scope() string { return scopeOf(i.auth) }

func scopeOf(auth *bundlereader.ChartAuth) string {
	if auth == nil {
		return ""
	}
	flags := fmt.Sprint(auth.InsecureSkipVerify, auth.BasicHTTP)
	digest := sha256.New()
	for _, part := range []string{auth.Username, auth.Password, string(auth.SSHPrivateKey), string(auth.KnownHosts), string(auth.CACerts), flags} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		digest.Write(size[:])
		digest.Write([]byte(part))
	}
	return hex.EncodeToString(digest.Sum(nil))
}

// deniedError says that a server did not let us in, and what to do about it.
type deniedError struct {
	answer string
	// shown says that credentials were sent, withheld that there are some.
	shown, withheld bool
}

func (i identity) denied(answer, address string) error {
	shown := i.at(address)
	return &deniedError{
		answer: answer, shown: shown != nil && (shown.Username != "" || shown.Password != ""),
		withheld: i.auth != nil && shown == nil,
	}
}

func (e *deniedError) Error() string {
	switch {
	case e.shown:
		return e.answer + ": it refuses the credentials of the GitRepo's Secret; correct the Secret"
	case e.withheld:
		return e.answer + ": it wants credentials, which were not sent, because spec.helmRepoURLRegex of the GitRepo does not match this address"
	default:
		return e.answer + ": it wants credentials; name a Secret with them in spec.helmSecretName of the GitRepo, and the address in spec.helmRepoURLRegex"
	}
}
