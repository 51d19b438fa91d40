package deployments

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// begin tells the hub that the removal begins, before anything is removed. Up
// to that moment the hub may take the deployment back, by letting go of it; it
// and the agent change the same version of the same object, so only one of
// them succeeds. A removal that was begun by an agent before this one goes on.
//
// It returns a wait if the deployment is not as it was decided about any more:
// then it is to be looked at again.
func (c *Controller) begin(ctx context.Context, w World) error {
	before, cached := c.latest(w.Deployment)
	if !heldByUs(before) {
		return &kube.WaitError{After: firstLook, Reason: "the hub has let go of the deployment"}
	}
	if begun(&before.Status) {
		return nil
	}
	message := "removing what was installed"
	if keeps(w.Deployment) {
		message = "forgetting the release, its objects stay, as keepResources asks"
	}
	err := c.write(ctx, before, cached, Report{Removed: &Verdict{metav1.ConditionFalse, fleet.ReasonUninstalling, message}})
	switch {
	case err == nil:
		c.log.WithField("deployment", before.Name).Info("Removal begins")
		return nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return &kube.WaitError{After: firstLook, Reason: "the deployment has changed on the hub"}
	default:
		return &HubError{Op: "telling that the removal begins", Err: err}
	}
}

// begun says whether a status tells that the removal has begun.
func begun(s *fleet.BundleDeploymentStatus) bool {
	c := status.Get(s.Conditions, fleet.ConditionRemoved)
	return c != nil && (c.Status == metav1.ConditionTrue || c.Reason == fleet.ReasonUninstalling)
}
