package source

import (
	"context"
	"crypto/rsa"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// appUser is the user name that goes with a token of an installation.
	appUser = "x-access-token"
	// proofLife is how long a proof of the key is good. GitHub takes ten minutes
	// at most, and its clock may be behind ours, or ahead, by proofSkew.
	proofLife = 8 * time.Minute
	proofSkew = time.Minute
)

// GitHubApp is an installation of a GitHub App. It proves that it holds the
// App's key, and is given tokens that are good for an hour.
type GitHubApp struct {
	// ID is that of the App, or its client ID; Installation is a number.
	ID, Installation string
	// PrivateKey is the App's RSA key in PEM form.
	PrivateKey []byte
	// BaseURL is where the API is. Empty means that of the host that the
	// repository is on.
	BaseURL string
}

func (a *GitHubApp) parts() []string {
	return []string{a.ID, a.Installation, string(a.PrivateKey), a.BaseURL}
}

// key reads the private key. Errors do not quote it.
func (a *GitHubApp) key() (*rsa.PrivateKey, error) {
	key, err := jwt.ParseRSAPrivateKeyFromPEM(a.PrivateKey)
	switch {
	case errors.Is(err, jwt.ErrKeyMustBePEMEncoded):
		return nil, errors.New("must hold a private key in PEM form")
	case err != nil:
		return nil, errors.New("must hold an RSA private key, as GitHub generates it")
	}
	return key, nil
}

// proof returns a JSON Web Token (RFC 7519) that says who we are, signed.
func (a *GitHubApp) proof(now time.Time) (string, error) {
	key, err := a.key()
	if err != nil {
		return "", err
	}
	proof, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		IssuedAt: jwt.NewNumericDate(now.Add(-proofSkew)), ExpiresAt: jwt.NewNumericDate(now.Add(proofLife)), Issuer: a.ID,
	}).SignedString(key)
	if err != nil {
		return "", errors.New("the private key is too small to sign with")
	}
	return proof, nil
}

// api returns the address of the API for a repository that is asked over HTTP.
func (a *GitHubApp) api(repo address) (*url.URL, error) {
	if a.BaseURL != "" {
		base, err := url.Parse(a.BaseURL)
		if err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Scheme != "https" && base.Scheme != repo.scheme {
			return nil, &refusal{reason: Invalid, text: "github_app_base_url of the client Secret is no address of an API", hint: "write it as https://host/api/v3"}
		}
		return base, nil
	}
	host := strings.ToLower(repo.host)
	switch {
	case host == "github.com" || host == "www.github.com":
		return &url.URL{Scheme: "https", Host: "api.github.com"}, nil
	case strings.HasSuffix(host, ".ghe.com"):
		return &url.URL{Scheme: "https", Host: "api." + host}, nil
	default:
		return &url.URL{Scheme: repo.scheme, Host: repo.host, Path: "/api/v3"}, nil
	}
}

// appToken returns a token for the installation whose App the target is asked
// with, and what to call if the token turns out to be good no more.
func (m *Mirrors) appToken(ctx context.Context, t target) (token string, denied func(), err error) {
	base, err := t.Auth.App.api(t.addr)
	if err != nil {
		return "", nil, err
	}
	trust := "checked"
	if t.InsecureSkipTLSVerify {
		trust = "unchecked"
	}
	entry := m.tokens.of(digest(append(t.Auth.App.parts(), base.String(), string(t.CABundle), trust)))
	token, err = entry.get(ctx, func() (issued, error) { return m.askForToken(ctx, t, base) })
	if err != nil {
		// What is wrong there is not the fault of the host that the repository is on.
		shown := t.secrets.bare(err)
		shown.text = "asking " + base.String() + " for a token of the GitHub App: " + shown.text
		return "", nil, shown
	}
	t.secrets.addPair(appUser, token)
	return token, func() { entry.forget(token) }, nil
}
