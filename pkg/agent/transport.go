package agent

import (
	"net/http"
	"sync/atomic"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// line is the connection to the hub: it knows the current token, and whether
// the hub answers.
type line struct {
	token atomic.Pointer[string]
	// away says that the last request had no answer.
	away atomic.Bool
	// refused says that the hub last said that it does not know the token.
	refused atomic.Bool
	// back is called when the hub answers after it did not.
	back atomic.Pointer[func()]
	// rejected is called when the hub does not accept the token.
	rejected atomic.Pointer[func()]
}

func newLine(token string) *line {
	l := &line{}
	l.token.Store(&token)
	return l
}

// renew has every request from now on carry another token.
func (l *line) renew(token string) { l.token.Store(&token) }

// onBack has f called when the hub answers after it did not.
func (l *line) onBack(f func()) { l.back.Store(&f) }

// onRejected has f called whenever the hub does not accept the token.
func (l *line) onRejected(f func()) { l.rejected.Store(&f) }

// through returns a copy of config whose requests use the line.
func (l *line) through(config *rest.Config) *rest.Config {
	wired := rest.CopyConfig(config)
	wired.Wrap(func(next http.RoundTripper) http.RoundTripper { return &lineTransport{line: l, next: next} })
	return wired
}

type lineTransport struct {
	line *line
	next http.RoundTripper
}

var _ utilnet.RoundTripperWrapper = (*lineTransport)(nil)

func (t *lineTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *lineTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if token := *t.line.token.Load(); token != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := t.next.RoundTrip(req)
	if err == nil {
		refused := resp.StatusCode == http.StatusUnauthorized
		t.line.refused.Store(refused)
		if rejected := t.line.rejected.Load(); refused && rejected != nil {
			(*rejected)()
		}
	}
	switch {
	case err != nil && req.Context().Err() == nil, err == nil && unavailable(resp.StatusCode):
		t.line.away.Store(true)
	case err == nil && t.line.away.CompareAndSwap(true, false):
		if back := t.line.back.Load(); back != nil {
			(*back)()
		}
	}
	return resp, err
}

// unavailable says whether an answer means that the hub, or the token, is no
// use for now.
func unavailable(code int) bool {
	return code == http.StatusUnauthorized || code >= http.StatusInternalServerError
}
