package counters

import (
	"maps"
	"net/http"
	"strings"
	"sync"
)

// Meter counts the requests that go through it the way an API server does.
type Meter struct {
	mu       sync.Mutex
	requests Requests
}

// Wrap returns a transport that counts, before next carries out. It fits rest.Config.WrapTransport.
func (m *Meter) Wrap(next http.RoundTripper) http.RoundTripper { return &counting{m, next} }

// Count returns what was requested so far.
func (m *Meter) Count() Requests {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.requests)
}

func (m *Meter) add(r Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.requests == nil {
		m.requests = Requests{}
	}
	m.requests[r]++
}

type counting struct {
	meter *Meter
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c *counting) RoundTrip(request *http.Request) (*http.Response, error) {
	if r, ok := RequestOf(request); ok {
		c.meter.add(r)
	}
	return c.next.RoundTrip(request)
}

// RequestOf returns what an API server takes the request for; false if it is about no resource.
func RequestOf(request *http.Request) (Request, bool) {
	parts := strings.Split(strings.Trim(request.URL.Path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return Request{}, false
	}
	// What follows the name of a namespace is in it; of the namespace itself there are two subresources.
	if len(parts) > 2 && parts[0] == "namespaces" && parts[2] != "status" && parts[2] != "finalize" {
		parts = parts[2:]
	}
	r := Request{Verb: verbOf(request, len(parts) > 1), Resource: parts[0]}
	if len(parts) > 2 {
		r.Resource += "/" + parts[2]
	}
	return r, true
}

func verbOf(request *http.Request, named bool) string {
	switch request.Method {
	case http.MethodGet:
		switch {
		case request.URL.Query().Get("watch") == "true" || request.URL.Query().Get("watch") == "1":
			return "WATCH"
		case !named:
			return "LIST"
		}
	case http.MethodDelete:
		if !named {
			return "DELETECOLLECTION"
		}
	case http.MethodPatch:
		if strings.HasPrefix(request.Header.Get("Content-Type"), "application/apply-patch") {
			return "APPLY"
		}
	}
	return request.Method
}
