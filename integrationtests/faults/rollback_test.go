package faults

import (
	"testing"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
)

// The hub is taken back to a backup: what has been deployed since is not known any more, what was deployed then is there. Nothing of
// that goes, whether the manager was stopped meanwhile or lived through it with caches from a future that never was.
func TestHubIsRestoredFromABackup(t *testing.T) {
	for _, test := range []struct {
		name    string
		stopped bool
	}{
		{"while the manager is stopped", true},
		{"while the manager runs", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.stopped {
				harness.Long(t)
			}
			line := harness.NewLine()
			m := env.StartManager(t, through(line))
			s := newScene(t)
			three := s.three()
			group := s.group("group", "prod")
			s.bundle("steady", everywhere())
			web := s.bundle("web", where("prod"))
			s.bundle("grouped", members("group"))
			s.settle()
			before := s.deployments()
			s.history.End()
			backup := env.Backup(t)

			// What never was: some of it would have removed what the backup brings back.
			s.watch()
			s.retarget(web, where("dev"))
			s.relabel(three[0], "dev")
			env.ClusterGroups.Remove(s, group)
			s.bundle("later", everywhere())
			s.cluster("four", "prod")
			s.settle()
			s.history.End()
			if test.stopped {
				m.Stop(t)
			}
			env.Restore(t, backup)
			s.watch()
			if test.stopped {
				m.Start()
			} else {
				// As after any restored backup: resourceVersions are given a second time, which no watch survives.
				s.calm()
				s.stays(before)
				m.Stop(t)
				m.Start()
			}
			s.cluster("after", "dev")
			s.settle()
			s.stays(before)
			if lost := len(s.deployments()) - len(before); lost < 0 {
				t.Errorf("%d deployments are lost", -lost)
			}
			conditional(t, line)
		})
	}
}

// calm waits until nothing is written any more: the manager has had its chance to do something wrong.
func (s *scene) calm() {
	s.Helper()
	harness.Eventually(s, "nothing is written any more", func(ctx ctx) error {
		s.history.AwaitStill(ctx, 3*still)
		return ctx.Err()
	})
	s.innocent()
}
