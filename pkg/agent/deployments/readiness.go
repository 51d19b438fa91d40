package deployments

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/release"
	"github.com/flotilla-gitops/flotilla/pkg/status/readiness"
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
	// Extra: the object bears the marks of the deployment, but its release does not list it.
	Extra Health = "Extra"
)

// Observation is what was seen of an object of a release.
type Observation struct {
	Object  release.Object
	Health  Health
	Message string
	// Modified says that the object is not as its release asks for it, and Patch shows what would restore it. Note says
	// why it is not restored.
	Modified    bool
	Patch, Note string
	// Ignored says that nobody wants to know whether the object is as it was applied.
	Ignored bool
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
	summary := readiness.Of(live, ignored)
	seen.Message = strings.Join(summary.Message, ", ")
	switch {
	case readiness.IsReady(summary):
		seen.Health, seen.Message = Healthy, ""
	case summary.State == readiness.StateRemoving:
		seen.Health = Leaving
	case summary.Error:
		seen.Health = Degraded
	default:
		seen.Health = Progressing
	}
	return seen
}

// nonReady returns what the hub is told of an object that is there and not
// ready; false if it is ready, or not there.
func (o Observation) nonReady() (fleet.NonReadyStatus, bool) {
	summary := fleet.ResourceSummary{}
	switch o.Health {
	case Healthy, Missing, NotOurs, Extra:
		return fleet.NonReadyStatus{}, false
	case Progressing:
		summary.State, summary.Transitioning = readiness.StateUpdating, true
	case Leaving:
		summary.State, summary.Transitioning = readiness.StateRemoving, true
	case Degraded:
		summary.State, summary.Error = readiness.StateError, true
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
	m := fleet.ModifiedStatus{
		Kind: o.Object.Kind, APIVersion: o.Object.GroupVersion().String(),
		Namespace: o.Object.Namespace, Name: o.Object.Name,
	}
	switch {
	case o.Ignored:
		return m, false
	case o.Health == Missing, o.Health == NotOurs:
		m.Create, m.Exist = true, o.Health == NotOurs
	case o.Health == Extra:
		m.Delete = true
	case o.Modified:
		m.Patch = o.Patch
	default:
		return m, false
	}
	return m, true
}
