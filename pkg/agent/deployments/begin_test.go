package deployments

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// looksAgain fails the test unless err is a wait.
func looksAgain(t *testing.T, err error) {
	t.Helper()
	var wait *kube.WaitError
	if !errors.As(err, &wait) {
		t.Errorf("got %v, want a wait", err)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("got %v", err)
	}
}

func TestHubIsToldBeforeAnythingIsRemoved(t *testing.T) {
	s := newStage(t, deleted)
	noError(t, s.run())
	s.expect("status Removed=False/Uninstalling", "remove web/app", "status Removed=True/Removed")
}

func TestHubIsToldBeforeAReleaseIsForgotten(t *testing.T) {
	s := newStage(t, deleted, func(w *World) {
		keep := true
		w.Deployment.Spec.Options.KeepResources = &keep
	})
	noError(t, s.run())
	s.expect("status Removed=False/Uninstalling", "remove web/app", "status Removed=True/Removed")
}

func TestNothingToRemoveNeedsNoWarning(t *testing.T) {
	s := newStage(t, deleted, notInstalled)
	noError(t, s.run())
	s.expect("status Removed=True/Removed")
}

// Until the hub has been told, it may take the deployment back. Whatever it
// does to the deployment for that, the agent's word comes too late.
func TestDeploymentThatIsTakenBackIsNotTouched(t *testing.T) {
	for _, test := range []struct {
		name string
		back func(*stage)
	}{
		{"it is gone", func(s *stage) { s.live = nil }},
		{"it was made anew", func(s *stage) {
			s.touch(func(bd *fleet.BundleDeployment) {
				bd.UID, bd.DeletionTimestamp, bd.ResourceVersion = "uid-2", nil, "20"
			})
		}},
		{"something else still holds it", func(s *stage) {
			s.touch(func(bd *fleet.BundleDeployment) { bd.Finalizers = []string{"example.com/hold"} })
		}},
		{"it changed in another way", func(s *stage) {
			s.touch(func(bd *fleet.BundleDeployment) { bd.Annotations = map[string]string{"a": "b"} })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, deleted)
			test.back(s) // and the agent has not seen it yet
			looksAgain(t, s.run())
			s.expect()
		})
	}
}

func TestDeploymentThatTheHubLetGoOfIsNotTouched(t *testing.T) {
	s := newStage(t, deleted, func(w *World) { w.Deployment.Finalizers = []string{"example.com/hold"} })
	noError(t, s.run())
	s.expect()
}

// The cache is behind the object that the decision was made about, and ahead
// of it when the agent is about to begin.
func TestTheNewestStateDecidesWhetherToBegin(t *testing.T) {
	s := newStage(t, deleted)
	world, err := s.observe(s.seen)
	noError(t, err)
	s.touch(func(bd *fleet.BundleDeployment) { bd.Finalizers = []string{"example.com/hold"} })
	s.sync()
	looksAgain(t, s.begin(t.Context(), world))
	s.expect()
}

func TestHubThatIsAwayIsNotGoneAhead(t *testing.T) {
	s := newStage(t, deleted)
	s.away = errors.New("connection refused")
	err := s.run()
	var hub *HubError
	if !errors.As(err, &hub) {
		t.Errorf("got %v, want an error of the hub", err)
	}
	s.expect()
	s.away = nil
	noError(t, s.run())
	s.expect("status Removed=False/Uninstalling", "remove web/app", "status Removed=True/Removed")
}

// What the agent itself wrote is no reason to look again, whether the cache has
// seen it or not.
func TestOwnWritesAreNoConflicts(t *testing.T) {
	for _, sees := range []bool{false, true} {
		s := newStage(t, deleted)
		s.broken = errors.New("forbidden")
		noError(t, s.run())
		s.expect("status Removed=False/Uninstalling", "fail to remove web/app", "status Removed=False/Uninstalling")
		if sees {
			s.sync()
		}
		s.broken = nil
		s.memory.with("app", func(r *remembered) { r.failed = nil }) // it is time
		noError(t, s.run())
		s.expect("remove web/app", "status Removed=True/Removed")
	}
}

// The hub is set back to the very version on which the agent reported last.
func TestHubThatWasSetBackIsToldAgain(t *testing.T) {
	s := newStage(t, deleted)
	backup := s.live.DeepCopy()
	s.evidence.Cluster = Absent
	noError(t, s.run())
	s.expect("status Removed=False/Refused")
	s.sync()
	if s.undone {
		t.Error("what was reported is taken for something else")
	}
	s.live = backup
	s.sync()
	if !s.undone {
		t.Error("nobody notices that the report is lost")
	}
	noError(t, s.run())
	s.expect("status Removed=False/Refused")
}

func TestRefusedRemovalHasNotBegun(t *testing.T) {
	s := newStage(t, deleted)
	s.evidence.Cluster = Terminating
	noError(t, s.run())
	s.expect("status Removed=False/Refused")
	// With the cluster back, it begins.
	s.sync()
	s.evidence.Cluster = Present
	noError(t, s.run())
	s.expect("status Removed=False/Uninstalling", "remove web/app", "status Removed=True/Removed")
}

func TestRemovalThatBeganGoesOnAfterARestart(t *testing.T) {
	s := newStage(t, deleted)
	s.stuck = []release.Remaining{{Object: configMap("cm"), Finalizers: []string{"example.com/hold"}}}
	noError(t, s.run())
	s.expect("status Removed=False/Uninstalling", "remove web/app")
	s.restart()
	s.stuck = nil
	noError(t, s.run())
	s.expect("remove web/app", "status Removed=True/Removed") // it is not announced twice
}

func TestRemovalThatBeganNeverLooksAsIfItHadNot(t *testing.T) {
	s := newStage(t, deleted)
	s.broken = errors.New("forbidden")
	noError(t, s.run())
	s.expect("status Removed=False/Uninstalling", "fail to remove web/app", "status Removed=False/Uninstalling")
	s.restart()
	s.evidence.Cluster = Absent
	noError(t, s.run())
	s.expect("status Removed=False/Uninstalling")
}

func TestBegun(t *testing.T) {
	for _, test := range []struct {
		status metav1.ConditionStatus
		reason string
		want   bool
	}{
		{"", "", false},
		{metav1.ConditionFalse, ReasonRefused, false},
		{metav1.ConditionFalse, ReasonWaitingForDependents, false},
		{metav1.ConditionFalse, fleet.ReasonUninstalling, true},
		{metav1.ConditionTrue, ReasonRemoved, true},
	} {
		s := &fleet.BundleDeploymentStatus{}
		if test.status != "" {
			s.Conditions = []fleet.Condition{{Type: fleet.ConditionRemoved, Status: test.status, Reason: test.reason}}
		}
		if begun(s) != test.want {
			t.Errorf("%s %s: got %v", test.status, test.reason, !test.want)
		}
	}
}

// A deployment that was made anew has the releases of the one before it
// claimed, also while nothing is to be done about it: else they would be
// nobody's when it goes.
func TestReleasesAreClaimedWhileNothingElseIsDone(t *testing.T) {
	anew := func(w *World) {
		w.Records[0].UID = "uid-0"
		second := w.Records[0]
		second.Key.Name = "old-name"
		foreign := second
		foreign.Key.Name, foreign.Agent = "foreign", "other"
		w.Records = append(w.Records, second, foreign)
	}
	for _, test := range []struct {
		name string
		edit func(*World)
		want []string
	}{
		{"paused", func(w *World) { w.Deployment.Spec.Paused = true }, []string{"adopt web/app for uid-1", "adopt web/old-name for uid-1"}},
		{
			"waiting for values", func(w *World) { w.Deployment.Spec.WaitingForValues = true },
			[]string{"adopt web/app for uid-1", "adopt web/old-name for uid-1"},
		},
		{"the hub could not ask for its removal", func(w *World) { w.Deployment.Finalizers = nil }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, anew, test.edit)
			noError(t, s.run())
			var done []string
			for _, line := range s.journal {
				if line != "status Removed=none" {
					done = append(done, line)
				}
			}
			s.journal = done
			s.expect(test.want...)
			s.sync()
			noError(t, s.run())
			s.expect() // once is enough
		})
	}
}

func TestReleaseOfAnEarlierDeploymentIsNotClaimedByOneThatLeaves(t *testing.T) {
	s := newStage(t, deleted, func(w *World) { w.Records[0].UID = "uid-0" })
	noError(t, s.run())
	s.expect("status Removed=True/Removed")
	if len(s.records) != 1 {
		t.Error("the release is gone")
	}
}

// The agent has never seen the deployment alive, nor the one before it leave.
func TestReleaseOfAPredecessorGoesWithItsSuccessor(t *testing.T) {
	s := newStage(t, deleted, func(w *World) {
		w.Records[0].UID = "uid-0"
		w.Deployment.Annotations = map[string]string{names.AnnotationSucceeds: "uid-0"}
	})
	noError(t, s.run())
	s.expect("status Removed=False/Uninstalling", "adopt web/app for uid-1", "remove web/app", "status Removed=True/Removed")
}
