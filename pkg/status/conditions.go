package status

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Get returns the condition of the given type, or nil.
func Get(conditions []fleet.Condition, kind string) *fleet.Condition {
	for i := range conditions {
		if conditions[i].Type == kind {
			return &conditions[i]
		}
	}
	return nil
}

// IsTrue says whether there is a condition of the type that is True.
func IsTrue(conditions []fleet.Condition, kind string) bool {
	c := Get(conditions, kind)
	return c != nil && c.Status == metav1.ConditionTrue
}

// Set writes the condition, keeping conditions sorted by type, and says whether
// anything changed. Its times follow from now: the transition moves with the
// status, the update with anything.
func Set(conditions *[]fleet.Condition, c fleet.Condition, now metav1.Time) bool {
	stamp := now.UTC().Format(time.RFC3339)
	c.LastTransitionTime, c.LastUpdateTime = stamp, stamp
	have := Get(*conditions, c.Type)
	if have == nil {
		at, _ := slices.BinarySearchFunc(*conditions, c, byType)
		*conditions = slices.Insert(*conditions, at, c)
		return true
	}
	if have.Status == c.Status {
		c.LastTransitionTime = have.LastTransitionTime
		if have.Reason == c.Reason && have.Message == c.Message && have.ObservedGeneration == c.ObservedGeneration {
			return false
		}
	}
	*have = c
	return true
}

// Remove takes the condition away and says whether it was there.
func Remove(conditions *[]fleet.Condition, kind string) bool {
	before := len(*conditions)
	*conditions = slices.DeleteFunc(*conditions, func(c fleet.Condition) bool { return c.Type == kind })
	return len(*conditions) != before
}

// SetNotImplemented says on an object that this version does not act on its
// kind. It says whether anything changed.
func SetNotImplemented(conditions *[]fleet.Condition, kind string, generation int64, now metav1.Time) bool {
	return Set(conditions, fleet.Condition{
		Type: fleet.ConditionAccepted, Status: metav1.ConditionFalse, Reason: fleet.ReasonNotImplemented,
		Message:            "this version does not act on the kind " + kind + "; nothing happens because of this object",
		ObservedGeneration: generation,
	}, now)
}

func byType(a, b fleet.Condition) int {
	if a.Type < b.Type {
		return -1
	}
	if a.Type > b.Type {
		return 1
	}
	return 0
}

// writer sets conditions of one object at one time.
type writer struct {
	conditions *[]fleet.Condition
	generation int64
	now        metav1.Time
}

func (w writer) set(kind string, status metav1.ConditionStatus, reason, message string) {
	Set(w.conditions, fleet.Condition{
		Type: kind, Status: status, Reason: reason, Message: clean(message, maxMessage), ObservedGeneration: w.generation,
	}, w.now)
}

// abnormal sets a condition that is absent while all is well.
func (w writer) abnormal(kind string, is bool, reason, message string) {
	if !is {
		Remove(w.conditions, kind)
		return
	}
	w.set(kind, metav1.ConditionTrue, reason, message)
}
