package garbagecollector

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// Metrics count what the garbage collector does. The nil value counts nothing.
type Metrics struct {
	deletes *prometheus.CounterVec
	orphans *prometheus.CounterVec
}

// NewMetrics registers the garbage collector's metrics.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		deletes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flotilla_gc_deletes_total",
			Help: "Objects that the garbage collector deleted, by kind and by the evidence for it.",
		}, []string{"kind", "reason"}),
		orphans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flotilla_gc_orphans_total",
			Help: "Times that the garbage collector looked at an object without an owner and kept it, by kind.",
		}, []string{"kind"}),
	}
	registerer.MustRegister(m.deletes, m.orphans)
	return m
}

func (m *Metrics) deleted(kind string, reason ownership.Reason) {
	if m != nil {
		m.deletes.WithLabelValues(kind, string(reason)).Inc()
	}
}

func (m *Metrics) orphan(kind string) {
	if m != nil {
		m.orphans.WithLabelValues(kind).Inc()
	}
}
