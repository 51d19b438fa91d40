package garbagecollector

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// Metrics count what the garbage collector does. The nil value counts nothing.
type Metrics struct {
	deletes  *prometheus.CounterVec
	failures *prometheus.CounterVec
	gone     prometheus.Histogram
	state    *stateCollector
}

// NewMetrics registers the garbage collector's metrics.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		deletes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flotilla_gc_deletes_total",
			Help: "Objects that the garbage collector deleted, by kind and by the evidence for it.",
		}, []string{"kind", "reason"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flotilla_gc_failed_deletes_total",
			Help: "Deletes that failed and are tried again, by kind. Those of a state that had changed meanwhile count, too.",
		}, []string{"kind"}),
		gone: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "flotilla_gc_untarget_to_gone_seconds",
			Help:    "Time from the event after which a cluster no longer matches a bundle until the deployment is gone.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 10),
		}),
		state: newStateCollector(),
	}
	registerer.MustRegister(m.deletes, m.failures, m.gone, m.state)
	return m
}

func (m *Metrics) deleted(kind ownership.Kind, reason ownership.Reason) {
	if m != nil {
		m.deletes.WithLabelValues(kind.String(), string(reason)).Inc()
	}
}

func (m *Metrics) failed(kind ownership.Kind) {
	if m != nil {
		m.failures.WithLabelValues(kind.String()).Inc()
	}
}

func (m *Metrics) departed(took time.Duration) {
	if m != nil {
		m.gone.Observe(took.Seconds())
	}
}

// report has the state of a garbage collector told from now on.
func (m *Metrics) report(read func() snapshot) {
	if m != nil {
		m.state.set(read)
	}
}

// snapshot is the state that gauges tell.
type snapshot struct {
	waiting [ownership.Priorities]int
	oldest  [ownership.Priorities]time.Duration
	held    map[ownership.Kind]int
	orphans map[ownership.Kind]int
	nodes   int
}

// stateCollector reads the state when it is asked for.
type stateCollector struct {
	waiting, oldest, held, orphans, nodes *prometheus.Desc

	mu   sync.Mutex
	read func() snapshot
}

func newStateCollector() *stateCollector {
	return &stateCollector{
		waiting: prometheus.NewDesc("flotilla_gc_queue_depth", "Tasks that wait for a worker, by priority.", []string{"priority"}, nil),
		oldest:  prometheus.NewDesc("flotilla_gc_queue_age_seconds", "How long the oldest task has waited, by priority.", []string{"priority"}, nil),
		held:    prometheus.NewDesc("flotilla_gc_held", "Objects whose removal waits for a person's word, by kind.", []string{"kind"}, nil),
		orphans: prometheus.NewDesc("flotilla_gc_orphans", "Objects that are kept without an owner, because the owner was not seen leaving, by kind.", []string{"kind"}, nil),
		nodes:   prometheus.NewDesc("flotilla_gc_graph_nodes", "Nodes of the graph of owners.", nil, nil),
	}
}

func (s *stateCollector) set(read func() snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = read
}

// Describe names the metrics.
func (s *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.waiting, s.oldest, s.held, s.orphans, s.nodes} {
		ch <- d
	}
}

// Collect reads the metrics; there are none before a garbage collector works.
func (s *stateCollector) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	read := s.read
	s.mu.Unlock()
	if read == nil {
		return
	}
	now := read()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for p := range now.waiting {
		gauge(s.waiting, float64(now.waiting[p]), ownership.Priority(p).String())
		gauge(s.oldest, now.oldest[p].Seconds(), ownership.Priority(p).String())
	}
	for kind, n := range now.held {
		gauge(s.held, float64(n), kind.String())
	}
	for kind, n := range now.orphans {
		gauge(s.orphans, float64(n), kind.String())
	}
	gauge(s.nodes, float64(now.nodes))
}

// departures remembers since when deployments are due to be gone.
type departures struct {
	mu    sync.Mutex
	since map[ownership.ID]time.Time
}

func newDepartures() *departures { return &departures{since: map[ownership.ID]time.Time{}} }

func (d *departures) note(id ownership.ID, since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.since[id]; !ok {
		d.since[id] = since
	}
}

// end returns how long a deployment took to be gone, if it was due.
func (d *departures) end(id ownership.ID, now time.Time) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	since, ok := d.since[id]
	delete(d.since, id)
	return now.Sub(since), ok
}
