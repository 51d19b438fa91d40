package status

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// States that a cluster shows beside those of its deployments.
const (
	// stateWaitCheckIn: its agent has never reported.
	stateWaitCheckIn = "WaitCheckIn"
	// StateOffline: its agent is away.
	StateOffline = "Offline"
)

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
func ForCluster(f ClusterFacts) fleet.ClusterStatus { return f.status(f.recount()) }

// clusterParts is what the deployments of a cluster add up to.
type clusterParts struct {
	sum *summary
	// readyRepos of repos have nothing here that is not ready.
	readyRepos, repos int
	counts            fleet.ResourceCounts
}

func (f ClusterFacts) status(parts clusterParts) fleet.ClusterStatus {
	status := *f.Cluster.Status.DeepCopy()
	if f.Namespace != "" {
		status.Namespace = f.Namespace
	}
	sum := parts.sum
	sum.list()
	status.Summary, status.ResourceCounts = sum.BundleSummary, parts.counts
	status.ReadyGitRepos, status.DesiredReadyGitRepos = parts.readyRepos, parts.repos
	status.Display = fleet.ClusterDisplay{ReadyBundles: sum.ready(), State: sum.state()}
	w := writer{&status.Conditions, f.Cluster.Generation, f.Now}
	w.result(fleet.ConditionProcessed, f.Processed)
	w.result(fleet.ConditionImported, f.Imported)
	w.progress(f.progress(sum, &status))
	return status
}

// recount adds up all deployments.
func (f ClusterFacts) recount() clusterParts {
	parts := clusterParts{sum: &summary{}}
	repos := map[string]bool{}
	for _, bd := range f.Deployments {
		if bd.DeletionTimestamp != nil {
			continue
		}
		i := clusterItem(bd)
		parts.sum.add(i)
		addCounts(&parts.counts, bd.Status.ResourceCounts)
		if repo := repoOf(bd); repo != "" {
			sofar, seen := repos[repo]
			repos[repo] = i.state == fleet.Ready && (sofar || !seen)
		}
	}
	parts.repos = len(repos)
	for _, ready := range repos {
		if ready {
			parts.readyRepos++
		}
	}
	return parts
}

// clusterItem is a deployment as its cluster counts it.
func clusterItem(bd *fleet.BundleDeployment) item {
	return item{name: bd.Name, state: DeploymentState(bd), message: DeploymentMessage(bd), bd: bd}
}

// repoOf returns the deployment's GitRepo as "namespace/name"; empty if it has
// none.
func repoOf(bd *fleet.BundleDeployment) string {
	repo := bd.Labels[names.LabelRepoName]
	if repo == "" {
		return ""
	}
	return bd.Labels[names.LabelBundleNamespace] + "/" + repo
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
