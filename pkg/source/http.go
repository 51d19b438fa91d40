package source

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/flotilla-gitops/flotilla/pkg/transport"
)

const (
	uploadPack = "git-upload-pack"
	infoRefs   = "/info/refs"
	userAgent  = "git/2.0 (flotilla)"

	headerTimeout = 60 * time.Second
	// maxErrorBody is how much of an error page is read, in bytes.
	maxErrorBody = 4 << 10
)

// pool returns the connections for a request.
func (m *Mirrors) pool(req Request) (*http.Transport, error) {
	pool, err := m.pools.Get(transport.Trust{CA: req.CABundle, Insecure: req.InsecureSkipTLSVerify})
	if err != nil {
		return nil, &refusal{reason: TLS, hint: "caBundle must hold PEM certificates", text: "the CA bundle holds no certificate"}
	}
	return pool, nil
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

// checkRedirect lets the first request be sent on, as git does.
func (r *httpRemote) checkRedirect(req *http.Request, via []*http.Request) error {
	if req.Method != http.MethodGet {
		return errors.New("the server redirects a request that must not be redirected")
	}
	return transport.CheckRedirect(r.origin, req, via)
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
	if r.proof != "" && transport.SameOrigin(r.origin, u) {
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
