package deployments

import (
	"fmt"
	"slices"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// Health is how an object of a release fares.
type Health string

const (
	// Healthy: the object is there and does what it is for.
	Healthy Health = "Healthy"
	// Progressing: the object is on its way.
	Progressing Health = "Progressing"
	// Degraded: the object will not get there without help.
	Degraded Health = "Degraded"
	// Leaving: the object is being deleted, though its release lists it.
	Leaving Health = "Leaving"
	// Missing: the release lists the object, but it is not there.
	Missing Health = "Missing"
	// NotOurs: the object is there, but belongs to somebody else.
	NotOurs Health = "NotOurs"
)

// Observation is what was seen of an object of a release.
type Observation struct {
	Object  release.Object
	Health  Health
	Message string
	// UID, Version and CreatedAt are those of the live object.
	UID       types.UID
	Version   string
	CreatedAt metav1.Time
}

// observe judges a live object of a release; nil is one that does not exist.
// Conditions that match one of ignored do not count.
func observe(object release.Object, live *unstructured.Unstructured, key release.Key, ignored []map[string]string) Observation {
	seen := Observation{Object: object}
	if live == nil {
		seen.Health, seen.Message = Missing, "it does not exist"
		return seen
	}
	seen.UID, seen.Version, seen.CreatedAt = live.GetUID(), live.GetResourceVersion(), live.GetCreationTimestamp()
	if !release.Holds(key, live) {
		seen.Health, seen.Message = NotOurs, "it belongs to another release"
		return seen
	}
	result, err := status.Compute(withoutIgnored(live, ignored))
	if err != nil {
		seen.Health, seen.Message = Degraded, fmt.Sprintf("its status cannot be read: %v", err)
		return seen
	}
	seen.Message = result.Message
	switch result.Status {
	case status.CurrentStatus:
		seen.Health, seen.Message = Healthy, ""
	case status.FailedStatus:
		seen.Health = Degraded
	case status.TerminatingStatus:
		seen.Health, seen.Message = Leaving, "it is being deleted"
	case status.InProgressStatus, status.NotFoundStatus, status.UnknownStatus:
		seen.Health = Progressing
	}
	return seen
}

// withoutIgnored returns the object without the conditions that do not count.
func withoutIgnored(live *unstructured.Unstructured, ignored []map[string]string) *unstructured.Unstructured {
	if len(ignored) == 0 {
		return live
	}
	conditions, found, err := unstructured.NestedSlice(live.Object, "status", "conditions")
	if err != nil || !found {
		return live
	}
	conditions = slices.DeleteFunc(conditions, func(c any) bool {
		fields, ok := c.(map[string]any)
		return ok && slices.ContainsFunc(ignored, func(pattern map[string]string) bool { return matchesAll(fields, pattern) })
	})
	changed := live.DeepCopy()
	if unstructured.SetNestedSlice(changed.Object, conditions, "status", "conditions") != nil {
		return live
	}
	return changed
}

func matchesAll(fields map[string]any, pattern map[string]string) bool {
	for key, want := range pattern {
		if have, ok := fields[key].(string); !ok || have != want {
			return false
		}
	}
	return len(pattern) > 0
}

// nonReady returns what the hub is told of an object that is there and not
// ready; false if it is ready, or not there.
func (o Observation) nonReady() (fleet.NonReadyStatus, bool) {
	summary := fleet.ResourceSummary{}
	switch o.Health {
	case Healthy, Missing, NotOurs:
		return fleet.NonReadyStatus{}, false
	case Progressing:
		summary.State, summary.Transitioning = "updating", true
	case Leaving:
		summary.State, summary.Transitioning = "removing", true
	case Degraded:
		summary.State, summary.Error = "error", true
	}
	if o.Message != "" {
		summary.Message = []string{o.Message}
	}
	return fleet.NonReadyStatus{
		UID: o.UID, Kind: o.Object.Kind, APIVersion: o.Object.GroupVersion().String(),
		Namespace: o.Object.Namespace, Name: o.Object.Name, Summary: summary,
	}, true
}

// modified returns what the hub is told of an object that is not as it was
// applied; false if that is not known of it.
func (o Observation) modified() (fleet.ModifiedStatus, bool) {
	if o.Health != Missing && o.Health != NotOurs {
		return fleet.ModifiedStatus{}, false
	}
	return fleet.ModifiedStatus{
		Kind: o.Object.Kind, APIVersion: o.Object.GroupVersion().String(),
		Namespace: o.Object.Namespace, Name: o.Object.Name,
		Create: true, Exist: o.Health == NotOurs,
	}, true
}
