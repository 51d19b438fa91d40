package clusters

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func TestReach(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := start.Add
	tests := []struct {
		name  string
		signs signs
		want  reach
	}{
		{"never announced", signs{watching: start, now: at(time.Hour)}, reach{}},
		{"the manager has just started", signs{announced: true, watching: start, now: at(time.Minute)}, reach{recheck: 2 * time.Minute}},
		{"and heard nothing", signs{announced: true, watching: start, now: at(3 * time.Minute)}, reach{silent: true, since: start}},
		{"a heartbeat", signs{announced: true, watching: start, last: at(10 * time.Minute), now: at(11 * time.Minute)}, reach{recheck: 2 * time.Minute}},
		{"two missed", signs{announced: true, watching: start, last: at(10 * time.Minute), now: at(12*time.Minute + 59*time.Second)}, reach{recheck: time.Second}},
		{"three missed", signs{announced: true, watching: start, last: at(10 * time.Minute), now: at(13 * time.Minute)}, reach{silent: true, since: at(10 * time.Minute)}},
		{
			"a cluster that is younger than the manager",
			signs{announced: true, watching: start, created: at(time.Hour), now: at(time.Hour + time.Minute)}, reach{recheck: 2 * time.Minute},
		},
		{
			"an agent that was met later",
			signs{announced: true, watching: start, met: at(time.Hour), now: at(time.Hour + time.Minute)}, reach{recheck: 2 * time.Minute},
		},
		{"and given up", signs{announced: true, givenUp: true, watching: start, met: at(time.Hour), now: at(time.Hour)}, reach{silent: true, since: at(time.Hour)}},
		{"made in the future", signs{announced: true, watching: start, created: at(time.Hour), now: at(3 * time.Minute)}, reach{silent: true, since: start}},
		{"a restart forgets no silence", signs{announced: true, givenUp: true, watching: start, now: at(time.Second)}, reach{silent: true, since: start}},
		{"a sign ends it", signs{announced: true, givenUp: true, watching: start, last: at(5 * time.Second), now: at(6 * time.Second)}, reach{recheck: silence - time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.signs.reach(); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// An agent that a manager meets which has been running for long is no silent one: it has its time before its Lease says anything.
func TestAnAgentThatIsNewIsMet(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	waiting := newCluster(func(*fleet.Cluster) {})
	seen := func(at time.Time) *fleet.Cluster {
		return newCluster(func(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.NewTime(at) })
	}
	another := seen(now)
	another.UID = "another"
	tests := []struct {
		name          string
		before, after *fleet.Cluster
		want          time.Time
	}{
		{"the first time", waiting, seen(now.Add(-time.Hour)), now},
		{"again", seen(now.Add(-time.Hour)), seen(now), time.Time{}},
		{"taken back", seen(now), waiting, time.Time{}},
		{"another cluster of the name", waiting, another, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			beats := newHeartbeats()
			beats.announced(tt.before, tt.after, now)
			last, met := beats.of(names.ClusterNamespace(waiting.Namespace, waiting.Name))
			if !met.Equal(tt.want) || !last.IsZero() {
				t.Errorf("met at %s, last heard of at %s", met, last)
			}
		})
	}
}

// The story of an agent that goes away and comes back, as its cluster's status tells it. The roll-up comes first each
// time, as it does in the controller.
func TestAwayAndBack(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	cluster := newCluster(func(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.NewTime(start) })
	report := func(now, last time.Time) reach {
		t.Helper()
		life := signs{announced: true, givenUp: givenUp(cluster), watching: start, last: last, now: now}
		previous := cluster.Status.DeepCopy().Conditions
		next := status.ForCluster(status.ClusterFacts{
			Cluster: cluster, Deployments: []*fleet.BundleDeployment{readyDeployment()}, Now: metav1.NewTime(now),
		})
		r := life.reach()
		r.report(&next, previous, life)
		cluster.Status = next
		return r
	}
	expect := func(ready, reachable metav1.ConditionStatus, display fleet.ClusterDisplay) {
		t.Helper()
		for kind, want := range map[string]metav1.ConditionStatus{fleet.ConditionReady: ready, fleet.ConditionClusterReachable: reachable} {
			if c := status.Get(cluster.Status.Conditions, kind); c == nil || c.Status != want {
				t.Errorf("%s is %v, want %s", kind, c, want)
			}
		}
		if cluster.Status.Display != display {
			t.Errorf("display %+v, want %+v", cluster.Status.Display, display)
		}
	}

	report(start, start)
	expect("True", "True", fleet.ClusterDisplay{ReadyBundles: "1/1", State: "Ready"})

	if r := report(start.Add(silence), start); !r.silent {
		t.Fatal("three missed heartbeats are nothing")
	}
	expect("Unknown", "False", fleet.ClusterDisplay{ReadyBundles: "0/1", State: "Offline"})
	if s := cluster.Status.Summary; s.Unknown != 1 || s.Ready != 0 || s.DesiredReady != 1 {
		t.Errorf("summary %+v", s)
	}

	// Silence goes on, also over a restart of the manager: nothing changes, so nothing is written.
	before := cluster.Status.DeepCopy()
	report(start.Add(2*silence), start)
	report(start.Add(3*silence), time.Time{})
	if diff := cmp.Diff(*before, cluster.Status); diff != "" {
		t.Errorf("the status of a silent cluster changes:\n%s", diff)
	}

	back := start.Add(4 * silence)
	report(back, back)
	expect("True", "True", fleet.ClusterDisplay{ReadyBundles: "1/1", State: "Ready"})
	if c := status.Get(cluster.Status.Conditions, fleet.ConditionReady); c.LastTransitionTime != back.Format(time.RFC3339) {
		t.Errorf("Ready changed at %s", c.LastTransitionTime)
	}
}

func readyDeployment() *fleet.BundleDeployment {
	return &fleet.BundleDeployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       fleet.BundleDeploymentSpec{DeploymentID: "id", StagedDeploymentID: "id"},
		Status:     fleet.BundleDeploymentStatus{AppliedDeploymentID: "id", Ready: true, NonModified: true},
	}
}
