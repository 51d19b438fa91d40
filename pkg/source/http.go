package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
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
	uploadPack = "git-upload-pack"
	infoRefs   = "/info/refs"
	userAgent  = "git/2.0 (flotilla)"

	dialTimeout   = 10 * time.Second
	headerTimeout = 60 * time.Second
	maxRedirects  = 5
	// maxErrorBody is how much of an error page is read, in bytes.
	maxErrorBody = 4 << 10
)

// transports keeps one connection pool per TLS configuration.
type transports struct {
	mu    sync.Mutex
	pools map[[sha256.Size]byte]*http.Transport
}

func newTransports() *transports {
	return &transports{pools: map[[sha256.Size]byte]*http.Transport{}}
}

func (p *transports) get(req Request) (*http.Transport, error) {
	insecure := byte(0)
	if req.InsecureSkipTLSVerify {
		insecure = 1
	}
	key := sha256.Sum256(append([]byte{insecure}, req.CABundle...))
	p.mu.Lock()
	defer p.mu.Unlock()
	if pool, ok := p.pools[key]; ok {
		return pool, nil
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: req.InsecureSkipTLSVerify, // #nosec G402 -- the user's explicit choice
	}
	if len(req.CABundle) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(req.CABundle) {
			return nil, &refusal{reason: TLS, hint: "caBundle must hold PEM certificates", text: "the CA bundle holds no certificate"}
		}
		config.RootCAs = roots
	}
	pool := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   4,
		ForceAttemptHTTP2:     true,
	}
	p.pools[key] = pool
	return pool, nil
}

// refuseLinkLocal keeps addresses that tenants write away from the metadata
// services of clouds. No repository is served there.
func refuseLinkLocal(_, at string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(at)
	if err == nil && to.Addr().Unmap().IsLinkLocalUnicast() {
		return &refusal{reason: Invalid, text: "the address " + to.Addr().String() + " is link-local, which is refused"}
	}
	return nil
}

// httpRemote speaks the smart HTTP protocol.
type httpRemote struct {
	client *http.Client
	origin *url.URL // where the credentials belong
	base   *url.URL // the repository; a redirect of the first request moves it
	// proof is the header that lets us in, empty for none; hint says what to
	// look at if it does not, and denied is called then.
	proof, hint string
	denied      func()
}

func newHTTPRemote(t target, pool *http.Transport) *httpRemote {
	base := &url.URL{Scheme: t.addr.scheme, Host: t.addr.host}
	base = base.JoinPath(strings.TrimSuffix(t.addr.path, "/"))
	r := &httpRemote{origin: base, base: base, denied: func() {}}
	r.client = &http.Client{Transport: pool, CheckRedirect: r.checkRedirect}
	switch auth := t.Auth; {
	case auth != nil && auth.Password != "":
		r.basic(auth.Username, auth.Password)
	case auth != nil && auth.BearerToken != "":
		r.proof, r.hint = "Bearer "+auth.BearerToken, "check the key bearerToken of the client Secret"
	case t.addr.user != "" || t.addr.password != "":
		r.basic(t.addr.user, t.addr.password)
	}
	return r
}

func (r *httpRemote) basic(user, password string) {
	r.proof = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	r.hint = "check the user name and password of the client Secret"
}

// checkRedirect lets the first request be sent on, as git does, but never
// takes the credentials along to another origin, nor anything out of TLS.
func (r *httpRemote) checkRedirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1].URL
	switch {
	case req.Method != http.MethodGet:
		return errors.New("the server redirects a request that must not be redirected")
	case len(via) >= maxRedirects:
		return errors.New("the server redirects too often")
	case req.URL.Scheme != "https" && (req.URL.Scheme != "http" || last.Scheme == "https"):
		return fmt.Errorf("the server redirects from %s to %s", last.Scheme, req.URL.Scheme)
	}
	// Once away from home, the credentials stay behind, wherever the way leads.
	away := func(hop *http.Request) bool { return !sameOrigin(r.origin, hop.URL) }
	if away(req) || slices.ContainsFunc(via, away) {
		req.Header.Del("Authorization")
		req.URL.User = nil
	}
	return nil
}

// sameOrigin reports whether credentials for a may be sent to b: the same host
// and port, or the same host moved from HTTP to HTTPS on the default ports.
func sameOrigin(a, b *url.URL) bool {
	if strings.EqualFold(a.Scheme, b.Scheme) {
		return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
	}
	return a.Scheme == "http" && b.Scheme == "https" && strings.EqualFold(a.Hostname(), b.Hostname()) &&
		port(a) == "80" && port(b) == "443"
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}

func (r *httpRemote) refs(ctx context.Context) (io.ReadCloser, error) {
	u := r.base.JoinPath(infoRefs)
	u.RawQuery = "service=" + uploadPack
	res, err := r.do(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	if got := res.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/x-"+uploadPack+"-advertisement") {
		res.Body.Close()
		return nil, &refusal{reason: NotFound, hint: "check the address", text: "there is no git repository at this address, or one that only speaks the dumb protocol"}
	}
	// The rest of the conversation goes where the first request ended up.
	final := res.Request.URL
	path, ok := strings.CutSuffix(final.Path, infoRefs)
	if !ok {
		res.Body.Close()
		return nil, errors.New("the server redirects to something that is not a repository")
	}
	r.base = &url.URL{Scheme: final.Scheme, Host: final.Host, Path: path}
	return res.Body, nil
}

func (r *httpRemote) pack(ctx context.Context, request []byte) (io.ReadCloser, error) {
	res, err := r.do(ctx, http.MethodPost, r.base.JoinPath(uploadPack), request)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

func (r *httpRemote) do(ctx context.Context, method string, u *url.URL, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("composing the request: %w", err)
	}
	req.Header.Set("User-Agent", userAgent)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-"+uploadPack+"-request")
		req.Header.Set("Accept", "application/x-"+uploadPack+"-result")
	}
	hint := ""
	if r.proof != "" && sameOrigin(r.origin, u) {
		hint = r.hint
		req.Header.Set("Authorization", r.proof)
	}
	res, err := r.client.Do(req)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		// Method and address are said already, and may be those of a redirect.
		err = wrapped.Err
	}
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		if hint != "" && res.StatusCode == http.StatusUnauthorized {
			r.denied()
		}
		return nil, statusError(res, hint)
	}
	return res, nil
}

func (r *httpRemote) close() {}

// statusError says what an HTTP status means for a git repository. check says
// what to look at where credentials were sent, and is empty where none were.
func statusError(res *http.Response, check string) error {
	text := "the server answers " + res.Status
	switch code := res.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		hint := "set clientSecretName to a Secret of type kubernetes.io/basic-auth"
		if check != "" {
			hint = check
		}
		return &refusal{reason: AuthenticationFailed, hint: hint, text: text}
	case code == http.StatusNotFound || code == http.StatusGone:
		hint := "check the address; a private repository without credentials looks the same"
		if check != "" {
			hint = "check the address, and that the credentials may read it"
		}
		return &refusal{reason: NotFound, hint: hint, text: text}
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
		return busy(text+said(res), res.Header.Get("Retry-After"), time.Now())
	case code >= http.StatusInternalServerError:
		return &refusal{reason: Unreachable, text: text + said(res)}
	default:
		return &refusal{reason: Invalid, text: text + said(res)}
	}
}

// said returns what the server has to say, if it says it in plain text.
func said(res *http.Response) string {
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		return ""
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if text := strings.TrimSpace(string(body)); text != "" {
		return ": " + text
	}
	return ""
}
