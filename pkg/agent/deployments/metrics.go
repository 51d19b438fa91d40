package deployments

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// Metrics of the controller. None has a label that grows with the number of
// deployments.
type Metrics struct {
	reconciles *prometheus.HistogramVec
	actions    *prometheus.CounterVec
	failures   prometheus.Counter
	asks       *prometheus.CounterVec
	drift      *prometheus.CounterVec
}

// NewMetrics returns the metrics, registered with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		reconciles: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "flotilla_agent_reconcile_duration_seconds", Help: "How long it took to look after a deployment once.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, []string{"result"}),
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flotilla_agent_release_actions_total", Help: "Actions on releases that succeeded, by action.",
		}, []string{"action"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "flotilla_agent_release_failures_total", Help: "Attempts to install, upgrade or remove a release that failed.",
		}),
	}
	m.asks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "flotilla_agent_drift_dry_runs_total", Help: "Dry runs that judged an object which is not in every field as applied, by result.",
	}, []string{"result"})
	m.drift = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "flotilla_agent_drift_corrections_total", Help: "Corrections of objects that had drifted, by outcome.",
	}, []string{"outcome"})
	r.MustRegister(m.reconciles, m.actions, m.failures, m.asks, m.drift)
	return m
}

func (m *Metrics) observe(took time.Duration, err error) {
	outcome := "success"
	if err != nil {
		outcome = "error"
	}
	m.reconciles.WithLabelValues(outcome).Observe(took.Seconds())
}

func (m *Metrics) action(action release.Action) { m.actions.WithLabelValues(string(action)).Inc() }

// asked counts a question about an object.
func (m *Metrics) asked(err error) {
	outcome := "success"
	if err != nil {
		outcome = "error"
	}
	m.asks.WithLabelValues(outcome).Inc()
}

// corrected counts a correction.
func (m *Metrics) corrected(outcome string) { m.drift.WithLabelValues(outcome).Inc() }

func (m *Metrics) failure() { m.failures.Inc() }
