package status_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func at(second int) metav1.Time {
	return metav1.NewTime(time.Date(2026, 11, 21, 5, 0, second, 0, time.FixedZone("elsewhere", 3600)))
}

const (
	time1 = "2026-11-21T04:00:01Z"
	time2 = "2026-11-21T04:00:02Z"
)

func TestSet(t *testing.T) {
	ready := fleet.Condition{Type: "Ready", Status: "True", Reason: "Fine", Message: "m", ObservedGeneration: 3}
	stored := func(change func(*fleet.Condition)) fleet.Condition {
		c := ready
		c.LastTransitionTime, c.LastUpdateTime = time1, time1
		if change != nil {
			change(&c)
		}
		return c
	}
	tests := []struct {
		name    string
		given   fleet.Condition
		want    fleet.Condition
		changed bool
	}{
		{name: "the same again", given: ready, want: stored(nil)},
		{
			name:    "times that are given do not count",
			given:   stored(func(c *fleet.Condition) { c.LastUpdateTime = "never" }),
			want:    stored(nil),
			changed: false,
		},
		{
			name:    "another message moves the update alone",
			given:   fleet.Condition{Type: "Ready", Status: "True", Reason: "Fine", Message: "n", ObservedGeneration: 3},
			want:    stored(func(c *fleet.Condition) { c.Message, c.LastUpdateTime = "n", time2 }),
			changed: true,
		},
		{
			name:    "another generation is a change",
			given:   fleet.Condition{Type: "Ready", Status: "True", Reason: "Fine", Message: "m", ObservedGeneration: 4},
			want:    stored(func(c *fleet.Condition) { c.ObservedGeneration, c.LastUpdateTime = 4, time2 }),
			changed: true,
		},
		{
			name:  "another status moves both",
			given: fleet.Condition{Type: "Ready", Status: "False", Reason: "Fine", Message: "m", ObservedGeneration: 3},
			want: stored(func(c *fleet.Condition) {
				c.Status, c.LastUpdateTime, c.LastTransitionTime = "False", time2, time2
			}),
			changed: true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conditions := []fleet.Condition{{Type: "Accepted", Status: "True"}}
			if !status.Set(&conditions, ready, at(1)) {
				t.Fatal("a new condition is no change")
			}
			if got := status.Set(&conditions, tt.given, at(2)); got != tt.changed {
				t.Errorf("Set() = %v", got)
			}
			if diff := cmp.Diff([]fleet.Condition{{Type: "Accepted", Status: "True"}, tt.want}, conditions); diff != "" {
				t.Errorf("conditions differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConditionsAreSorted(t *testing.T) {
	var conditions []fleet.Condition
	for _, kind := range []string{"Ready", "Accepted", "Stalled", "Installed"} {
		status.Set(&conditions, fleet.Condition{Type: kind, Status: "True"}, at(1))
	}
	var kinds []string
	for _, c := range conditions {
		kinds = append(kinds, c.Type)
	}
	if diff := cmp.Diff([]string{"Accepted", "Installed", "Ready", "Stalled"}, kinds); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestGetIsTrueRemove(t *testing.T) {
	conditions := []fleet.Condition{{Type: "A", Status: "True"}, {Type: "B", Status: "False"}, {Type: "C", Status: "Unknown"}}
	if c := status.Get(conditions, "B"); c == nil || c.Status != "False" {
		t.Errorf("Get(B) = %v", c)
	}
	if c := status.Get(conditions, "X"); c != nil {
		t.Errorf("Get(X) = %v", c)
	}
	for kind, want := range map[string]bool{"A": true, "B": false, "C": false, "X": false} {
		if got := status.IsTrue(conditions, kind); got != want {
			t.Errorf("IsTrue(%s) = %v", kind, got)
		}
	}
	if !status.Remove(&conditions, "B") || status.Remove(&conditions, "B") || len(conditions) != 2 {
		t.Errorf("after Remove(B): %v", conditions)
	}
}

func TestSetNotImplemented(t *testing.T) {
	var conditions []fleet.Condition
	if !status.SetNotImplemented(&conditions, "HelmOp", 7, at(1)) {
		t.Error("the first time is no change")
	}
	if status.SetNotImplemented(&conditions, "HelmOp", 7, at(2)) {
		t.Error("the second time is a change")
	}
	want := []fleet.Condition{{
		Type: "Accepted", Status: "False", Reason: "NotImplemented", ObservedGeneration: 7,
		Message:            "this version does not act on the kind HelmOp; nothing happens because of this object",
		LastTransitionTime: time1, LastUpdateTime: time1,
	}}
	if diff := cmp.Diff(want, conditions); diff != "" {
		t.Errorf("conditions differ (-want +got):\n%s", diff)
	}
}
