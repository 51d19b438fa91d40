package status_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func TestDeploymentState(t *testing.T) {
	deployed := func(s metav1.ConditionStatus) []fleet.Condition {
		return []fleet.Condition{{Type: fleet.ConditionDeployed, Status: s}}
	}
	tests := []struct {
		name                     string
		staged, current, applied string
		ready, nonModified       bool
		conditions               []fleet.Condition
		want                     fleet.BundleState
	}{
		{name: "as it should be", staged: "a", current: "a", applied: "a", ready: true, nonModified: true, want: fleet.Ready},
		{name: "nothing applied", staged: "a", current: "a", want: fleet.WaitApplied},
		{name: "something older applied", staged: "b", current: "b", applied: "a", ready: true, nonModified: true, want: fleet.WaitApplied},
		{name: "applying failed", staged: "b", current: "b", applied: "a", conditions: deployed("False"), want: fleet.ErrApplied},
		{name: "not known whether applying failed", staged: "b", current: "b", applied: "a", conditions: deployed("Unknown"), want: fleet.WaitApplied},
		{name: "a failure of long ago", staged: "a", current: "a", applied: "a", ready: true, nonModified: true, conditions: deployed("False"), want: fleet.Ready},
		{name: "not ready", staged: "a", current: "a", applied: "a", nonModified: true, want: fleet.NotReady},
		{name: "not ready comes before out of sync and modified", staged: "b", current: "a", applied: "a", want: fleet.NotReady},
		{name: "something newer is held back", staged: "b", current: "a", applied: "a", ready: true, nonModified: true, want: fleet.OutOfSync},
		{name: "out of sync comes before modified", staged: "b", current: "a", applied: "a", ready: true, want: fleet.OutOfSync},
		{name: "modified", staged: "a", current: "a", applied: "a", ready: true, want: fleet.Modified},
		{name: "held back from the start", staged: "a", want: fleet.WaitApplied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bd := &fleet.BundleDeployment{}
			bd.Spec.StagedDeploymentID, bd.Spec.DeploymentID = tt.staged, tt.current
			bd.Status = fleet.BundleDeploymentStatus{
				AppliedDeploymentID: tt.applied, Ready: tt.ready, NonModified: tt.nonModified, Conditions: tt.conditions,
			}
			if got := status.DeploymentState(bd); got != tt.want {
				t.Errorf("DeploymentState() = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestWorst(t *testing.T) {
	order := []fleet.BundleState{
		fleet.ErrApplied, fleet.WaitApplied, fleet.Modified, fleet.OutOfSync, fleet.Pending, fleet.NotReady, fleet.Unknown, fleet.Ready, "",
	}
	for i, worse := range order {
		for _, better := range order[i:] {
			if got := status.Worst(worse, better); got != worse {
				t.Errorf("Worst(%s, %s) = %s", worse, better, got)
			}
			if got := status.Worst(better, worse); got != worse {
				t.Errorf("Worst(%s, %s) = %s", better, worse, got)
			}
		}
	}
	if status.Rank(fleet.WaitingForDependency) != status.Rank(fleet.WaitApplied) {
		t.Error("waiting for a dependency is not waiting")
	}
}
