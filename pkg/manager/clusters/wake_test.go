package clusters

import (
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// A heartbeat wakes nothing, but the first one does: the cluster is no longer waiting for its agent.
func TestReports(t *testing.T) {
	seen := func(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.NewTime(time.Now()) }
	earlier := func(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.NewTime(time.Now().Add(-time.Hour)) }
	nothing := func(*fleet.Cluster) {}
	tests := []struct {
		name          string
		before, after func(*fleet.Cluster)
		want          bool
	}{
		{"nothing", nothing, nothing, false},
		{"the first sign of the agent", nothing, seen, true},
		{"another sign", earlier, seen, false},
		{"a label", nothing, func(c *fleet.Cluster) { c.Labels = map[string]string{"a": "b"} }, false},
		{"the finalizer", nothing, func(c *fleet.Cluster) { c.Finalizers = []string{names.FinalizerCluster} }, true},
		{"the deletion", nothing, func(c *fleet.Cluster) { now := metav1.Now(); c.DeletionTimestamp = &now }, true},
		{"a status that somebody wrote", nothing, func(c *fleet.Cluster) { c.Status.ReadyGitRepos = 7 }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := reports(newCluster(tt.before), newCluster(tt.after)); got != tt.want {
				t.Errorf("reports = %v", got)
			}
		})
	}
}

// An agent that announces itself to a manager which has been looking for long is not silent.
func TestAnAnnouncementIsNoSilence(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	now := start.Add(time.Hour)
	log := logrus.New()
	log.SetOutput(t.Output())
	queue := kube.NewQueue(kube.QueueOptions{Name: "unused", Log: log})
	c := &controller{
		Deps: Deps{Clock: clocktesting.NewFakePassiveClock(now)}, beats: newHeartbeats(), watching: start, access: queue, imports: queue, status: queue,
	}
	waiting := newCluster()
	announced := newCluster(func(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.NewTime(now) })
	c.onCluster(kube.Event[*fleet.Cluster]{Old: waiting, New: announced})
	if got, want := c.signsOf(announced).reach(), (reach{recheck: silence}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
