package deployments

import (
	"errors"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// lost returns a stage whose deployment is not on the hub, and whose release
// bears a person's word.
func lost(t *testing.T, wish string) *stage {
	t.Helper()
	s := newStage(t)
	s.live, s.seen = nil, nil
	s.evidence.Deployment = Absent
	s.records[0].Wish = wish
	return s
}

func TestUnclaimedReleases(t *testing.T) {
	for _, test := range []struct {
		name string
		// wish is the word on the record, deployment how the hub answers when asked for the deployment.
		wish       string
		deployment Presence
		want       []string
	}{
		{name: "stay if nobody says anything", deployment: Absent},
		{name: "stay if what somebody says is not understood", wish: "please", deployment: Absent},
		{name: "are removed on a person's word", wish: names.UnclaimedRemove, deployment: Absent, want: []string{"remove web/app"}},
		{name: "are given up on a person's word", wish: names.UnclaimedForget, deployment: Absent, want: []string{"forget web/app"}},
		{name: "are not if the deployment is there after all", wish: names.UnclaimedRemove, deployment: Present, want: []string{"unwish web/app"}},
		{name: "are not if the deployment is on its way out", wish: names.UnclaimedRemove, deployment: Terminating, want: []string{"unwish web/app"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := lost(t, test.wish)
			s.evidence.Deployment = test.deployment
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			s.expect(test.want...)
		})
	}
}

// What somebody said while the deployment was there does not count on the day
// on which the hub is set back and knows nothing of it.
func TestWordAboutAReleaseThatIsClaimedIsTakenOff(t *testing.T) {
	s := newStage(t)
	s.records[0].Wish = names.UnclaimedRemove
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	if len(s.journal) == 0 || s.journal[0] != "unwish web/app" || s.records[0].Wish != "" {
		t.Errorf("done was %q, and the record says %q", s.journal, s.records[0].Wish)
	}
}

func TestNewsOfUnclaimedReleasesAreToldOnce(t *testing.T) {
	s := lost(t, "")
	told := 0
	s.deps.UnclaimedChanged = func() { told++ }
	run := func(what string, want int) {
		t.Helper()
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		if told != want {
			t.Errorf("%s it was told %d times, want %d", what, told, want)
		}
	}
	run("when it is lost", 1)
	run("when it still is", 1)
	if u := s.Unclaimed(); len(u) != 1 || u[0].String() != "web/app" {
		t.Errorf("unclaimed are %v", u)
	}
	s.records = nil
	run("when the release is gone", 2)
	run("when it still is", 2)
}

func TestLongNamesAreLostByTheirLabels(t *testing.T) {
	long := "a-bundle-with-a-name-that-is-longer-than-any-label-value-may-be-and-then-some"
	m := newMemory()
	if !m.lose(release.DeploymentLabel(long), true) || m.lose(long, true) {
		t.Error("a name and its label are two deployments")
	}
	if !m.lose(long, false) || len(m.lost) != 0 {
		t.Error("it is still lost")
	}
}

// The clock of a node can be put right by a day in either direction. Neither
// makes a deployment that failed wait for that day.
func TestClockThatJumpsKeepsNothingWaiting(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name string
		jump time.Duration
		step Step
	}{
		{"not at all", time.Millisecond, StepWait},
		{"to the time of the next attempt", time.Second, StepDeploy},
		{"a day ahead", day, StepDeploy},
		{"a day back", -day, StepDeploy},
	} {
		w := worldWith(func(w *World) { w.Records[0].Digest = "other" })
		w.Last = w.Failed(w.Now, lastRetry, 0)
		w.Now = w.Now.Add(test.jump)
		d := Decide(w)
		if d.Step != test.step || d.Recheck > time.Second {
			t.Errorf("%s: step is %s, again in %s", test.name, d.Step, d.Recheck)
		}
	}
}

// All of it, with the controller: a removal that fails, then a clock that is
// set back by a day, then a removal that does not.
func TestRemovalIsTriedAgainAfterTheClockWasSetBack(t *testing.T) {
	s := newStage(t, deleted)
	clock := clocktesting.NewFakePassiveClock(noon)
	s.clock = clock
	s.broken = errors.New("the cluster does not answer")
	_ = s.run()
	s.broken, s.journal = nil, nil
	s.sync()
	clock.SetTime(noon.Add(-24 * time.Hour))
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	s.expect("remove web/app", "status Removed=True/Removed")
}
