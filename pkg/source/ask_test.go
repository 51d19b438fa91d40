package source

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counted serves a repository and counts how often its refs are listed. Each
// listing waits until hold, if there is one, is closed.
type counted struct {
	*httptest.Server
	listings atomic.Int32
	hold     chan struct{}
	began    chan struct{}
}

func count(t *testing.T, behind *server) *counted {
	t.Helper()
	to, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &counted{began: make(chan struct{}, 100)}
	proxy := httputil.NewSingleHostReverseProxy(to)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, infoRefs) {
			c.listings.Add(1)
			c.began <- struct{}{}
			if c.hold != nil {
				<-c.hold
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

func TestOneListIsForAllWhoAskForTheRepository(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	head := r.commit(map[string]string{"a": "1"})
	c := count(t, s)
	m := newTestMirrors(t, Limits{})
	began := time.Now()
	for _, branch := range []string{"master", "master", "refs"} {
		answer, err := m.Ask(t.Context(), Question{Request: Request{URL: c.URL + "/demo.git", Branch: branch}, Since: began})
		if branch == "master" && (err != nil || answer.Commit != head || answer.At.Before(began)) {
			t.Errorf("answer is %+v, %v", answer, err)
		}
		if branch != "master" && reasonOf(err) != RefNotFound {
			t.Errorf("a branch that is not there: %v", err)
		}
	}
	if got := c.listings.Load(); got != 1 {
		t.Errorf("the server was asked %d times", got)
	}
	later := r.commit(map[string]string{"a": "2"})
	if answer, _ := m.Ask(t.Context(), Question{Request: Request{URL: c.URL + "/demo.git"}, Since: began}); answer.Commit != head {
		t.Errorf("an old answer was good enough, but it was asked again: %+v", answer)
	}
	if answer, _ := m.Ask(t.Context(), Question{Request: Request{URL: c.URL + "/demo.git"}, Since: time.Now()}); answer.Commit != later {
		t.Errorf("an old answer was given: %+v", answer)
	}
	// What one credential may read is no answer to another.
	_, _ = m.Ask(t.Context(), Question{Request: Request{URL: c.URL + "/demo.git", Auth: &Auth{Username: "a", Password: "b"}}, Since: began})
	_, _ = m.Ask(t.Context(), Question{Request: Request{URL: c.URL + "/demo.git", InsecureSkipTLSVerify: true}, Since: began})
	if got := c.listings.Load(); got != 4 {
		t.Errorf("the server was asked %d times, want 4", got)
	}
}

func TestWhoAsksMeanwhileWaits(t *testing.T) {
	s := newServer(t)
	s.repository(t, "demo").commit(map[string]string{"a": "1"})
	c := count(t, s)
	c.hold = make(chan struct{})
	m := newTestMirrors(t, Limits{})
	began := time.Now()
	var asking sync.WaitGroup
	ask := func(since time.Time) {
		asking.Go(func() {
			if _, err := m.Ask(context.Background(), Question{Request: Request{URL: c.URL + "/demo.git"}, Since: since}); err != nil {
				t.Error(err)
			}
		})
	}
	ask(began)
	<-c.began
	for range 20 {
		ask(began)
	}
	// These know of something that happened after the first list was begun.
	for range 20 {
		ask(time.Now())
	}
	close(c.hold)
	asking.Wait()
	if got := c.listings.Load(); got != 2 {
		t.Errorf("the server was asked %d times, want 2", got)
	}
}

func TestWhoIsToldToStopLeavesOthersTheirAnswer(t *testing.T) {
	s := newServer(t)
	s.repository(t, "demo").commit(map[string]string{"a": "1"})
	c := count(t, s)
	c.hold = make(chan struct{})
	m := newTestMirrors(t, Limits{})
	question := Question{Request: Request{URL: c.URL + "/demo.git"}, Since: time.Now()}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() {
		_, err := m.Ask(ctx, question)
		stopped <- err
	}()
	<-c.began
	other := make(chan error, 1)
	go func() {
		_, err := m.Ask(context.Background(), question)
		other <- err
	}()
	stop()
	if err := <-stopped; err == nil {
		t.Error("who was told to stop has an answer")
	}
	close(c.hold)
	if err := <-other; err != nil {
		t.Errorf("the other one: %v", err)
	}
}

// TestHostIsLeftAlone asks for many repositories of a host that nobody
// listens on.
func TestHostIsLeftAlone(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := dead.Addr().String()
	dead.Close()
	m := newTestMirrors(t, Limits{})
	ask := func(repo string, urgent bool) error {
		_, err := m.Ask(t.Context(), Question{Request: Request{URL: "http://" + address + "/" + repo + ".git"}, Since: time.Now(), Urgent: urgent})
		return err
	}
	first := ask("a", false)
	if reasonOf(first) != Unreachable {
		t.Fatalf("nobody listens, but: %v", first)
	}
	s := newServer(t)
	s.repository(t, "b").commit(map[string]string{"a": "1"})
	back, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("listening once more at %s: %v", address, err)
	}
	to, _ := url.Parse(s.URL)
	server := &http.Server{Handler: httputil.NewSingleHostReverseProxy(to), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(back) }()
	t.Cleanup(func() { server.Close() })
	if err := ask("b", false); reasonOf(err) != Unreachable {
		t.Errorf("the host was asked again at once: %v", err)
	}
	if err := ask("b", true); err != nil {
		t.Errorf("the host was not asked for a reason: %v", err)
	}
	if err := ask("b", false); err != nil {
		t.Errorf("the host answers, but is left alone: %v", err)
	}
}

func TestGate(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	g := &gate{}
	var last time.Duration
	for i := range 20 {
		g.note(now, dial, nil)
		wait := g.until.Sub(now)
		if low := min(minGate<<min(i, 10), maxGate); wait < low || wait > low+low/5 {
			t.Fatalf("after %d failures it waits %s", i+1, wait)
		}
		last = wait
		if g.closed(g.until.Add(-1)) == nil || g.closed(g.until) != nil {
			t.Fatal("it does not open when it should")
		}
	}
	if last < maxGate {
		t.Errorf("it waits %s at last", last)
	}
	g.note(now, &refusal{reason: AuthenticationFailed}, nil)
	if g.closed(now) != nil {
		t.Error("a host that answers is left alone")
	}
	for _, tt := range []struct {
		retryAfter string
		want       time.Duration
	}{{"", 10 * time.Second}, {"60", time.Minute}, {"Fri, 02 Jan 2026 03:05:05 GMT", time.Minute}, {"999999", maxRetryAfter}, {"-1", 10 * time.Second}} {
		g := &gate{}
		g.note(now, busy("no", tt.retryAfter, now), nil)
		if wait := g.until.Sub(now); wait < tt.want || wait > tt.want+tt.want/5 {
			t.Errorf("Retry-After %q: it waits %s", tt.retryAfter, wait)
		}
	}
}

func reasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}
