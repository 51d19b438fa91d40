package clusters

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
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
