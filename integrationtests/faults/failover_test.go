package faults

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// A leader that is stopped gives its lease back when it has done what it began: the other one acts soon after.
func TestFailOverFromALeaderThatStops(t *testing.T) {
	took := failOver(t, func(s *scene, old *harness.Manager, _ *harness.Line) { old.Stop(s) })
	t.Logf("a leader was stopped: the other one had acted %s later (to be at most 3s)", took.Round(time.Millisecond))
}

// A leader that is killed is missed once its lease has run out.
func TestFailOverFromALeaderThatIsKilled(t *testing.T) {
	harness.Long(t)
	took := failOver(t, func(_ *scene, old *harness.Manager, line *harness.Line) {
		// From one request to the next, nothing gets through any more, what would give the lease back included.
		line.CutAfter(0)
		_ = old.Crash()
	})
	t.Logf("a leader was killed: the other one had acted %s later (to be at most 20s)", took.Round(time.Millisecond))
}

// failOver ends one of two managers while there is something to do, and returns how long after that began the other one has
// begun to act. Everything comes to its right end, and nothing is done twice.
func failOver(t *testing.T, end func(*scene, *harness.Manager, *harness.Line)) time.Duration {
	t.Helper()
	s := newScene(t)
	lines := []*harness.Line{harness.NewLine(), harness.NewLine()}
	old, address := s.replica(lines[0])
	holder := s.awaitLeader("")
	s.ready(address)
	_, second := s.replica(lines[1])
	s.ready(second)
	three := s.three()
	s.bundle("steady", everywhere())
	web := s.bundle("web", everywhere())
	s.settle()
	before := s.deployments()

	s.retarget(web, where("prod"))
	s.bundle("new", everywhere())
	begun, sofar := time.Now(), lines[1].Made()
	end(s, old, lines[0])
	late := s.bundle("late", everywhere())
	deployment := kube.Key{Namespace: names.ClusterNamespace(three[0].Namespace, three[0].Name), Name: late.Name}
	env.BundleDeployments.Await(s, deployment, func(*fleet.BundleDeployment) error { return nil })
	took := time.Since(begun)
	s.awaitLeader(holder)
	s.settle()
	delete(before, "web on two")
	s.stays(before)
	env.AwaitQuiet(t)
	if lines[1].Made() == sofar {
		t.Error("the other one did nothing")
	}
	once(t, lines)
	madeOnce(s, lines)
	for _, line := range lines {
		conditional(t, line)
	}
	return took
}

// madeOnce fails the test if a deployment was made twice, or written again after it was made.
func madeOnce(s *scene, lines []*harness.Line) {
	s.Helper()
	made := 0
	for _, line := range lines {
		for _, r := range line.Requests() {
			if r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/bundledeployments") && r.Code == http.StatusCreated {
				made++
			}
		}
	}
	list, err := env.BundleDeployments.List(s.Context(), "", nil)
	if err != nil {
		s.Fatal(err)
	}
	const gone = 1 // of web, which was taken off one cluster
	// The answer to one may have been cut off.
	if got := len(list.Items) + gone; made > got {
		s.Errorf("%d deployments were made for %d that there are or were", made, got)
	}
	for i := range list.Items {
		if bd := &list.Items[i]; bd.Generation != 1 && bd.Labels[names.LabelBundleName] != "web" {
			s.Errorf("%s was written %d times", fmt.Sprint(kube.KeyOf(bd)), bd.Generation)
		}
	}
}
