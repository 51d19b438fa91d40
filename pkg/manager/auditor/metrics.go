package auditor

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what the auditor finds. The nil value counts nothing.
type Metrics struct {
	mismatches *prometheus.CounterVec
	missing    *prometheus.CounterVec
	audits     prometheus.Counter
}

// NewMetrics registers the auditor's metrics.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		mismatches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flotilla_status_mismatch_total",
			Help: "Statuses that were not what counting everything anew says, and were put right, by kind. Anything but 0 is a bug.",
		}, []string{"kind"}),
		missing: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flotilla_missed_events_total",
			Help: "Changes that nothing has told of: objects whose state in a cache is not the API server's, and bundles whose targets were not looked at again, by kind. Anything but 0 is a bug.",
		}, []string{"kind"}),
		audits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "flotilla_audits_total",
			Help: "Audits that were completed.",
		}),
	}
	registerer.MustRegister(m.mismatches, m.missing, m.audits)
	return m
}

// begin shows the kinds that are looked at before anything is found, so that a first finding is an increase.
func (m *Metrics) begin(accounts, caches []string) {
	if m == nil {
		return
	}
	for _, kind := range accounts {
		m.mismatches.WithLabelValues(kind)
	}
	for _, kind := range caches {
		m.missing.WithLabelValues(kind)
	}
}

func (m *Metrics) mismatched(kind string) {
	if m != nil {
		m.mismatches.WithLabelValues(kind).Inc()
	}
}

func (m *Metrics) missed(kind string) {
	if m != nil {
		m.missing.WithLabelValues(kind).Inc()
	}
}

func (m *Metrics) audited() {
	if m != nil {
		m.audits.Inc()
	}
}
