package status

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Target is a cluster that a bundle should be deployed to.
type Target struct {
	// Cluster is "namespace/name".
	Cluster string
	// DeploymentID is what its deployment should run next; empty if that is not
	// known. Until the deployment says so, it is not up to date.
	DeploymentID string
	// Held says why its deployment was not written; empty if it was.
	Held string
	// Invalid says that the reason needs a user: the bundle's options do not
	// hold on this cluster.
	Invalid bool
}

// BundleFacts are what the status of a Bundle follows from.
type BundleFacts struct {
	Bundle *fleet.Bundle
	// Deployments are all of the bundle's, also those being removed.
	Deployments []*fleet.BundleDeployment
	// Targets are the clusters that the targets match, as of Generation. Known
	// is false until they were computed once.
	Known      bool
	Generation int64
	Targets    []Target
	// Problems are what is wrong with the bundle or its targets; Err is what
	// failed when its deployments were last written.
	Problems []string
	Err      string
	// ResourcesSHA256 is the digest of spec.resources.
	ResourcesSHA256 string
	Now             metav1.Time
}

// ForBundle returns the status of the bundle.
func ForBundle(f BundleFacts) fleet.BundleStatus {
	status := *f.Bundle.Status.DeepCopy()
	if !f.Known {
		return status
	}
	status.ObservedGeneration = f.Generation
	status.ResourcesSHA256Sum = f.ResourcesSHA256
	sum, removing := f.summarize(&status)
	status.Summary = sum.BundleSummary
	status.Display = fleet.BundleDisplay{ReadyClusters: sum.ready(), State: sum.state()}
	w := writer{&status.Conditions, f.Generation, f.Now}
	progress := f.progress(sum)
	w.progress(progress)
	setRemoving(w, removing)
	return status
}

// summarize counts the deployments that are to stay, and names the clusters of
// those that are being removed.
func (f BundleFacts) summarize(status *fleet.BundleStatus) (*summary, []string) {
	sum := &summary{}
	var removing []string
	staying := map[string]*fleet.BundleDeployment{}
	for _, bd := range f.Deployments {
		cluster := clusterOf(bd)
		if bd.DeletionTimestamp != nil {
			removing = append(removing, cluster)
			continue
		}
		staying[cluster] = bd
	}
	status.Unavailable = 0
	for _, t := range f.Targets {
		bd := staying[t.Cluster]
		delete(staying, t.Cluster)
		if bd != nil && unavailable(bd) {
			status.Unavailable++
		}
		switch {
		case t.Invalid:
			sum.add(item{name: t.Cluster, state: fleet.ErrApplied, message: clean(t.Held, maxItem), bd: bd})
		case bd == nil:
			sum.add(item{name: t.Cluster, state: fleet.Pending, message: clean(t.Held, maxItem)})
		default:
			sum.add(itemOf(t.Cluster, bd).behind(t.DeploymentID != "" && bd.Spec.StagedDeploymentID != t.DeploymentID))
		}
	}
	// What no target asks for and nobody removes is there all the same: it is
	// kept while the targets are in doubt.
	for cluster, bd := range staying {
		sum.add(itemOf(cluster, bd))
	}
	status.MaxUnavailable = len(f.Targets)
	status.PartitionStatus = nil
	if len(f.Targets) > 0 {
		counts := sum.BundleSummary
		counts.NonReadyResources = nil
		status.PartitionStatus = []fleet.PartitionStatus{{
			Name: partitionAll, Count: len(f.Targets), MaxUnavailable: len(f.Targets), Unavailable: status.Unavailable, Summary: counts,
		}}
	}
	return sum, removing
}

// partitionAll is the name of the partition of a bundle that has no others.
const partitionAll = "All"

func unavailable(bd *fleet.BundleDeployment) bool {
	return !bd.Status.Ready || bd.Status.AppliedDeploymentID != bd.Spec.DeploymentID
}

// progress is how far an object is from what it asks for.
type progress struct {
	// stalled says that something does not go on until a user acts, goingOn
	// that something does, and held that the object is not ready, but neither:
	// it is paused, or was changed in the cluster.
	stalled, goingOn, held bool
	// reason and message say what; they are empty where all is well.
	reason, message string
}

func (f BundleFacts) progress(sum *summary) progress {
	switch {
	case f.Bundle.DeletionTimestamp != nil:
		return progress{goingOn: true, reason: "Deleting", message: "the bundle is being deleted"}
	case len(f.Problems) > 0:
		return progress{stalled: true, reason: reasonInvalid, message: strings.Join(first(f.Problems, maxNonReady), "; ")}
	case f.Err != "":
		return progress{goingOn: true, reason: "WriteFailed", message: f.Err}
	}
	return sum.progress("Cluster")
}

// progress derives it from the worst state of the summary.
func (s *summary) progress(kind string) progress {
	if s.allReady() {
		return progress{}
	}
	return progress{
		stalled: s.ErrApplied > 0,
		goingOn: s.WaitApplied+s.Pending+s.NotReady > 0,
		held:    true,
		reason:  string(s.worst),
		message: ReadyMessage(s.BundleSummary, kind),
	}
}

// progress writes Ready, Reconciling and Stalled the way that kstatus reads
// them.
func (w writer) progress(p progress) {
	ready, reason := metav1.ConditionTrue, reasonReady
	if p.stalled || p.goingOn || p.held {
		ready, reason = metav1.ConditionFalse, p.reason
	}
	w.set(fleet.ConditionReady, ready, reason, p.message)
	w.abnormal(fleet.ConditionReconciling, p.goingOn, p.reason, p.message)
	w.abnormal(fleet.ConditionStalled, p.stalled, p.reason, p.message)
}

// setRemoving shows the deployments whose agents have not confirmed yet.
func setRemoving(w writer, clusters []string) {
	slices.Sort(clusters)
	message := fmt.Sprintf("%d to confirm: %s", len(clusters), strings.Join(first(clusters, maxNames), ", "))
	if len(clusters) > maxNames {
		message += ", …"
	}
	w.abnormal(fleet.ConditionRemoving, len(clusters) > 0, fleet.ReasonWaitingForAgents, message)
}
