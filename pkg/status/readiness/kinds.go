package readiness

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

const (
	conditionTrue  = "True"
	conditionFalse = "False"
)

// failureMessages returns what the conditions of a workload say about why it
// does not get there: what kstatus leaves out, such as a quota that is used up.
func failureMessages(o *unstructured.Unstructured) []string {
	var messages []string
	for _, c := range conditionsOf(o) {
		switch {
		case c.status == conditionTrue && slices.Contains([]string{"ReplicaFailure", "Failed", "Stalled"}, c.kind),
			c.kind == "Progressing" && c.status == conditionFalse && c.reason == "ProgressDeadlineExceeded":
			messages = append(messages, c.text())
		}
	}
	return messages
}

// ofConditions judges an object of a kind that nothing more is known of.
func ofConditions(o *unstructured.Unstructured) fleet.ResourceSummary {
	if failures := failureMessages(o); len(failures) > 0 {
		return failed(failures...)
	}
	var pending []string
	for _, c := range conditionsOf(o) {
		if c.status != conditionTrue && c.status != "" && expectedTrue(c.kind) {
			pending = append(pending, c.text())
		}
	}
	if len(pending) > 0 {
		return updating(StateUpdating, pending...)
	}
	return fleet.ResourceSummary{State: StateReady}
}

// expectedTrue says whether a condition, of any kind of object, is one that is
// true once the object does what it is for.
func expectedTrue(kind string) bool {
	return slices.Contains([]string{
		"Active", "Available", "Completed", "Deployed", "Initialized", "Installed", "Provisioned", "Ready", "Reconciled",
	}, kind)
}

// ofPod judges a pod. One that waits for a node, or for its image, waits for as
// long as it takes; only what nobody but a user can change is an error.
func ofPod(o *unstructured.Unstructured) fleet.ResourceSummary {
	phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	message, _, _ := unstructured.NestedString(o.Object, "status", "message")
	reason, _, _ := unstructured.NestedString(o.Object, "status", "reason")
	conditions := conditionsOf(o)
	switch phase {
	case "Succeeded":
		return fleet.ResourceSummary{State: StateReady}
	case "Failed":
		return failed("the pod has failed", cmp.Or(message, reason))
	case "Running":
		if slices.ContainsFunc(conditions, func(c condition) bool { return c.kind == "Ready" && c.status == conditionTrue }) {
			return fleet.ResourceSummary{State: StateReady}
		}
	}
	if stuck := stuckContainers(o); len(stuck) > 0 {
		return failed(stuck...)
	}
	messages := []string{"the pod is " + cmp.Or(phase, "not yet seen by a node")}
	for _, c := range conditions {
		if c.kind == "PodScheduled" && c.status == conditionFalse {
			messages = append(messages, c.text())
		}
	}
	return updating(StateUpdating, messages...)
}

// stuckContainers returns a message for each container that waits for a reason
// that time alone seldom heals.
func stuckContainers(o *unstructured.Unstructured) []string {
	var messages []string
	for _, field := range []string{"initContainerStatuses", "containerStatuses"} {
		list, _, _ := unstructured.NestedFieldNoCopy(o.Object, "status", field)
		items, _ := list.([]any)
		for _, item := range items {
			container, _ := item.(map[string]any)
			reason, _, _ := unstructured.NestedString(container, "state", "waiting", "reason")
			if !slices.Contains([]string{
				"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName",
				"CreateContainerConfigError", "CreateContainerError", "RunContainerError",
			}, reason) {
				continue
			}
			message, _, _ := unstructured.NestedString(container, "state", "waiting", "message")
			name, _, _ := unstructured.NestedString(container, "name")
			text := fmt.Sprintf("container %s: %s", name, reason)
			if message != "" {
				text += ": " + message
			}
			messages = append(messages, text)
		}
	}
	return messages
}
