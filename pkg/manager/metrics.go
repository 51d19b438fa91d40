package manager

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type metrics struct {
	registry   *prometheus.Registry
	reconciles *prometheus.HistogramVec
	webhooks   *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		reconciles: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "flotilla_reconcile_duration_seconds",
			Help:    "How long one reconcile of a controller took, and whether it failed.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, []string{"controller", "result"}),
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flotilla_webhooks_total", Help: "Deliveries of Git hosts, and what became of them.",
		}, []string{"provider", "result"}),
	}
	m.registry.MustRegister(m.reconciles, m.webhooks, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe returns what a controller's queue reports its runs to.
func (m *metrics) observe(controller string) func(time.Duration, error) {
	succeeded := m.reconciles.WithLabelValues(controller, "success")
	failed := m.reconciles.WithLabelValues(controller, "error")
	return func(took time.Duration, err error) {
		if err != nil {
			failed.Observe(took.Seconds())
			return
		}
		succeeded.Observe(took.Seconds())
	}
}

// readiness says whether the manager is of use: whether it can decide, or
// could as soon as the replica that leads goes.
type readiness struct {
	synced  atomic.Pointer[func() bool]
	standby atomic.Bool
}

func (r *readiness) set(synced func() bool) { r.synced.Store(&synced) }

// waits notes whether another replica leads.
func (r *readiness) waits(standby bool) { r.standby.Store(standby) }

func (r *readiness) ready() bool {
	synced := r.synced.Load()
	return r.standby.Load() || synced != nil && (*synced)()
}

// handler answers /metrics, /healthz and /readyz, and on request what serves
// debugging.
func (m *process) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(m.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !m.ready.ready() {
			http.Error(w, "caches are not synced, and nobody else leads", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	if m.DebugEndpoints {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		mux.Handle("/debug/ownership", &m.owners)
	}
	return mux
}

// headerTimeout is how long a client may take to say what it wants.
const headerTimeout = 5 * time.Second

// serve answers requests until ctx ends.
func serve(ctx context.Context, address string, server *http.Server) error {
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", address, err)
	}
	return nil
}
