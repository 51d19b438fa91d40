package status

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// progress is how far an object is from what it asks for.
type progress struct {
	// stalled says that something does not go on until a user acts, goingOn
	// that something does, and held that the object is not ready, but neither:
	// it is paused, or was changed in the cluster.
	stalled, goingOn, held bool
	// unknown says that all is well but for clusters that are offline.
	unknown bool
	// reason and message say what; they are empty where all is well.
	reason, message string
}

// progress derives it from the worst state of the summary, whose list is
// complete.
func (s *summary) progress(kind string) progress {
	if s.allReady() {
		return progress{}
	}
	message := ReadyMessage(s.BundleSummary, kind)
	if s.worst == fleet.Unknown {
		return progress{unknown: true, reason: fleet.ReasonClustersOffline, message: message}
	}
	return progress{
		stalled: s.ErrApplied > 0,
		goingOn: s.WaitApplied+s.Pending+s.NotReady > 0,
		held:    true,
		reason:  string(s.worst),
		message: message,
	}
}

// progress writes Ready, Reconciling and Stalled the way that kstatus reads
// them.
func (w writer) progress(p progress) {
	ready, reason := metav1.ConditionTrue, reasonReady
	switch {
	case p.stalled || p.goingOn || p.held:
		ready, reason = metav1.ConditionFalse, p.reason
	case p.unknown:
		ready, reason = metav1.ConditionUnknown, p.reason
	}
	w.set(fleet.ConditionReady, ready, reason, p.message)
	w.abnormal(fleet.ConditionReconciling, p.goingOn, p.reason, p.message)
	w.abnormal(fleet.ConditionStalled, p.stalled, p.reason, p.message)
}
