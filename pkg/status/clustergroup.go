package status

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// ClusterGroupFacts are what the status of a ClusterGroup follows from.
type ClusterGroupFacts struct {
	Group *fleet.ClusterGroup
	// Clusters are those that the group's selector matches.
	Clusters []*fleet.Cluster
	// Problem is why the selector could not be evaluated.
	Problem string
	Now     metav1.Time
}

// ForClusterGroup returns the status of the group.
func ForClusterGroup(f ClusterGroupFacts) fleet.ClusterGroupStatus { return f.status(f.recount) }

// groupParts is what the clusters of a group add up to.
type groupParts struct {
	clusters, notReady, offline int
	// names are the first of those that are not ready, offline ones included;
	// since is since when the first of those is that are offline.
	names   []string
	away    []string
	since   string
	summary fleet.BundleSummary
	counts  fleet.ResourceCounts
	state   string
}

func (f ClusterGroupFacts) status(count func() groupParts) fleet.ClusterGroupStatus {
	status := *f.Group.Status.DeepCopy()
	w := writer{&status.Conditions, f.Group.Generation, f.Now}
	if f.Problem != "" {
		// The last counts stand: what the group holds is not known.
		w.result(fleet.ConditionProcessed, &Result{Reason: reasonInvalid, Message: f.Problem})
		w.progress(progress{stalled: true, reason: reasonInvalid, message: f.Problem})
		return status
	}
	w.result(fleet.ConditionProcessed, &Result{OK: true, Reason: "Processed"})
	parts := count()
	status.ClusterCount, status.NonReadyClusterCount, status.NonReadyClusters = parts.clusters, parts.notReady, parts.names
	status.Summary, status.ResourceCounts = parts.summary, parts.counts
	status.Display = fleet.ClusterGroupDisplay{
		ReadyClusters: fmt.Sprintf("%d/%d", parts.clusters-parts.notReady, parts.clusters),
		ReadyBundles:  fmt.Sprintf("%d/%d", status.Summary.Ready, status.Summary.DesiredReady),
		State:         parts.state,
	}
	w.progress(parts.progress())
	return status
}

func (p groupParts) progress() progress {
	switch {
	case p.notReady == 0:
		return progress{}
	case p.notReady == p.offline:
		return progress{unknown: true, reason: fleet.ReasonClustersOffline, message: p.offlineText()}
	}
	message := fmt.Sprintf("%d of %d clusters are not ready: %s", p.notReady, p.clusters, strings.Join(p.names, ", "))
	if p.offline > 0 {
		message += "; " + p.offlineText()
	}
	return progress{goingOn: true, reason: "ClustersNotReady", message: message}
}

func (p groupParts) offlineText() string {
	text := fmt.Sprintf("%d of %d clusters are offline: %s (since %s)", p.offline, p.clusters, p.away[0], p.since)
	if len(p.away) > 1 {
		text += ", " + strings.Join(p.away[1:], ", ")
	}
	return text
}

// recount adds up all clusters.
func (f ClusterGroupFacts) recount() groupParts {
	parts := groupParts{clusters: len(f.Clusters)}
	var notReady []string
	var offline []*fleet.Cluster
	states := map[string]int{}
	for _, c := range f.Clusters {
		addSummary(&parts.summary, c.Status.Summary)
		addCounts(&parts.counts, c.Status.ResourceCounts)
		states[c.Status.Display.State]++
		switch rankOfCluster(c) {
		case rankUnknown:
			offline = append(offline, c)
			notReady = append(notReady, c.Name)
		case rankNotReady:
			notReady = append(notReady, c.Name)
		}
	}
	slices.Sort(notReady)
	slices.SortFunc(offline, func(a, b *fleet.Cluster) int { return strings.Compare(a.Name, b.Name) })
	parts.notReady, parts.names = len(notReady), first(notReady, maxNames)
	parts.setOffline(len(offline), first(offline, maxNames))
	parts.state = groupState(states)
	return parts
}

func (p *groupParts) setOffline(count int, few []*fleet.Cluster) {
	p.offline = count
	for _, c := range few {
		p.away = append(p.away, c.Name)
	}
	if count > 0 {
		p.since = OfflineSince(few[0])
	}
}

// rankOfCluster says whether a cluster is ready, offline or else not ready.
func rankOfCluster(c *fleet.Cluster) uint8 {
	switch {
	case OfflineSince(c) != "":
		return rankUnknown
	case IsTrue(c.Status.Conditions, fleet.ConditionReady):
		return rankReady
	}
	return rankNotReady
}

// addSummary adds the counts of s; its lists stay where they are.
func addSummary(into *fleet.BundleSummary, s fleet.BundleSummary) { changeSummary(into, s, 1) }

func changeSummary(into *fleet.BundleSummary, s fleet.BundleSummary, sign int) {
	into.NotReady += sign * s.NotReady
	into.WaitApplied += sign * s.WaitApplied
	into.ErrApplied += sign * s.ErrApplied
	into.OutOfSync += sign * s.OutOfSync
	into.Modified += sign * s.Modified
	into.Ready += sign * s.Ready
	into.Pending += sign * s.Pending
	into.Unknown += sign * s.Unknown
	into.DesiredReady += sign * s.DesiredReady
}

// groupState returns the worst of the states that clusters show, which are
// those of deployments and two of their own.
func groupState(states map[string]int) string {
	if states[stateWaitCheckIn] > 0 {
		return stateWaitCheckIn
	}
	worst := fleet.Ready
	if states[StateOffline] > 0 {
		worst = fleet.Unknown
	}
	for state := range states {
		worst = Worst(worst, fleet.BundleState(state))
	}
	return string(worst)
}
