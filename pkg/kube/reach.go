package kube

import (
	"context"
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

// firstReconnect is the wait before a watch is asked for again that had no
// answer; the next ones double.
const firstReconnect = 100 * time.Millisecond

// Reconnecting returns a copy of config whose watches outlast an API server
// that is away: they go on with the first answer that anything gets which uses
// this config, and try by themselves after longest at most, with jitter: many
// may have lost the same API server. client-go's caches alone would each back
// off for up to a minute, whatever the others know. Lists, reads and writes are
// told at once that there is no answer.
func Reconnecting(config *rest.Config, longest time.Duration, log logrus.FieldLogger) *rest.Config {
	return reconnecting(config, &reach{first: min(firstReconnect, longest), longest: longest, log: log.WithField("server", config.Host)})
}

func reconnecting(config *rest.Config, r *reach) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &reachTransport{reach: r, next: next} })
	return config
}

// reach is whether an API server answers.
type reach struct {
	// first and longest are waits of a watch before it is asked for again.
	first, longest time.Duration
	log            logrus.FieldLogger

	mu sync.Mutex
	// back is closed with the first answer; nil while there are answers.
	back chan struct{}
}

// silent notes that there was no answer, and returns what is closed with the
// next one.
func (r *reach) silent(err error) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.back == nil {
		r.back = make(chan struct{})
		r.log.WithError(err).Warn("The API server does not answer")
	}
	return r.back
}

func (r *reach) answered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.back != nil {
		close(r.back)
		r.back = nil
		r.log.Info("The API server answers again")
	}
}

func (r *reach) backoff() wait.DelayFunc {
	return wait.Backoff{Duration: r.first, Factor: 2, Jitter: 0.5, Cap: r.longest, Steps: math.MaxInt32}.DelayFunc()
}

type reachTransport struct {
	reach *reach
	next  http.RoundTripper
}

var _ net.RoundTripperWrapper = (*reachTransport)(nil)

func (t *reachTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *reachTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	watches := req.Method == http.MethodGet && req.URL.Query().Get("watch") == "true"
	delay := t.reach.backoff()
	for {
		resp, err := t.next.RoundTrip(req)
		back := t.reach.note(req, resp, err)
		if !watches || err == nil && !unavailable(resp.StatusCode) {
			return resp, err
		}
		if !pause(req.Context(), back, delay()) {
			return resp, err
		}
		if resp != nil {
			discard(resp.Body)
		}
	}
}

// note notes what came of a request, and returns what is closed when there is
// reason to ask again. An answer that something behind the one who answers is
// away, such as the server of an aggregated API, tells nothing about the others.
func (r *reach) note(req *http.Request, resp *http.Response, err error) <-chan struct{} {
	switch {
	case err == nil && !unavailable(resp.StatusCode):
		r.answered()
	case err != nil && req.Context().Err() == nil:
		return r.silent(err)
	}
	return nil
}

// pause returns after the time, or as soon as back is closed; false if ctx ended
// before.
func pause(ctx context.Context, back <-chan struct{}, after time.Duration) bool {
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-back:
		return true
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// unavailable says whether an answer is that of somebody who asked in vain.
func unavailable(code int) bool {
	switch code {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// discard has the connection of a body used again.
func discard(body io.ReadCloser) {
	const most = 64 << 10
	_, _ = io.CopyN(io.Discard, body, most)
	_ = body.Close()
}
