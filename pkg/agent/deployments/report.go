package deployments

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// Bounds of what a status holds.
const (
	maxListed    = 10
	maxResources = 500
	maxLines     = 4
)

// Reasons of conditions.
const (
	ReasonDeployed     = "Deployed"
	ReasonDeploying    = "Deploying"
	ReasonFailed       = "Failed"
	ReasonInstalled    = "Installed"
	ReasonNotInstalled = "NotInstalled"
	ReasonMonitored    = "Monitored"
	ReasonCannotWatch  = "CannotWatch"
	ReasonCorrected    = "Corrected"
	ReasonBadPatch     = "BadComparePatch"
	ReasonRemoved      = "Removed"
	ReasonRefused      = "Refused"
)

// Verdict is what is to be said in one condition.
type Verdict struct {
	Status  metav1.ConditionStatus
	Reason  string
	Message string
}

// Report is what came of a decision.
type Report struct {
	// Deployed is what to say of the deployment; nil leaves what was said.
	Deployed *Verdict
	// Applied says that the release is what the deployment asks for now.
	Applied bool
	// CopiesLost says that what is copied from the hub is not, or not all, in the cluster.
	CopiesLost bool
	// Release is the deployment's release, nil if it has none. Seen are its objects, in the release's order.
	Release *release.Release
	Seen    []Observation
	// Extra are objects with the marks of the deployment that its release does not list.
	Extra []Observation
	// Corrected says what drift was corrected just now, Problem what of diff.comparePatches cannot be understood.
	Corrected, Problem string
	// Unwatched says why changes of some objects might go unnoticed; it is empty if none can.
	Unwatched string
	// Removed is what to say of the removal of a deployment that is marked for deletion.
	Removed *Verdict
}

// statusOf returns the status of a deployment that the report makes of the one
// it has. Nothing in it changes, no time either, if there is nothing new.
func statusOf(bd *fleet.BundleDeployment, r Report, now metav1.Time) fleet.BundleDeploymentStatus {
	after := bd.DeepCopy()
	s := &after.Status
	set := func(kind string, v Verdict) {
		status.Set(&s.Conditions, fleet.Condition{
			Type: kind, Status: v.Status, Reason: v.Reason, Message: v.Message, ObservedGeneration: bd.Generation,
		}, now)
	}
	if r.Removed != nil && r.Removed.Status != metav1.ConditionTrue {
		// What was last seen of the objects is left as it is until they are gone. A removal that has begun is never said
		// not to have.
		verdict := *r.Removed
		if begun(s) {
			verdict.Reason = fleet.ReasonUninstalling
		}
		set(fleet.ConditionRemoved, verdict)
		return after.Status
	}
	if r.Deployed != nil {
		set(fleet.ConditionDeployed, *r.Deployed)
	}
	if r.Applied {
		s.AppliedDeploymentID = bd.Spec.DeploymentID
		s.DownstreamResourcesGeneration = bd.Spec.DownstreamResourcesGeneration
		if r.CopiesLost {
			s.DownstreamResourcesGeneration = 0
		}
		if generation := bd.Spec.Options.ForceSyncGeneration; generation != 0 {
			s.SyncGeneration = &generation
		}
	}
	released := s.Release
	listObjects(s, r)
	set(fleet.ConditionInstalled, installed(r))
	if !stillCorrected(s, r, released) {
		set(fleet.ConditionMonitored, monitored(r))
	}
	set(fleet.ConditionReady, ready(after, r))
	if r.Removed != nil {
		set(fleet.ConditionRemoved, *r.Removed)
	}
	s.Display = fleet.BundleDeploymentDisplay{
		Deployed:  display(s.Conditions, fleet.ConditionDeployed),
		Monitored: display(s.Conditions, fleet.ConditionMonitored),
		State:     string(status.DeploymentState(after)),
	}
	return after.Status
}

// listObjects writes what was seen of the objects of the release.
func listObjects(s *fleet.BundleDeploymentStatus, r Report) {
	s.Release, s.Ready, s.NonModified = "", false, true
	s.NonReadyStatus, s.ModifiedStatus, s.Resources, s.IncompleteState = nil, nil, nil, false
	s.ResourceCounts = fleet.ResourceCounts{}
	if r.Release == nil {
		return
	}
	s.Release = names.Release(r.Release.Key.Namespace, r.Release.Key.Name, r.Release.Revision)
	s.Ready = true
	s.ResourceCounts.DesiredReady = len(r.Seen)
	for _, seen := range r.Seen {
		count(&s.ResourceCounts, seen)
		if n, ok := seen.nonReady(); ok {
			s.Ready = false
			s.NonReadyStatus = append(s.NonReadyStatus, n)
		}
		if m, ok := seen.modified(); ok {
			s.NonModified = false
			s.ModifiedStatus = append(s.ModifiedStatus, m)
		}
		s.Resources = append(s.Resources, fleet.BundleDeploymentResource{
			Kind: seen.Object.Kind, APIVersion: seen.Object.GroupVersion().String(),
			Namespace: seen.Object.Namespace, Name: seen.Object.Name, CreatedAt: seen.CreatedAt,
		})
	}
	for _, extra := range r.Extra {
		if m, ok := extra.modified(); ok {
			s.ResourceCounts.Orphaned++
			s.NonModified = false
			s.ModifiedStatus = append(s.ModifiedStatus, m)
		}
	}
	s.IncompleteState = len(s.NonReadyStatus) > maxListed || len(s.ModifiedStatus) > maxListed || len(s.Resources) > maxResources
	s.NonReadyStatus, s.ModifiedStatus = first(s.NonReadyStatus, maxListed), first(s.ModifiedStatus, maxListed)
	s.Resources = first(s.Resources, maxResources)
}

func count(counts *fleet.ResourceCounts, seen Observation) {
	switch seen.Health {
	case Healthy:
		if seen.Modified {
			counts.Modified++
			return
		}
		counts.Ready++
	case Progressing, Degraded, Leaving:
		counts.NotReady++
	case Missing:
		counts.Missing++
	case NotOurs:
		counts.Modified++
	case Extra: // no object of the release
	}
}

func installed(r Report) Verdict {
	switch {
	case r.Release == nil:
		return Verdict{metav1.ConditionFalse, ReasonNotInstalled, "there is no release"}
	case r.Release.Status == release.StatusDeployed:
		return Verdict{metav1.ConditionTrue, ReasonInstalled, ""}
	default:
		return Verdict{metav1.ConditionFalse, ReasonNotInstalled, fmt.Sprintf("the release is %s", r.Release.Status)}
	}
}

func monitored(r Report) Verdict {
	switch {
	case r.Release == nil:
		return Verdict{metav1.ConditionUnknown, ReasonNotInstalled, "there is nothing to watch"}
	case r.Unwatched != "":
		return Verdict{metav1.ConditionFalse, ReasonCannotWatch, r.Unwatched}
	case r.Problem != "":
		return Verdict{metav1.ConditionFalse, ReasonBadPatch, r.Problem + "; what it leaves out counts as drift until it is put right"}
	case r.Corrected != "":
		return Verdict{metav1.ConditionTrue, ReasonCorrected, "drift was corrected: " + r.Corrected}
	default:
		return Verdict{metav1.ConditionTrue, ReasonMonitored, ""}
	}
}

// stillCorrected says whether the last correction is to be told of further on:
// until there is something else to tell, or another release.
func stillCorrected(s *fleet.BundleDeploymentStatus, r Report, released string) bool {
	told := status.Get(s.Conditions, fleet.ConditionMonitored)
	return told != nil && told.Reason == ReasonCorrected && told.Status == metav1.ConditionTrue &&
		s.Release == released && monitored(r).Reason == ReasonMonitored
}

// ready computes the condition that sums up all others. bd has its new status
// but for that.
func ready(bd *fleet.BundleDeployment, r Report) Verdict {
	state := status.DeploymentState(bd)
	v := Verdict{Status: metav1.ConditionFalse, Reason: string(state)}
	deployed := status.Get(bd.Status.Conditions, fleet.ConditionDeployed)
	if deployed != nil && deployed.Status != metav1.ConditionTrue {
		v.Message = deployed.Message
		return v
	}
	switch state {
	case fleet.Ready:
		v.Status = metav1.ConditionTrue
	case fleet.OutOfSync:
		// The hub holds something newer back; what runs is ready all the same.
		v.Status, v.Message = metav1.ConditionTrue, "something newer is staged and held back by the hub"
	case fleet.ErrApplied, fleet.WaitApplied, fleet.Pending, fleet.WaitingForDependency:
		v.Message = "waiting to be deployed"
	case fleet.NotReady, fleet.Modified:
		v.Message = troubles(&bd.Status, r)
	case fleet.Unknown: // the hub's word for an agent that is silent
	}
	return v
}

// troubles names the first objects that are not ready or not as applied.
func troubles(s *fleet.BundleDeploymentStatus, r Report) string {
	notes := map[string]string{}
	for _, seen := range r.Seen {
		if m, ok := seen.modified(); ok && seen.Note != "" {
			notes[status.ModifiedMessage(m)] = " (" + seen.Note + ")"
		}
	}
	var lines []string
	for _, m := range s.ModifiedStatus {
		line := status.ModifiedMessage(m)
		lines = append(lines, line+notes[line])
	}
	for _, n := range s.NonReadyStatus {
		lines = append(lines, status.NonReadyMessage(n))
	}
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "; ")
}

// display writes a condition as its column shows it.
func display(conditions []fleet.Condition, kind string) string {
	c := status.Get(conditions, kind)
	switch {
	case c == nil:
		return ""
	case c.Status == metav1.ConditionTrue || c.Message == "":
		return string(c.Status)
	default:
		return string(c.Status) + ": " + c.Message
	}
}

func first[T any](all []T, n int) []T {
	if len(all) > n {
		return all[:n]
	}
	return all
}
