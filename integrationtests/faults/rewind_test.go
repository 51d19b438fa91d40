package faults

import (
	"errors"
	"strings"
	"testing"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
)

// A leader whose hub was restored from a backup notices by its lease, and ends: what it has in memory never was. Its successor
// begins with what is there.
func TestLeaderEndsWhenItsHubIsRestored(t *testing.T) {
	s := newScene(t)
	m, _ := s.replica(harness.NewLine())
	s.awaitLeader("")
	s.three()
	s.bundle("steady", everywhere())
	s.settle()
	before := s.deployments()
	s.history.End()
	backup := env.Backup(t)

	s.watch()
	s.bundle("later", everywhere())
	s.settle()
	s.history.End()
	env.Restore(t, backup)
	s.watch()
	harness.Eventually(t, "the manager ends", func(_ ctx) error {
		select {
		case <-m.Ended():
			return nil
		default:
			return errors.New("it goes on")
		}
	})
	if err := m.Crash(); err == nil || !strings.Contains(err.Error(), "gone back in time") {
		t.Fatalf("the manager ended: %v", err)
	}
	m.Start()
	s.cluster("after", "dev")
	s.settle()
	s.stays(before)
}
