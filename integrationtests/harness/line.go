package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
)

// Line is what a program's requests to an API server go through. It notes them, and it fails in the ways in which networks,
// API servers and processes do: see CutAfter, LoseAnswer, Darken and ShowOld.
type Line struct {
	mu       sync.Mutex
	requests []Request
	// left counts the requests that may still pass, if limited; cut is closed when the first one is refused.
	limited bool
	left    int
	cut     chan struct{}
	// loseIn counts down to the write whose answer gets lost; 0 is none.
	loseIn int
	// dark says that what watches tell is lost. expired holds the watches that must begin anew after that.
	dark    bool
	expired map[string]bool
	open    map[*stream]bool
	// old is what new watches are shown instead of the present, by path; present ends that.
	old     map[string]Photograph
	present chan struct{}
	// answer, if set, is asked first; it answers nil to requests that are none of its business.
	answer func(*http.Request) *http.Response
}

// Request is one request that got through.
type Request struct {
	Method, Path string
	Query        url.Values
	// Body is that of a DELETE, which says on what conditions.
	Body []byte
	// Code is the status of the answer; 0 until there is one.
	Code int
}

// IsWrite says whether the request changes anything.
func (r Request) IsWrite() bool { return r.Method != http.MethodGet }

// String tells the request in one line.
func (r Request) String() string { return fmt.Sprintf("%s %s %d", r.Method, r.Path, r.Code) }

// ErrCut is what a request over a line that was cut ends with.
var ErrCut = errors.New("the line is cut")

// NewLine returns a line on which nothing fails yet.
func NewLine() *Line {
	return &Line{expired: map[string]bool{}, open: map[*stream]bool{}, present: make(chan struct{})}
}

// Through returns a configuration whose requests go through the line.
func (l *Line) Through(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &end{line: l, next: next} })
	return config
}

// Requests returns those that got through so far, without watches, Leases and Events.
func (l *Line) Requests() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.requests)
}

// Made counts them.
func (l *Line) Made() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.requests)
}

// CutAfter lets n more requests pass, not counting watches, Leases and Events, and then nothing: for the API server, the program has
// been killed. The channel is closed when the first request is refused.
func (l *Line) CutAfter(n int) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limited, l.left, l.cut = true, n, make(chan struct{})
	return l.cut
}

// LoseAnswer lets the n-th write from now on (1 is the next) take effect, but tells the program that it failed.
func (l *Line) LoseAnswer(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loseIn = n
}

// Repair has everything pass again.
func (l *Line) Repair() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limited, l.loseIn, l.answer = false, 0, nil
}

// Answer has requests answered by f where that does not return nil.
func (l *Line) Answer(f func(*http.Request) *http.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = f
}

// Darken loses what watches tell from now on, until Relist.
func (l *Line) Darken() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dark = true
}

// Relist ends every watch and has none of them resumed where it was: the program sees what is there by now, and not what happened
// in between.
func (l *Line) Relist() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dark = false
	for s := range l.open {
		l.expired[s.id] = true
	}
	l.hangUp()
}

// hangUp ends every open watch.
func (l *Line) hangUp() {
	for s := range l.open {
		go s.ReadCloser.Close()
	}
	l.open = map[*stream]bool{}
}

// end is the program's end of the line.
type end struct {
	line *Line
	next http.RoundTripper
}

// RoundTrip makes a request.
func (e *end) RoundTrip(req *http.Request) (*http.Response, error) {
	watch := req.URL.Query().Get("watch") != ""
	if !watch && !isNoisePath(req.URL.Path) {
		return e.request(req)
	}
	if err := e.line.passQuietly(); err != nil {
		return nil, err
	}
	if answer := e.line.answered(req); answer != nil {
		return answer, nil
	}
	if !watch {
		return e.next.RoundTrip(req)
	}
	if answer := e.line.interfere(req); answer != nil {
		return answer, nil
	}
	response, err := e.next.RoundTrip(req)
	if err == nil && response.StatusCode == http.StatusOK {
		response.Body = e.line.follow(req, response.Body)
	}
	return response, err
}

// request makes a request that counts.
func (e *end) request(req *http.Request) (*http.Response, error) {
	noted := Request{Method: req.Method, Path: req.URL.Path, Query: req.URL.Query()}
	if req.Method == http.MethodDelete && req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		noted.Body = body
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	at, lose, err := e.line.pass(noted)
	if err != nil {
		return nil, err
	}
	if answer := e.line.answered(req); answer != nil {
		return answer, nil
	}
	response, err := e.next.RoundTrip(req)
	if err == nil {
		e.line.note(at, response.StatusCode)
		if lose {
			response.Body.Close()
			return nil, errors.New("the answer got lost")
		}
	}
	return response, err
}

// pass says whether a request gets through, and whether its answer does. It returns its place among the requests.
func (l *Line) pass(r Request) (at int, lose bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limited && l.left <= 0 {
		l.refuse()
		return 0, false, ErrCut
	}
	l.left--
	if r.IsWrite() && l.loseIn > 0 {
		l.loseIn--
		lose = l.loseIn == 0
	}
	l.requests = append(l.requests, r)
	return len(l.requests) - 1, lose, nil
}

// passQuietly says whether a request that does not count gets through.
func (l *Line) passQuietly() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limited && l.left <= 0 && l.cut == nil {
		return ErrCut
	}
	return nil
}

// refuse cuts the line.
func (l *Line) refuse() {
	if l.cut == nil {
		return
	}
	close(l.cut)
	l.cut = nil
	l.hangUp()
}

func (l *Line) note(at, code int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests[at].Code = code
}

func (l *Line) answered(req *http.Request) *http.Response {
	l.mu.Lock()
	answer := l.answer
	l.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(req)
}

// isNoisePath tells of what is written at any time and carries no decision.
func isNoisePath(path string) bool {
	return strings.HasPrefix(path, "/apis/coordination.k8s.io/") || strings.HasPrefix(path, "/apis/events.k8s.io/") ||
		strings.HasPrefix(path, "/api/v1/") && strings.Contains(path, "/events")
}

// stream is the answer to a watch.
type stream struct {
	io.ReadCloser
	line *Line
	id   string
}

// follow keeps an eye on the answer to a watch.
func (l *Line) follow(req *http.Request, body io.ReadCloser) io.ReadCloser {
	s := &stream{ReadCloser: body, line: l, id: watchID(req)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[s] = true
	return s
}

// watchID tells watches apart.
func watchID(req *http.Request) string {
	return req.URL.Path + "?" + req.URL.Query().Get("labelSelector")
}

// Read returns what the watch tells, while it is not dark. One that was hung up ends like any other.
func (s *stream) Read(p []byte) (int, error) {
	for {
		n, err := s.ReadCloser.Read(p)
		switch dark, open := s.line.sees(s); {
		case !open:
			return 0, io.EOF
		case !dark || err != nil:
			return n, err
		}
	}
}

// Close ends the watch.
func (s *stream) Close() error {
	s.line.mu.Lock()
	delete(s.line.open, s)
	s.line.mu.Unlock()
	return s.ReadCloser.Close()
}

func (l *Line) sees(s *stream) (dark, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dark, l.open[s]
}
