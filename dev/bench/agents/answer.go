package agents

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// Reasons of the conditions that a played agent sets.
const (
	reasonDeployed  = "Deployed"
	reasonInstalled = "Installed"
	reasonMonitored = "Monitored"
	reasonRemoved   = "Removed"
)

// answer returns the status that an agent reports next on the deployment, or nil if it has nothing to say. Like a real one, a
// played agent installs nothing that does not carry the finalizer, and says that it begins with a removal before it does.
func answer(bd *fleet.BundleDeployment, now metav1.Time) *fleet.BundleDeploymentStatus {
	switch {
	case !slices.Contains(bd.Finalizers, names.FinalizerDeployment):
		return nil
	case bd.DeletionTimestamp != nil:
		return removed(bd, now)
	case bd.Spec.DeploymentID == "" || runs(bd):
		return nil
	default:
		return installed(bd, now)
	}
}

// runs says whether the agent has reported what the deployment asks for.
func runs(bd *fleet.BundleDeployment) bool {
	if bd.Status.AppliedDeploymentID != bd.Spec.DeploymentID {
		return false
	}
	forced := bd.Spec.Options.ForceSyncGeneration
	return forced == 0 || bd.Status.SyncGeneration != nil && *bd.Status.SyncGeneration == forced
}

func removed(bd *fleet.BundleDeployment, now metav1.Time) *fleet.BundleDeploymentStatus {
	begun := status.Get(bd.Status.Conditions, fleet.ConditionRemoved)
	if begun != nil && begun.Status == metav1.ConditionTrue {
		return nil
	}
	next := fleet.Condition{Type: fleet.ConditionRemoved, Status: metav1.ConditionTrue, Reason: reasonRemoved, ObservedGeneration: bd.Generation}
	if begun == nil {
		next.Status, next.Reason, next.Message = metav1.ConditionFalse, fleet.ReasonUninstalling, "uninstalling"
	}
	after := bd.Status.DeepCopy()
	status.Set(&after.Conditions, next, now)
	if next.Status == metav1.ConditionTrue {
		after.Ready, after.Release, after.Resources, after.ResourceCounts = false, "", nil, fleet.ResourceCounts{}
	}
	return after
}

// installed reports a release of one object, which is ready at once.
func installed(bd *fleet.BundleDeployment, now metav1.Time) *fleet.BundleDeploymentStatus {
	after := bd.Status.DeepCopy()
	for kind, reason := range map[string]string{
		fleet.ConditionDeployed: reasonDeployed, fleet.ConditionInstalled: reasonInstalled,
		fleet.ConditionMonitored: reasonMonitored, fleet.ConditionReady: string(fleet.Ready),
	} {
		status.Set(&after.Conditions, fleet.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: reason, ObservedGeneration: bd.Generation,
		}, now)
	}
	namespace := bd.Spec.Options.DefaultNamespace
	after.AppliedDeploymentID = bd.Spec.DeploymentID
	if forced := bd.Spec.Options.ForceSyncGeneration; forced != 0 {
		after.SyncGeneration = &forced
	}
	after.Release = names.Release(namespace, bd.Name, int(bd.Generation))
	after.Ready, after.NonModified = true, true
	after.Resources = []fleet.BundleDeploymentResource{{
		Kind: "ConfigMap", APIVersion: "v1", Namespace: namespace, Name: bd.Name, CreatedAt: now,
	}}
	after.ResourceCounts = fleet.ResourceCounts{Ready: 1, DesiredReady: 1}
	after.Display = fleet.BundleDeploymentDisplay{Deployed: "True", Monitored: "True", State: string(fleet.Ready)}
	return after
}
