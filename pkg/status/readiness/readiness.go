// Package readiness judges whether an object of a cluster does what it is for,
// by its status alone.
//
// Kinds of Kubernetes are judged by their counts and phases, all others by
// their conditions, as kstatus has it: ready until the status says otherwise.
// The package is pure: how long an object has been in its state is not its
// concern, so the same object always gets the same verdict.
package readiness

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// The states of an object.
const (
	// StateReady is an object that does what it is for.
	StateReady = "ready"
	// StateUpdating is an object on its way.
	StateUpdating = "updating"
	// StateRemoving is an object that is being deleted.
	StateRemoving = "removing"
	// StateError is an object that does not get there without help.
	StateError = "error"
)

// Bounds of what an object may say about itself, in bytes and lines.
const (
	maxMessage  = 512
	maxMessages = 4
)

// Of returns the verdict on a live object. Conditions of its status that have
// every field of one of ignored do not count.
func Of(live *unstructured.Unstructured, ignored []map[string]string) fleet.ResourceSummary {
	live = withoutIgnored(live, ignored)
	if live.GetDeletionTimestamp() != nil {
		return updating(StateRemoving, "the object is being deleted")
	}
	if isKind(live, "", "Pod") {
		return ofPod(live)
	}
	known := status.GetLegacyConditionsFn(live) != nil
	result, err := status.Compute(live)
	switch {
	case err != nil && known:
		// The text of the error quotes the status.
		return failed("the status is not that of a " + live.GetKind())
	case err != nil || result.Status == status.CurrentStatus && !known:
		return ofConditions(live)
	case result.Status == status.CurrentStatus:
		return fleet.ResourceSummary{State: StateReady}
	case result.Status == status.TerminatingStatus:
		return updating(StateRemoving, result.Message)
	}
	if failures := failureMessages(live); len(failures) > 0 || result.Status == status.FailedStatus {
		return failed(withoutEcho(result.Message, failures)...)
	}
	return updating(StateUpdating, result.Message)
}

// withoutEcho returns the message and the failures, but for the one that is the
// message again under the name of its condition.
func withoutEcho(message string, failures []string) []string {
	failures = slices.DeleteFunc(failures, func(f string) bool { return strings.HasSuffix(f, ": "+message) })
	return append([]string{message}, failures...)
}

// IsReady says whether a verdict is that the object is ready.
func IsReady(s fleet.ResourceSummary) bool { return !s.Error && !s.Transitioning }

// NonReady returns what is reported of an object that is not ready; false if it
// is.
func NonReady(live *unstructured.Unstructured, ignored []map[string]string) (fleet.NonReadyStatus, bool) {
	summary := Of(live, ignored)
	if IsReady(summary) {
		return fleet.NonReadyStatus{}, false
	}
	return fleet.NonReadyStatus{
		UID:        live.GetUID(),
		Kind:       live.GetKind(),
		APIVersion: live.GetAPIVersion(),
		Namespace:  live.GetNamespace(),
		Name:       live.GetName(),
		Summary:    summary,
	}, true
}

func failed(messages ...string) fleet.ResourceSummary {
	return fleet.ResourceSummary{State: StateError, Error: true, Message: bounded(messages)}
}

func updating(state string, messages ...string) fleet.ResourceSummary {
	return fleet.ResourceSummary{State: state, Transitioning: true, Message: bounded(messages)}
}

// bounded returns the messages that say something, each once and not too long.
func bounded(messages []string) []string {
	var result []string
	for _, message := range messages {
		message = strings.Join(strings.Fields(message), " ")
		if len(message) > maxMessage {
			message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
		}
		if message != "" && !slices.Contains(result, message) && len(result) < maxMessages {
			result = append(result, message)
		}
	}
	return result
}

func isKind(o *unstructured.Unstructured, group, kind string) bool {
	gvk := o.GroupVersionKind()
	return gvk.Group == group && gvk.Kind == kind
}

// condition is a condition of an object's status.
type condition struct {
	kind, status, reason, message string
}

// text returns the message, else the reason, under the name of the condition.
func (c condition) text() string {
	return c.kind + ": " + cmp.Or(c.message, c.reason, "is "+c.status)
}

// conditionsOf returns the conditions of a status; what is none is left out.
func conditionsOf(o *unstructured.Unstructured) []condition {
	list, _, _ := unstructured.NestedFieldNoCopy(o.Object, "status", "conditions")
	items, _ := list.([]any)
	var conditions []condition
	for _, item := range items {
		fields, ok := item.(map[string]any)
		if !ok {
			continue
		}
		field := func(name string) string { text, _ := fields[name].(string); return text }
		conditions = append(conditions, condition{
			kind: field("type"), status: field("status"), reason: field("reason"), message: field("message"),
		})
	}
	return conditions
}

// withoutIgnored returns the object without the conditions that do not count.
func withoutIgnored(o *unstructured.Unstructured, ignored []map[string]string) *unstructured.Unstructured {
	list, _, _ := unstructured.NestedFieldNoCopy(o.Object, "status", "conditions")
	items, ok := list.([]any)
	if !ok || len(ignored) == 0 {
		return o
	}
	var kept []any
	for _, item := range items {
		if !matchesAny(item, ignored) {
			kept = append(kept, item)
		}
	}
	if len(kept) == len(items) {
		return o
	}
	// Only the way to the conditions is new: the object itself belongs to a cache.
	changed := &unstructured.Unstructured{Object: shallow(o.Object)}
	fields := shallow(o.Object["status"].(map[string]any))
	fields["conditions"] = kept
	changed.Object["status"] = fields
	return changed
}

func shallow(fields map[string]any) map[string]any {
	copied := make(map[string]any, len(fields))
	for key, value := range fields {
		copied[key] = value
	}
	return copied
}

// matchesAny says whether a condition has every field of one of the patterns. An
// empty pattern matches nothing.
func matchesAny(item any, patterns []map[string]string) bool {
	fields, ok := item.(map[string]any)
	return ok && slices.ContainsFunc(patterns, func(pattern map[string]string) bool {
		for name, want := range pattern {
			if have, ok := fields[name].(string); !ok || have != want {
				return false
			}
		}
		return len(pattern) > 0
	})
}
