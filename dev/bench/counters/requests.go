package counters

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Request is a kind of request, as API servers count them.
type Request struct {
	// Verb in capitals: GET, LIST, WATCH, POST, PUT, PATCH, APPLY, DELETE, DELETECOLLECTION, CONNECT.
	Verb string
	// Resource is the plural, with the subresource after a slash.
	Resource string
}

// String returns, for example, "PATCH bundles/status".
func (r Request) String() string { return r.Verb + " " + r.Resource }

// IsWrite says whether requests of this kind change something in etcd, if they succeed.
func (r Request) IsWrite() bool {
	switch r.Verb {
	case "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION":
		// Reviews are questions.
		return !strings.HasSuffix(r.Resource, "reviews")
	}
	return false
}

// isNoise tells of what is written while everything rests.
func (r Request) isNoise() bool {
	return r.Resource == "leases" || r.Resource == "events"
}

// Requests is how often each kind of request was made. Refused ones count, too: they cost the API server as much.
type Requests map[Request]int

// ParseRequests reads what an API server has counted since it started.
func ParseRequests(metrics []byte) (Requests, error) {
	requests := Requests{}
	err := Samples(metrics, func(s Sample) {
		if s.Labels["resource"] == "" || s.Labels["dry_run"] != "" {
			return
		}
		r := Request{Verb: s.Labels["verb"], Resource: s.Labels["resource"]}
		if sub := s.Labels["subresource"]; sub != "" {
			r.Resource += "/" + sub
		}
		requests[r] += int(s.Value)
	}, "apiserver_request_total")
	return requests, err
}

// Minus returns what is more than in other. What is not more is left out.
func (r Requests) Minus(other Requests) Requests {
	more := Requests{}
	for request, n := range r {
		if n > other[request] {
			more[request] = n - other[request]
		}
	}
	return more
}

// Writes returns the writes, without those of Leases and Events, which are written also while everything rests.
func (r Requests) Writes() Requests {
	writes := Requests{}
	for request, n := range r {
		if request.IsWrite() && !request.isNoise() {
			writes[request] = n
		}
	}
	return writes
}

// Reads returns the reads, without those of Leases and Events. Watches are none: they count when they end, whenever that is.
func (r Requests) Reads() Requests {
	reads := Requests{}
	for request, n := range r {
		if (request.Verb == "GET" || request.Verb == "LIST") && !request.isNoise() {
			reads[request] = n
		}
	}
	return reads
}

// Total is the number of all requests.
func (r Requests) Total() int {
	total := 0
	for _, n := range r {
		total += n
	}
	return total
}

// Equal says whether both have the same counts.
func (r Requests) Equal(other Requests) bool { return maps.Equal(r, other) }

// Sorted returns the kinds of requests, the most frequent first.
func (r Requests) Sorted() []Request {
	return slices.SortedFunc(maps.Keys(r), func(a, b Request) int {
		return cmp.Or(cmp.Compare(r[b], r[a]), cmp.Compare(a.String(), b.String()))
	})
}
