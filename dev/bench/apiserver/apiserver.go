// Package apiserver reads what an API server counts, and tells what the bench itself has asked it for from what others have.
package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/controlplane"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// Server is an API server. Its clients are the bench's own.
type Server struct {
	*kube.Connection

	control *controlplane.Cluster
	own     counters.Meter
	// ownOther counts the bench's requests that are about no resource.
	ownOther atomic.Int64
}

// Of returns the API server of a cluster, with a client whose caches do not run yet.
func Of(control *controlplane.Cluster) (*Server, error) {
	s := &Server{control: control}
	var err error
	s.Connection, err = s.Connect()
	return s, err
}

// Connect returns another client of the bench, with caches of its own.
func (s *Server) Connect() (*kube.Connection, error) {
	config, err := s.control.RESTConfig()
	if err != nil {
		return nil, err
	}
	config.Wrap(s.own.Wrap)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &others{s, next} })
	conn, err := kube.Connect(config, kube.Options{UserAgent: "flotilla-bench"})
	if err != nil {
		return nil, fmt.Errorf("connecting to cluster %s: %w", s.control.Name(), err)
	}
	return conn, nil
}

// REST is a client for requests by path.
func (s *Server) REST() rest.Interface { return s.Kubernetes.CoreV1().RESTClient() }

// Own returns what the bench has asked for.
func (s *Server) Own() counters.Requests { return s.own.Count() }

// Requests returns what everybody but the bench has asked for since the API server started.
func (s *Server) Requests(ctx context.Context) (counters.Requests, error) {
	all, err := s.AllRequests(ctx)
	if err != nil {
		return nil, err
	}
	return all.Minus(s.own.Count()), nil
}

// AllRequests returns what everybody has asked for since the API server started.
func (s *Server) AllRequests(ctx context.Context) (counters.Requests, error) {
	metrics, err := s.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	return counters.ParseRequests(metrics)
}

// Discoveries returns how many requests about no resource everybody but the bench has made since the API server started. Besides
// probes of health, which nothing here makes while it is measured, that is discovery: what kinds there are, and which version.
func (s *Server) Discoveries(ctx context.Context) (int, error) {
	metrics, err := s.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	total := -int(s.ownOther.Load())
	err = counters.Samples(metrics, func(sample counters.Sample) {
		if sample.Labels["resource"] == "" {
			total += int(sample.Value)
		}
	}, "apiserver_request_total")
	return total, err
}

// others counts requests about no resource.
type others struct {
	server *Server
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (o *others) RoundTrip(request *http.Request) (*http.Response, error) {
	if _, about := counters.RequestOf(request); !about {
		o.server.ownOther.Add(1)
	}
	return o.next.RoundTrip(request)
}

// Metrics returns what the API server tells of itself.
func (s *Server) Metrics(ctx context.Context) ([]byte, error) {
	metrics, err := s.REST().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the metrics of the API server of %s: %w", s.control.Name(), err)
	}
	return metrics, nil
}

// Watches returns how many watches of a resource the API server serves.
func (s *Server) Watches(ctx context.Context, resource string) (int, error) {
	metrics, err := s.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	count := 0
	err = counters.Samples(metrics, func(s counters.Sample) {
		if s.Labels["resource"] == resource && s.Labels["verb"] == "WATCH" {
			count += int(s.Value)
		}
	}, "apiserver_longrunning_requests")
	return count, err
}

// Profile writes a CPU profile of the API server of the given length into a file.
func (s *Server) Profile(ctx context.Context, file string, length time.Duration) error {
	seconds := strconv.Itoa(max(1, int(length.Seconds())))
	data, err := s.REST().Get().AbsPath("/debug/pprof/profile").Param("seconds", seconds).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("profiling the API server of %s: %w", s.control.Name(), err)
	}
	return os.WriteFile(file, data, 0o644)
}
