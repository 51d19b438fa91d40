package faults

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
)

const leaseName = "flotilla-manager"

// replica starts one of several managers that share a lease.
func (s *scene) replica(line *harness.Line) (m *harness.Manager, address string) {
	s.Helper()
	address = freeAddress(s)
	return env.StartReplica(s, func(config *manager.Config) {
		config.Hub, config.LeaderElection, config.Namespace = line.Through(config.Hub), true, s.home
		config.MetricsAddress = address
	}), address
}

// awaitLeader waits until somebody else than other holds the lease, and returns who.
func (s *scene) awaitLeader(other string) string {
	s.Helper()
	lease := env.Leases.Await(s, kube.Key{Namespace: s.home, Name: leaseName}, func(l *coordinationv1.Lease) error {
		if holder := l.Spec.HolderIdentity; holder == nil || *holder == "" || *holder == other {
			return errors.New("nobody else holds the lease")
		}
		return nil
	})
	return *lease.Spec.HolderIdentity
}

// freeAddress returns an address that nothing listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	reserved, err := ports.Reserve("metrics")
	if err != nil {
		t.Fatal(err)
	}
	reserved.Release("metrics")
	return fmt.Sprintf("127.0.0.1:%d", reserved.Ports()["metrics"])
}

// ready waits until the manager at the address leads, with caches that are full.
func (s *scene) ready(address string) {
	s.Helper()
	harness.Eventually(s, "the manager is ready", func(ctx ctx) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
}

// For a while two managers believe that they lead. Nothing that they do to each other does any harm: what one of them decides about an
// old state fails. The old one stops as soon as it hears of the new one.
func TestTwoLeadersAtOnce(t *testing.T) {
	s := newScene(t)
	lines := []*harness.Line{harness.NewLine(), harness.NewLine()}
	old, address := s.replica(lines[0])
	holder := s.awaitLeader("")
	s.ready(address)
	three := s.three()
	s.bundle("steady", everywhere())
	web := s.bundle("web", everywhere())
	gone := s.bundle("gone", everywhere())
	s.settle()

	// The old leader is told that all is well with its lease, which has run out.
	lines[0].Answer(new(flattery).answer)
	_, address = s.replica(lines[1])
	env.Leases.Edit(s, kube.Key{Namespace: s.home, Name: leaseName}, func(l *coordinationv1.Lease) {
		nobody, second := "", int32(1)
		l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = &nobody, &second
	})
	s.awaitLeader(holder)
	s.ready(address)
	before := s.deployments()
	sofar := []int{lines[0].Made(), lines[1].Made()}
	s.retarget(web, where("prod"))
	s.relabel(three[0], "dev")
	env.Bundles.Remove(s, gone)
	s.bundle("new", where("dev"))
	s.cluster("four", "dev")
	s.settle()
	for pair := range before {
		if !strings.HasPrefix(pair, "steady") && pair != "web on three" {
			delete(before, pair)
		}
	}
	s.stays(before)
	env.AwaitQuiet(t)
	for i, line := range lines {
		conditional(t, line)
		if line.Made() == sofar[i] {
			t.Errorf("leader %d did nothing: the two did not lead at once", i)
		}
	}
	once(t, lines)

	lines[0].Repair()
	harness.Eventually(t, "the old leader has stopped", func(ctx) error {
		select {
		case <-old.Ended():
			return nil
		default:
			return errors.New("it still runs")
		}
	})
	if err := old.Crash(); err == nil || !strings.Contains(err.Error(), "lost the lease") {
		t.Errorf("the old leader ended with: %v", err)
	}
	s.stays(before)
	s.innocent()
}

// once fails the test if the same object was deleted twice.
func once(t *testing.T, lines []*harness.Line) {
	t.Helper()
	deleted := map[string]int{}
	for _, line := range lines {
		for _, r := range line.Requests() {
			// One that was broken off has no answer: that another took effect shows that it did not.
			if r.Method != http.MethodDelete || r.Code == 0 || r.Code >= http.StatusBadRequest || !strings.Contains(r.Path, fleet.SchemeGroupVersion.Group) {
				continue
			}
			if deleted[string(r.Body)]++; deleted[string(r.Body)] > 1 {
				t.Errorf("%s took effect twice", r)
			}
		}
	}
}

// flattery answers requests about the lease as if they had succeeded.
type flattery struct {
	mu   sync.Mutex
	last []byte
}

func (f *flattery) answer(req *http.Request) *http.Response {
	if !strings.HasSuffix(req.URL.Path, "/leases/"+leaseName) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.Method == http.MethodPut {
		if body, err := io.ReadAll(req.Body); err == nil {
			f.last = body
		}
	}
	if f.last == nil {
		return nil
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {req.Header.Get("Content-Type")}}, Body: io.NopCloser(bytes.NewReader(f.last)),
		ContentLength: int64(len(f.last)),
	}
}

// A leader that cannot reach the hub any more has stopped before another one begins.
func TestLeaderThatIsCutOffStopsBeforeTheNextBegins(t *testing.T) {
	harness.Long(t)
	s := newScene(t)
	lines := []*harness.Line{harness.NewLine(), harness.NewLine()}
	old, address := s.replica(lines[0])
	holder := s.awaitLeader("")
	s.ready(address)
	s.three()
	s.bundle("web", everywhere())
	s.settle()
	before := s.deployments()
	_, address = s.replica(lines[1])
	lines[0].Answer(func(req *http.Request) *http.Response {
		if !strings.HasSuffix(req.URL.Path, "/leases/"+leaseName) {
			return nil
		}
		return &http.Response{
			Status: "503 Service Unavailable", StatusCode: http.StatusServiceUnavailable, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Request: req, Header: http.Header{}, Body: http.NoBody,
		}
	})
	s.awaitLeader(holder)
	select {
	case <-old.Ended():
	default:
		t.Error("the old leader still runs")
	}
	s.ready(address)
	s.bundle("db", everywhere())
	s.settle()
	s.stays(before)
}
