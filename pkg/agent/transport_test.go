package agent

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
)

// hub is a server that notes the last token and answers with a given code.
type hub struct {
	*httptest.Server
	code  atomic.Int32
	token atomic.Pointer[string]
}

func newHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{}
	h.code.Store(http.StatusOK)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("Authorization")
		h.token.Store(&token)
		w.WriteHeader(int(h.code.Load()))
	}))
	t.Cleanup(h.Close)
	return h
}

func get(t *testing.T, config *rest.Config) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, config.Host, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
}

func TestLineCarriesTheCurrentToken(t *testing.T) {
	h := newHub(t)
	l := newLine("first")
	config := l.through(&rest.Config{Host: h.URL})
	get(t, config)
	if got := *h.token.Load(); got != "Bearer first" {
		t.Errorf("token is %q", got)
	}
	l.renew("second")
	get(t, config)
	if got := *h.token.Load(); got != "Bearer second" {
		t.Errorf("token is %q", got)
	}
	l.renew("")
	get(t, config)
	if got := *h.token.Load(); got != "" {
		t.Errorf("without a token it is %q", got)
	}
}

func TestLineTellsWhenTheHubIsBack(t *testing.T) {
	h := newHub(t)
	l := newLine("token")
	back := 0
	l.onBack(func() { back++ })
	config := l.through(&rest.Config{Host: h.URL})
	for i, step := range []struct {
		code int
		away bool
		back int
	}{
		{http.StatusOK, false, 0},
		{http.StatusNotFound, false, 0},
		{http.StatusServiceUnavailable, true, 0},
		{http.StatusInternalServerError, true, 0},
		{http.StatusOK, false, 1},
		{http.StatusOK, false, 1},
		{http.StatusUnauthorized, true, 1},
		{http.StatusConflict, false, 2},
	} {
		h.code.Store(int32(step.code))
		get(t, config)
		if l.away.Load() != step.away || back != step.back {
			t.Errorf("step %d: away is %v, back %d times", i, l.away.Load(), back)
		}
	}
	address := h.URL
	h.Close()
	get(t, l.through(&rest.Config{Host: address}))
	if !l.away.Load() {
		t.Error("a hub that does not listen counts as there")
	}
}
