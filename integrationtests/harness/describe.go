package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// conditionsOf returns the status conditions of any kind; none if it has no such field.
func conditionsOf(obj any) ([]fleet.Condition, error) {
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("encoding object: %w", err)
	}
	var conditioned struct {
		Status struct{ Conditions []fleet.Condition }
	}
	if err := json.Unmarshal(data, &conditioned); err != nil {
		return nil, fmt.Errorf("reading conditions: %w", err)
	}
	return conditioned.Status.Conditions, nil
}

// hasCondition says what is missing until obj has a condition with the type, the status and, where given, the reason of
// want, and with a message that contains the one of want. A condition about an older generation does not count.
func hasCondition(obj metav1.Object, want fleet.Condition) error {
	conditions, err := conditionsOf(obj)
	if err != nil {
		return err
	}
	for _, c := range conditions {
		switch {
		case c.Type != want.Type:
		case c.ObservedGeneration != 0 && c.ObservedGeneration < obj.GetGeneration():
			return fmt.Errorf("condition %s is about generation %d, the object is at %d", c.Type, c.ObservedGeneration, obj.GetGeneration())
		case c.Status != want.Status,
			want.Reason != "" && c.Reason != want.Reason,
			!strings.Contains(c.Message, want.Message):
			return fmt.Errorf("condition %s, want %s", conditionString(c), conditionString(want))
		default:
			return nil
		}
	}
	return fmt.Errorf("no condition %s, want %s", want.Type, conditionString(want))
}

func conditionString(c fleet.Condition) string {
	return fmt.Sprintf("%s=%s reason=%q message=%q", c.Type, c.Status, c.Reason, c.Message)
}

// describe tells what a reader of a failed test asks next: conditions and events of the object.
func (k Kind[T, L]) describe(obj T, found bool) string {
	if !found {
		return "\n  it was never seen"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "\n  generation %d, resourceVersion %s, deletionTimestamp %v, finalizers %q",
		obj.GetGeneration(), obj.GetResourceVersion(), obj.GetDeletionTimestamp(), obj.GetFinalizers())
	conditions, err := conditionsOf(obj)
	if err != nil {
		fmt.Fprintf(&out, "\n  conditions: %v", err)
	}
	for _, c := range conditions {
		fmt.Fprintf(&out, "\n  condition %s", conditionString(c))
	}
	events, err := eventsOf(k.conn, obj)
	if err != nil {
		fmt.Fprintf(&out, "\n  events: %v", err)
	}
	for _, e := range events {
		fmt.Fprintf(&out, "\n  event %s %s: %s", e.Type, e.Reason, e.Message)
	}
	return out.String()
}

// eventsOf lists the events about an object. The test's own context may be over, hence one of its own.
func eventsOf(conn *kube.Connection, obj metav1.Object) ([]corev1.Event, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := conn.Kubernetes.CoreV1().Events(obj.GetNamespace()).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.uid=" + string(obj.GetUID()),
	})
	if err != nil {
		return nil, fmt.Errorf("listing events: %w", err)
	}
	return list.Items, nil
}
