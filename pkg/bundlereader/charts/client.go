package charts

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
)

// clients keeps one pool of connections per set of trusted authorities.
type clients struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]*http.Client
}

// client returns the client that trusts what auth says, which may be nil.
func (s *Source) clientFor(auth *bundlereader.ChartAuth) (*http.Client, error) {
	if auth == nil || len(auth.CACerts) == 0 && !auth.InsecureSkipVerify {
		return s.client, nil
	}
	key := sha256.Sum256(fmt.Append(nil, auth.InsecureSkipVerify, string(auth.CACerts)))
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	if known, ok := s.clients.all[key]; ok {
		return known, nil
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: auth.InsecureSkipVerify, // #nosec G402 -- the user's explicit choice
	}
	if len(auth.CACerts) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(auth.CACerts) {
			return nil, errors.New("the key cacerts of the GitRepo's Secret holds no certificate in PEM form")
		}
		config.RootCAs = roots
	}
	if s.clients.all == nil {
		s.clients.all = map[[sha256.Size]byte]*http.Client{}
	}
	s.clients.all[key] = newClient(config)
	return s.clients.all[key], nil
}

func newClient(config *tls.Config) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           dialer.DialContext,
			TLSClientConfig:       config,
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: headerTimeout,
			IdleConnTimeout:       90 * time.Second,
			ForceAttemptHTTP2:     true,
		},
		CheckRedirect: checkRedirect,
	}
}

// refuseLinkLocal keeps addresses written into repositories away from the
// metadata services of clouds. No chart is served there.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err == nil && at.Addr().Unmap().IsLinkLocalUnicast() {
		return fmt.Errorf("the address %s is link-local, which is refused", at.Addr())
	}
	return nil
}

// checkRedirect follows redirects, but not out of TLS, and without credentials
// from the first that leads to another origin on.
func checkRedirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1].URL
	switch {
	case len(via) >= maxRedirects:
		return errors.New("the server redirects too often")
	case req.URL.Scheme != "https" && (req.URL.Scheme != "http" || last.Scheme == "https"):
		return fmt.Errorf("the server redirects from %s to %s", last.Scheme, req.URL.Scheme)
	}
	away := func(hop *http.Request) bool { return !sameOrigin(via[0].URL, hop.URL) }
	if away(req) || slices.ContainsFunc(via, away) {
		req.Header.Del("Authorization")
		req.URL.User = nil
	}
	return nil
}

// sameOrigin says whether two addresses are of one server: scheme, host and
// port.
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case strings.EqualFold(u.Scheme, "http"):
		return "80"
	default:
		return "443"
	}
}
