package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/flotilla-gitops/flotilla/pkg/agent/deployments"
)

type metrics struct {
	registry    *prometheus.Registry
	deployments *deployments.Metrics
}

func newMetrics(a *agent) *metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "flotilla_agent_releases_unclaimed",
			Help: "Releases that this agent made and whose deployment is not on the hub. They stay.",
		}, a.unclaimed),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "flotilla_agent_watches", Help: "Watches on kinds of objects that releases hold.",
		}, a.watched),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "flotilla_agent_hub_connected", Help: "1 if the hub answered the last request, else 0.",
		}, a.connected),
	)
	return &metrics{registry: registry, deployments: deployments.NewMetrics(registry)}
}

func (a *agent) unclaimed() float64 {
	if s := a.session.Load(); s != nil && s.working.Load() {
		return float64(len(s.controller.Load().Unclaimed()))
	}
	return 0
}

func (a *agent) watched() float64 {
	if s := a.session.Load(); s != nil && s.watches.Load() != nil {
		return float64(s.watches.Load().Watched())
	}
	return 0
}

func (a *agent) connected() float64 {
	if a.working() && !a.session.Load().line.away.Load() {
		return 1
	}
	return 0
}

// working says whether deployments are looked after. A hub that is away for a
// while changes nothing about that.
func (a *agent) working() bool {
	s := a.session.Load()
	return s != nil && s.working.Load()
}

// ready says whether deployments are looked after, or would be as soon as the
// agent goes that does.
func (a *agent) ready() bool { return a.rehearsed.Load() || a.working() }

// serve answers /metrics, /healthz and /readyz until ctx ends, and on request
// what serves debugging.
func (a *agent) serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !a.ready() {
			http.Error(w, "there is no session with the hub yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	if a.config.DebugEndpoints {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.config.MetricsAddress)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", a.config.MetricsAddress, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving metrics: %w", err)
	}
	return nil
}
