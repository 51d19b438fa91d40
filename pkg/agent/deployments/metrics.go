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
	r.MustRegister(m.reconciles, m.actions, m.failures)
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

func (m *Metrics) failure() { m.failures.Inc() }
