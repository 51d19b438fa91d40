package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Change is one write to the store of the hub.
type Change struct {
	// Revision orders all writes; an object's resourceVersion is that of its last one.
	Revision int64
	// At is when the change was heard of.
	At time.Time
	// Resource is the group, if there is one, and the plural, such as "fleet.cattle.io/bundles" or "namespaces".
	Resource, Namespace, Name string
	// Value is the object as it is stored, JSON for the kinds of CRDs; nil if it is gone.
	Value []byte
}

// History tells every write to the store, whoever makes it, in the order in which they take effect. It reads etcd itself, so it
// misses nothing while API servers come and go.
type History struct {
	cancel context.CancelFunc
	ended  chan struct{}

	mu sync.Mutex
	// last is when the last write came that was no Lease and no Event; moved is closed with the next one.
	last  time.Time
	moved chan struct{}
	err   error
}

// registry is where API servers keep their objects.
const registry = "/registry/"

// History begins with what is there now and ends with the test. It calls hear for every change, one at a time.
func (e *Environment) History(t testing.TB, hear func(Change)) *History {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h := &History{cancel: cancel, ended: make(chan struct{}), last: time.Now(), moved: make(chan struct{})}
	store := &store{url: e.ControlPlane.EtcdURL()}
	revision, err := store.list(ctx, func(c Change) { h.hear(c, hear) })
	if err != nil {
		cancel()
		t.Fatalf("reading the store: %v", err)
	}
	go func() {
		defer close(h.ended)
		err := store.watch(ctx, revision+1, func(c Change) { h.hear(c, hear) })
		if ctx.Err() == nil {
			h.mu.Lock()
			h.err = fmt.Errorf("watching the store: %w", err)
			h.mu.Unlock()
		}
	}()
	t.Cleanup(h.End)
	return h
}

// End stops it; hear is not called any more once it has returned.
func (h *History) End() {
	h.cancel()
	<-h.ended
}

// Err says why the history broke off; nil if it did not.
func (h *History) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

func (h *History) hear(c Change, hear func(Change)) {
	hear(c)
	if isNoise(c.Resource) || strings.HasSuffix(c.Resource, "/leases") || strings.HasSuffix(c.Resource, "/events") {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = c.At
	close(h.moved)
	h.moved = make(chan struct{})
}

// AwaitStill returns true as soon as nothing but Leases and Events was written for the given time, and false when ctx ends.
func (h *History) AwaitStill(ctx context.Context, window time.Duration) bool {
	for {
		h.mu.Lock()
		left, moved := window-time.Since(h.last), h.moved
		h.mu.Unlock()
		if left <= 0 {
			return true
		}
		timer := time.NewTimer(left)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-moved:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// AwaitMove returns when something is written after the call, or ctx ends.
func (h *History) AwaitMove(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-h.Moved():
	}
}

// Moved is closed when something is written after this call. Whoever waits for a state takes it before looking at the state.
func (h *History) Moved() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.moved
}

// store reads etcd by its JSON gateway.
type store struct{ url string }

type keyValue struct {
	Key         []byte `json:"key"`
	Value       []byte `json:"value"`
	ModRevision number `json:"mod_revision"`
}

// number is an integer that may be written as a string.
type number int64

// UnmarshalJSON reads either form.
func (n *number) UnmarshalJSON(data []byte) error {
	value, err := strconv.ParseInt(strings.Trim(string(data), `"`), 10, 64)
	*n = number(value)
	return err
}

func (s *store) post(ctx context.Context, path string, body any) (*http.Response, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	return response, nil
}

// everything is the range of all keys of API servers.
func everything() map[string]any {
	return map[string]any{"key": []byte(registry), "range_end": []byte("/registry0")}
}

// list tells everything that is there and returns the revision that it was read at.
func (s *store) list(ctx context.Context, hear func(Change)) (int64, error) {
	response, err := s.post(ctx, "/v3/kv/range", everything())
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		Header struct{ Revision number }
		KVs    []keyValue `json:"kvs"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	for _, kv := range answer.KVs {
		hear(changeOf(kv))
	}
	return int64(answer.Header.Revision), nil
}

// watch tells every change from the revision on, until ctx ends.
func (s *store) watch(ctx context.Context, revision int64, hear func(Change)) error {
	create := everything()
	create["start_revision"] = strconv.FormatInt(revision, 10)
	response, err := s.post(ctx, "/v3/watch", map[string]any{"create_request": create})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answers := json.NewDecoder(response.Body)
	for {
		var answer struct {
			Result struct {
				Canceled     bool
				CancelReason string `json:"cancel_reason"`
				Events       []struct {
					Type string
					KV   keyValue `json:"kv"`
				}
			}
		}
		if err := answers.Decode(&answer); err != nil {
			return err
		}
		if answer.Result.Canceled {
			return fmt.Errorf("cancelled: %s", answer.Result.CancelReason)
		}
		for _, event := range answer.Result.Events {
			change := changeOf(event.KV)
			if event.Type == "DELETE" {
				change.Value = nil
			}
			hear(change)
		}
	}
}

// changeOf reads keys such as /registry/fleet.cattle.io/bundles/ns/name and /registry/namespaces/name.
func changeOf(kv keyValue) Change {
	c := Change{Revision: int64(kv.ModRevision), At: time.Now(), Value: kv.Value}
	parts := strings.Split(strings.TrimPrefix(string(kv.Key), registry), "/")
	c.Resource, parts = parts[0], parts[1:]
	if strings.Contains(c.Resource, ".") && len(parts) > 1 {
		c.Resource, parts = c.Resource+"/"+parts[0], parts[1:]
	}
	if len(parts) > 1 {
		c.Namespace, parts = parts[0], parts[1:]
	}
	c.Name = strings.Join(parts, "/")
	return c
}
