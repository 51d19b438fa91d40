package status

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Target is a cluster that a bundle should be deployed to.
type Target struct {
	// Cluster is "namespace/name".
	Cluster string
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
		cluster := bd.Labels[names.LabelClusterNamespace] + "/" + bd.Labels[names.LabelCluster]
		if bd.DeletionTimestamp != nil {
			removing = append(removing, cluster)
			continue
		}
		staying[cluster] = bd
	}
	status.Unavailable = 0
	for _, t := range f.Targets {
		bd := staying[t.Cluster]
		if bd != nil && (!bd.Status.Ready || bd.Status.AppliedDeploymentID != bd.Spec.DeploymentID) {
			status.Unavailable++
		}
		switch {
		case t.Invalid:
			sum.add(item{name: t.Cluster, state: fleet.ErrApplied, message: clean(t.Held, maxItem), bd: bd})
		case bd == nil:
			sum.add(item{name: t.Cluster, state: fleet.Pending, message: clean(t.Held, maxItem)})
		default:
			sum.add(itemOf(t.Cluster, bd))
		}
	}
	status.MaxUnavailable = len(f.Targets)
	return sum, removing
}

// progress is how far an object is from what it asks for.
type progress struct {
	// stalled says that nothing goes on until a user acts, going on that
	// something does; reason and message say what.
	stalled, goingOn bool
	reason, message  string
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
	p := progress{reason: string(s.worst), message: ReadyMessage(s.BundleSummary, kind)}
	p.stalled = s.worst == fleet.ErrApplied
	p.goingOn = !p.stalled
	return p
}

// progress writes Ready, Reconciling and Stalled the way that kstatus reads
// them.
func (w writer) progress(p progress) {
	ready, reason := metav1.ConditionTrue, reasonReady
	if p.stalled || p.goingOn {
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
