package agents

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func noon() metav1.Time { return metav1.NewTime(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)) }

func deployment(edit func(*fleet.BundleDeployment)) *fleet.BundleDeployment {
	bd := &fleet.BundleDeployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "cluster-1", Generation: 2, Finalizers: []string{names.FinalizerDeployment}},
		Spec:       fleet.BundleDeploymentSpec{DeploymentID: "s-1:2", StagedDeploymentID: "s-1:2"},
	}
	if edit != nil {
		edit(bd)
	}
	return bd
}

// reported is a deployment of which the agent has said everything that there is to say.
func reported(t *testing.T, edit func(*fleet.BundleDeployment)) *fleet.BundleDeployment {
	t.Helper()
	bd := deployment(nil)
	bd.Status = *answer(bd, noon())
	if again := answer(bd, noon()); again != nil {
		t.Fatalf("it is reported once more: %+v", again)
	}
	if edit != nil {
		edit(bd)
	}
	return bd
}

func TestReportIsWhatTheHubTakesForReady(t *testing.T) {
	bd := reported(t, nil)
	if got := status.DeploymentState(bd); got != fleet.Ready {
		t.Errorf("the hub takes it for %s: %+v", got, bd.Status)
	}
	for _, kind := range []string{fleet.ConditionReady, fleet.ConditionDeployed, fleet.ConditionInstalled, fleet.ConditionMonitored} {
		if c := status.Get(bd.Status.Conditions, kind); c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != 2 {
			t.Errorf("condition %s is %+v", kind, c)
		}
	}
}

func TestAgentHasNothingToSay(t *testing.T) {
	for name, bd := range map[string]*fleet.BundleDeployment{
		"without the finalizer": deployment(func(bd *fleet.BundleDeployment) { bd.Finalizers = nil }),
		"nothing to run yet":    deployment(func(bd *fleet.BundleDeployment) { bd.Spec.DeploymentID = "" }),
		"only staged":           reported(t, func(bd *fleet.BundleDeployment) { bd.Spec.StagedDeploymentID = "s-2:2" }),
		"removed and confirmed": reported(t, func(bd *fleet.BundleDeployment) {
			at := noon()
			bd.DeletionTimestamp = &at
			status.Set(&bd.Status.Conditions, fleet.Condition{Type: fleet.ConditionRemoved, Status: metav1.ConditionTrue}, at)
		}),
	} {
		if got := answer(bd, noon()); got != nil {
			t.Errorf("%s: it says %+v", name, got)
		}
	}
}

func TestAgentReportsAnew(t *testing.T) {
	for name, edit := range map[string]func(*fleet.BundleDeployment){
		"new content":     func(bd *fleet.BundleDeployment) { bd.Spec.DeploymentID = "s-2:2" },
		"forced to apply": func(bd *fleet.BundleDeployment) { bd.Spec.Options.ForceSyncGeneration = 7 },
	} {
		bd := reported(t, edit)
		got := answer(bd, noon())
		if got == nil {
			t.Errorf("%s: it says nothing", name)
			continue
		}
		bd.Status = *got
		if again := answer(bd, noon()); again != nil {
			t.Errorf("%s: it says more than once: %+v", name, again)
		}
	}
}

func TestRemovalIsBegunBeforeItIsConfirmed(t *testing.T) {
	at := noon()
	bd := reported(t, func(bd *fleet.BundleDeployment) { bd.DeletionTimestamp = &at })
	var said []string
	for range 5 {
		next := answer(bd, at)
		if next == nil {
			break
		}
		bd.Status = *next
		c := status.Get(next.Conditions, fleet.ConditionRemoved)
		said = append(said, string(c.Status)+" "+c.Reason)
	}
	if diff := cmp.Diff([]string{"False Uninstalling", "True Removed"}, said); diff != "" {
		t.Error(diff)
	}
}
