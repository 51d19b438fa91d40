package clusters

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

const (
	// heartbeat is how often agents renew their Lease.
	heartbeat = 60 * time.Second
	// silence is after how long without a heartbeat an agent counts as away: three are missed.
	silence = 3 * heartbeat
)

// signs is what is known of an agent's signs of life.
type signs struct {
	// announced says that the agent has reported before.
	announced bool
	// givenUp says that the agent counts as away already.
	givenUp bool
	// last is when this manager last saw a sign, the zero time if never; watching is since when it looks.
	last, watching time.Time
	// created is when the cluster was made, and met when this manager saw its agent announce itself, or the zero time: it cannot
	// have been silent before.
	created, met time.Time
	now          time.Time
}

// reach is whether an agent is there.
type reach struct {
	silent bool
	// since is when the silence began, as far as this manager knows.
	since time.Time
	// recheck is after how much time the agent would count as away; zero if only a sign can change anything.
	recheck time.Duration
}

// reach decides whether the agent is away. A manager that has just been started gives every agent its time, but does
// not take back what was found before.
func (s signs) reach() reach {
	if !s.announced {
		return reach{}
	}
	since := s.last
	if since.IsZero() {
		since = s.watching
		for _, known := range []time.Time{s.created, s.met} {
			// The API server's clock may be ahead of ours.
			if known.After(since) && !known.After(s.now) {
				since = known
			}
		}
		if s.givenUp {
			return reach{silent: true, since: since}
		}
	}
	if left := since.Add(silence).Sub(s.now); left > 0 {
		return reach{recheck: left}
	}
	return reach{silent: true, since: since}
}

// report puts into the status, which was rolled up from previous, whether the agent is there. While it is away, nothing
// it said before counts as known.
func (r reach) report(into *fleet.ClusterStatus, previous []fleet.Condition, s signs) {
	now := metav1.NewTime(s.now)
	switch {
	case !s.announced:
		status.Remove(&into.Conditions, fleet.ConditionClusterReachable)
		return
	case !r.silent:
		status.Set(&into.Conditions, fleet.Condition{Type: fleet.ConditionClusterReachable, Status: metav1.ConditionTrue, Reason: "HeartbeatSeen"}, now)
		return
	case !s.givenUp:
		status.Set(&into.Conditions, fleet.Condition{
			Type: fleet.ConditionClusterReachable, Status: metav1.ConditionFalse, Reason: fleet.ReasonClusterUnreachable,
			Message: fmt.Sprintf("no sign of the cluster's agent since %s: check that it runs and reaches the hub", r.since.UTC().Format(time.RFC3339)),
		}, now)
	}
	all, objects := into.Summary.DesiredReady, into.ResourceCounts.DesiredReady
	into.Summary = fleet.BundleSummary{DesiredReady: all, Unknown: all}
	into.ResourceCounts = fleet.ResourceCounts{DesiredReady: objects, Unknown: objects}
	into.ReadyGitRepos = 0
	into.Display = fleet.ClusterDisplay{ReadyBundles: fmt.Sprintf("0/%d", all), State: status.StateOffline}
	// Compared with what stood there before, not with what the roll-up made of it: the times stay if nothing changed.
	status.Remove(&into.Conditions, fleet.ConditionReady)
	if before := status.Get(previous, fleet.ConditionReady); before != nil {
		status.Set(&into.Conditions, *before, now)
		*status.Get(into.Conditions, fleet.ConditionReady) = *before
	}
	reachable := status.Get(into.Conditions, fleet.ConditionClusterReachable)
	status.Set(&into.Conditions, fleet.Condition{
		Type: fleet.ConditionReady, Status: metav1.ConditionUnknown, Reason: fleet.ReasonClusterUnreachable, Message: reachable.Message,
	}, now)
}
