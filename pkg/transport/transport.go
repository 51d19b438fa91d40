// Package transport connects to the HTTP servers that users name: Git hosts,
// chart repositories, registries.
//
// Certificates are checked by what the user trusts besides the system, each
// set of authorities with connections of its own. Proxies are those of the
// environment. Link-local addresses, where clouds keep their metadata, are
// refused, whatever name leads there.
package transport

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
)

const (
	// DialTimeout bounds how long it takes to connect, and once more to agree on
	// TLS.
	DialTimeout = 10 * time.Second
	// maxRedirects is how often a server may send a request on.
	maxRedirects = 5
	// maxPools is how many sets of authorities have connections at once.
	maxPools = 256
)

// ErrNoCertificate says that what should hold certificates in PEM form holds
// none.
var ErrNoCertificate = errors.New("there is no certificate in PEM form")

// LinkLocalError is a refusal to connect to an address of this link.
type LinkLocalError struct{ Address netip.Addr }

func (e *LinkLocalError) Error() string {
	return fmt.Sprintf("the address %s is link-local, which is refused", e.Address)
}

// Trust says whom a server is believed to be.
type Trust struct {
	// CA holds certificates of authorities, in PEM form, that are trusted besides
	// those of the system.
	CA []byte
	// Insecure believes every server.
	Insecure bool
}

// Pools keeps the connections, one pool per Trust. It is safe for concurrent
// use.
type Pools struct {
	headerTimeout time.Duration

	mu  sync.Mutex
	all map[[sha256.Size]byte]*http.Transport
}

// NewPools returns pools of servers that may take headerTimeout to begin an
// answer.
func NewPools(headerTimeout time.Duration) *Pools {
	return &Pools{headerTimeout: headerTimeout, all: map[[sha256.Size]byte]*http.Transport{}}
}

// Get returns the pool for what is trusted. The error is ErrNoCertificate.
func (p *Pools) Get(trust Trust) (*http.Transport, error) {
	key := sha256.Sum256(fmt.Append(nil, trust.Insecure, string(trust.CA)))
	p.mu.Lock()
	defer p.mu.Unlock()
	if pool, ok := p.all[key]; ok {
		return pool, nil
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: trust.Insecure, // #nosec G402 -- the user's explicit choice
	}
	if len(trust.CA) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(trust.CA) {
			return nil, ErrNoCertificate
		}
		config.RootCAs = roots
	}
	if len(p.all) >= maxPools {
		p.clear()
	}
	p.all[key] = p.pool(config)
	return p.all[key], nil
}

// clear lets go of all pools; requests that are under way end as they would.
func (p *Pools) clear() {
	for key, pool := range p.all {
		pool.CloseIdleConnections()
		delete(p.all, key)
	}
}

func (p *Pools) pool(config *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: DialTimeout, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   DialTimeout,
		ResponseHeaderTimeout: p.headerTimeout,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   4,
		ForceAttemptHTTP2:     true,
	}
}

func refuseLinkLocal(_, at string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(at)
	if err == nil && to.Addr().Unmap().IsLinkLocalUnicast() {
		return &LinkLocalError{to.Addr()}
	}
	return nil
}

// CheckRedirect follows a redirect of a request that credentials for origin may
// come with, as http.Client wants it said: not too often, not out of TLS, and
// without the credentials from the first that leads to another origin on.
func CheckRedirect(origin *url.URL, req *http.Request, via []*http.Request) error {
	last := via[len(via)-1].URL
	switch {
	case len(via) >= maxRedirects:
		return errors.New("the server redirects too often")
	case req.URL.Scheme != "https" && (req.URL.Scheme != "http" || last.Scheme == "https"):
		return fmt.Errorf("the server redirects from %s to %s", last.Scheme, req.URL.Scheme)
	}
	// Once away from home, the credentials stay behind, wherever the way leads.
	away := func(hop *http.Request) bool { return !SameOrigin(origin, hop.URL) }
	if away(req) || slices.ContainsFunc(via, away) {
		req.Header.Del("Authorization")
		req.URL.User = nil
	}
	return nil
}

// SameOrigin says whether credentials for a may be sent to b: the same scheme,
// host and port, or the same host moved from HTTP to HTTPS on the default
// ports.
func SameOrigin(a, b *url.URL) bool {
	if !strings.EqualFold(a.Hostname(), b.Hostname()) {
		return false
	}
	if strings.EqualFold(a.Scheme, b.Scheme) {
		return port(a) == port(b)
	}
	return strings.EqualFold(a.Scheme, "http") && strings.EqualFold(b.Scheme, "https") && port(a) == "80" && port(b) == "443"
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
