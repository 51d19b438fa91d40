package status

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// stateWaitCheckIn is what a cluster shows whose agent has never reported.
const stateWaitCheckIn = "WaitCheckIn"

// ClusterFacts are what the roll-up on a Cluster follows from.
type ClusterFacts struct {
	Cluster *fleet.Cluster
	// Deployments are those of the cluster's namespace.
	Deployments []*fleet.BundleDeployment
	// Namespace is the cluster's namespace on the hub, once it is there.
	Namespace string
	// Processed and Imported are what acting on the Cluster came to; nil leaves
	// the condition as it is.
	Processed, Imported *Result
	Now                 metav1.Time
}

// Result is what acting on an object came to.
type Result struct {
	OK bool
	// Reason is one CamelCase word; Message says what to do where it failed.
	Reason, Message string
}

// ForCluster returns the status of the cluster. It leaves what the agent writes
// and the fields that describe the agent's settings alone.
func ForCluster(f ClusterFacts) fleet.ClusterStatus {
	status := *f.Cluster.Status.DeepCopy()
	if f.Namespace != "" {
		status.Namespace = f.Namespace
	}
	sum := &summary{}
	repos := map[string]bool{}
	status.ResourceCounts = fleet.ResourceCounts{}
	for _, bd := range f.Deployments {
		if bd.DeletionTimestamp != nil {
			continue
		}
		i := itemOf(bd.Labels[names.LabelBundleName], bd)
		sum.add(i)
		addCounts(&status.ResourceCounts, bd.Status.ResourceCounts)
		if repo := bd.Labels[names.LabelRepoName]; repo != "" {
			key := bd.Labels[names.LabelBundleNamespace] + "/" + repo
			sofar, seen := repos[key]
			repos[key] = i.state == fleet.Ready && (sofar || !seen)
		}
	}
	status.Summary = sum.BundleSummary
	status.DesiredReadyGitRepos, status.ReadyGitRepos = len(repos), 0
	for _, ready := range repos {
		if ready {
			status.ReadyGitRepos++
		}
	}
	status.Display = fleet.ClusterDisplay{ReadyBundles: sum.ready(), State: sum.state()}
	w := writer{&status.Conditions, f.Cluster.Generation, f.Now}
	w.result(fleet.ConditionProcessed, f.Processed)
	w.result(fleet.ConditionImported, f.Imported)
	w.progress(f.progress(sum, &status))
	return status
}

func (w writer) result(kind string, r *Result) {
	switch {
	case r == nil:
	case r.OK:
		w.set(kind, metav1.ConditionTrue, r.Reason, r.Message)
	default:
		w.set(kind, metav1.ConditionFalse, r.Reason, r.Message)
	}
}

func (f ClusterFacts) progress(sum *summary, status *fleet.ClusterStatus) progress {
	failed := func(kind string) *fleet.Condition {
		if c := Get(status.Conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
			return c
		}
		return nil
	}
	switch {
	case f.Cluster.DeletionTimestamp != nil:
		return progress{goingOn: true, reason: "Deleting", message: "the cluster is being unregistered; its workloads stay"}
	case failed(fleet.ConditionProcessed) != nil:
		c := failed(fleet.ConditionProcessed)
		return progress{stalled: true, reason: c.Reason, message: c.Message}
	case failed(fleet.ConditionImported) != nil:
		c := failed(fleet.ConditionImported)
		return progress{stalled: true, reason: c.Reason, message: c.Message}
	case f.Cluster.Status.Agent.LastSeen.IsZero():
		status.Display.State = stateWaitCheckIn
		return progress{goingOn: true, reason: stateWaitCheckIn, message: "waiting for the cluster's agent to report for the first time"}
	}
	return sum.progress("Bundle")
}

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
func ForClusterGroup(f ClusterGroupFacts) fleet.ClusterGroupStatus {
	status := *f.Group.Status.DeepCopy()
	w := writer{&status.Conditions, f.Group.Generation, f.Now}
	if f.Problem != "" {
		// The last counts stand: what the group holds is not known.
		w.result(fleet.ConditionProcessed, &Result{Reason: reasonInvalid, Message: f.Problem})
		w.progress(progress{stalled: true, reason: reasonInvalid, message: f.Problem})
		return status
	}
	w.result(fleet.ConditionProcessed, &Result{OK: true, Reason: "Processed"})
	f.summarize(&status)
	ready := status.ClusterCount - status.NonReadyClusterCount
	status.Display = fleet.ClusterGroupDisplay{
		ReadyClusters: fmt.Sprintf("%d/%d", ready, status.ClusterCount),
		ReadyBundles:  fmt.Sprintf("%d/%d", status.Summary.Ready, status.Summary.DesiredReady),
		State:         groupState(f.Clusters),
	}
	p := progress{}
	if status.NonReadyClusterCount > 0 {
		p = progress{goingOn: true, reason: "ClustersNotReady", message: fmt.Sprintf("%d of %d clusters are not ready: %s",
			status.NonReadyClusterCount, status.ClusterCount, strings.Join(status.NonReadyClusters, ", "))}
	}
	w.progress(p)
	return status
}

func (f ClusterGroupFacts) summarize(status *fleet.ClusterGroupStatus) {
	status.ClusterCount, status.NonReadyClusterCount, status.NonReadyClusters = len(f.Clusters), 0, nil
	status.Summary, status.ResourceCounts = fleet.BundleSummary{}, fleet.ResourceCounts{}
	var nonReady []string
	for _, c := range f.Clusters {
		addSummary(&status.Summary, c.Status.Summary)
		addCounts(&status.ResourceCounts, c.Status.ResourceCounts)
		if !IsTrue(c.Status.Conditions, fleet.ConditionReady) {
			nonReady = append(nonReady, c.Name)
		}
	}
	slices.Sort(nonReady)
	status.NonReadyClusterCount = len(nonReady)
	status.NonReadyClusters = first(nonReady, maxNames)
}

// addSummary adds the counts of s; its lists stay with the clusters.
func addSummary(into *fleet.BundleSummary, s fleet.BundleSummary) {
	into.NotReady += s.NotReady
	into.WaitApplied += s.WaitApplied
	into.ErrApplied += s.ErrApplied
	into.OutOfSync += s.OutOfSync
	into.Modified += s.Modified
	into.Ready += s.Ready
	into.Pending += s.Pending
	into.Unknown += s.Unknown
	into.DesiredReady += s.DesiredReady
}

func groupState(clusters []*fleet.Cluster) string {
	worst := fleet.Ready
	for _, c := range clusters {
		if c.Status.Display.State == stateWaitCheckIn {
			return stateWaitCheckIn
		}
		worst = Worst(worst, fleet.BundleState(c.Status.Display.State))
	}
	return string(worst)
}
