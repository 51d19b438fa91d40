package ownership

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func TestSuccession(t *testing.T) {
	leaving := func(uid types.UID, succeeds string, conditions ...fleet.Condition) *fleet.BundleDeployment {
		bd := &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{UID: uid, Annotations: map[string]string{names.AnnotationSucceeds: succeeds}}}
		bd.Status.Conditions = conditions
		deleted(&bd.ObjectMeta)
		return bd
	}
	present := leaving("u1", "")
	present.DeletionTimestamp = nil
	tests := []struct {
		name string
		bd   *fleet.BundleDeployment
		want string
	}{
		{"not leaving", present, ""},
		{"the first", leaving("u1", ""), "u1"},
		{"one of a line", leaving("u3", "u2,u1"), "u3,u2,u1"},
		{"a line that somebody has written with spaces", leaving("u3", " u2, ,u1 "), "u3,u2,u1"},
		{"its agent waits", leaving("u1", "", fleet.Condition{Type: fleet.ConditionRemoved, Status: "False", Reason: "WaitingForDependents"}), "u1"},
		{"its agent has begun", leaving("u1", "", fleet.Condition{Type: fleet.ConditionRemoved, Status: "False", Reason: fleet.ReasonUninstalling}), ""},
		{"its agent is done", leaving("u1", "", fleet.Condition{Type: fleet.ConditionRemoved, Status: "True"}), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Succession(tt.bd); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// However often it goes on, the line stays short, and the newest are in it.
func TestSuccessionIsBounded(t *testing.T) {
	line := ""
	for i := range 100 {
		bd := &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{
			UID: types.UID(fmt.Sprint("u", i)), Annotations: map[string]string{names.AnnotationSucceeds: line},
		}}
		deleted(&bd.ObjectMeta)
		line = Succession(bd)
	}
	if n := strings.Count(line, ",") + 1; n != maxPredecessors || !strings.HasPrefix(line, "u99,u98,") {
		t.Errorf("%d predecessors: %s", n, line)
	}
	long := map[string]string{names.AnnotationSucceeds: strings.Repeat("x,", 1000)}
	if n := len(Predecessors(long)); n != maxPredecessors {
		t.Errorf("%d predecessors are read", n)
	}
}

func TestSucceeds(t *testing.T) {
	line := map[string]string{names.AnnotationSucceeds: "u2,u1"}
	for recorded, want := range map[types.UID]bool{"u3": true, "u2": true, "u1": true, "u0": false, "": false} {
		if got := Succeeds("u3", line, recorded); got != want {
			t.Errorf("%q: %t", recorded, got)
		}
	}
	if Succeeds("u3", nil, "u2") {
		t.Error("without a line nothing is succeeded")
	}
}
