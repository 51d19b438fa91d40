package auditor

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

const (
	every  = time.Hour
	settle = maxSettle
)

// hub plays the controllers, the caches and the API server.
type hub struct {
	// wrong holds how the status of an object differs; events says that it is for an event that was missed.
	wrong    map[kube.Key]string
	events   bool
	repaired []kube.Key
	// cached and live are the versions of objects.
	cached, live map[kube.Key]string
	err          error
}

func key(name string) kube.Key { return kube.Key{Namespace: "fleet-default", Name: name} }

// counted sums up a metric over its labels.
func counted(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

func (h *hub) auditor(t *testing.T) (*auditor, *prometheus.Registry) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	registry := prometheus.NewRegistry()
	a := &auditor{Deps: Deps{Every: every, Metrics: NewMetrics(registry)}}
	a.checks = []check{
		&recount{metrics: a.Metrics, log: log, Account: kube.Account{
			Kind: "Bundle", Events: h.events,
			Keys: func() ([]kube.Key, error) { return slices.Collect(maps.Keys(h.wrong)), h.err },
			Mismatch: func(key kube.Key) (string, error) {
				return h.wrong[key], nil
			},
			Repair: func(key kube.Key) error {
				h.repaired = append(h.repaired, key)
				h.wrong[key] = ""
				return nil
			},
		}},
		&comparison{metrics: a.Metrics, log: log, Cache: Cache{
			Kind:   "Bundle",
			cached: func(key kube.Key) (string, error) { return h.cached[key], nil },
			keys:   func() ([]kube.Key, error) { return slices.Collect(maps.Keys(h.cached)), nil },
			list: func(_ context.Context, each func(kube.Key, string)) error {
				for key, version := range h.live {
					each(key, version)
				}
				return h.err
			},
			live: func(_ context.Context, key kube.Key) (string, error) { return h.live[key], h.err },
		}},
	}
	return a, registry
}

func TestAudit(t *testing.T) {
	tests := []struct {
		name string
		hub  hub
		// between changes the hub between the looks.
		between []func(*hub)
		// waits are what the auditor says after each look.
		waits              []time.Duration
		mismatches, missed float64
		repaired           int
	}{
		{
			name:  "all is right",
			hub:   hub{wrong: map[kube.Key]string{key("a"): ""}, cached: map[kube.Key]string{key("a"): "7"}, live: map[kube.Key]string{key("a"): "7"}},
			waits: []time.Duration{every},
		},
		{
			name:       "a status that stays wrong is counted and put right",
			hub:        hub{wrong: map[kube.Key]string{key("a"): "ready: 3"}},
			waits:      []time.Duration{settle, every, every},
			mismatches: 1,
			repaired:   1,
		},
		{
			name:     "targets that were not looked at again are counted as an event, and looked at",
			hub:      hub{wrong: map[kube.Key]string{key("a"): "+c"}, events: true},
			waits:    []time.Duration{settle, every},
			missed:   1,
			repaired: 1,
		},
		{
			name:    "a status that is on its way is not",
			hub:     hub{wrong: map[kube.Key]string{key("a"): "ready: 3", key("b"): "ready: 1"}},
			between: []func(*hub){func(h *hub) { h.wrong[key("a")], h.wrong[key("b")] = "", "ready: 2" }},
			waits:   []time.Duration{settle, every},
		},
		{
			name:   "a change that the cache has missed",
			hub:    hub{cached: map[kube.Key]string{key("a"): "7"}, live: map[kube.Key]string{key("a"): "8"}},
			waits:  []time.Duration{settle, settle, every},
			missed: 1,
		},
		{
			name:   "an object that the cache has missed",
			hub:    hub{live: map[kube.Key]string{key("a"): "8"}},
			waits:  []time.Duration{settle, settle, every},
			missed: 1,
		},
		{
			name:   "an end that the cache has missed",
			hub:    hub{cached: map[kube.Key]string{key("a"): "7"}},
			waits:  []time.Duration{settle, settle, every},
			missed: 1,
		},
		{
			name:    "a cache that is behind, and then is not",
			hub:     hub{cached: map[kube.Key]string{key("a"): "7"}, live: map[kube.Key]string{key("a"): "8"}},
			between: []func(*hub){func(h *hub) { h.cached[key("a")] = "8" }},
			waits:   []time.Duration{settle, every},
		},
		{
			name: "a cache that is behind at every look, and moves on",
			hub:  hub{cached: map[kube.Key]string{key("a"): "7"}, live: map[kube.Key]string{key("a"): "8"}},
			between: []func(*hub){
				func(h *hub) { h.cached[key("a")], h.live[key("a")] = "8", "9" },
				func(h *hub) { h.cached[key("a")], h.live[key("a")] = "9", "10" },
			},
			waits: []time.Duration{settle, settle, every},
		},
		{
			name:    "a list that is older than the cache",
			hub:     hub{cached: map[kube.Key]string{key("a"): "8"}, live: map[kube.Key]string{key("a"): "7"}},
			between: []func(*hub){func(h *hub) { h.live[key("a")] = "8" }},
			waits:   []time.Duration{settle, every},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := tt.hub
			a, registry := h.auditor(t)
			for i, want := range tt.waits {
				if i > 0 && i <= len(tt.between) {
					tt.between[i-1](&h)
				}
				wait, err := a.reconcile(t.Context(), kube.Key{})
				if err != nil || wait != want {
					t.Fatalf("look %d: wait %s, error %v, want %s", i, wait, err, want)
				}
			}
			if got := counted(t, registry, "flotilla_status_mismatch_total"); got != tt.mismatches {
				t.Errorf("%v mismatches, want %v", got, tt.mismatches)
			}
			if len(h.repaired) != tt.repaired {
				t.Errorf("repaired %v", h.repaired)
			}
			if got := counted(t, registry, "flotilla_missed_events_total"); got != tt.missed {
				t.Errorf("%v missed events, want %v", got, tt.missed)
			}
		})
	}
}

// An API server that fails is no evidence of anything: the audit begins anew.
func TestAuditBeginsAnewAfterAFailure(t *testing.T) {
	h := hub{wrong: map[kube.Key]string{key("a"): "ready: 3"}, live: map[kube.Key]string{key("a"): "8"}}
	a, registry := h.auditor(t)
	if _, err := a.reconcile(t.Context(), kube.Key{}); err != nil {
		t.Fatal(err)
	}
	h.err = errors.New("the API server is away")
	if _, err := a.reconcile(t.Context(), kube.Key{}); err == nil {
		t.Fatal("no error")
	}
	if a.open() {
		t.Error("what was noted before the failure still counts")
	}
	if got := counted(t, registry, "flotilla_audits_total"); got != 0 {
		t.Errorf("%v audits were completed", got)
	}
}
