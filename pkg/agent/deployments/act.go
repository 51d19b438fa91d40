package deployments

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// act does what the decision asks for.
func (c *Controller) act(ctx context.Context, w World, d Decision) (result, error) {
	var made result
	var err, hub error
	switch d.Step {
	case StepRemove:
		return c.remove(ctx, w, d)
	case StepDeploy:
		if made, err = c.deploy(ctx, w, d); err != nil {
			return result{}, err
		}
	case StepMonitor:
		if made, err = c.current(ctx, w, d); err != nil {
			return result{}, err
		}
		made.Deployed, made.Applied = &Verdict{metav1.ConditionTrue, ReasonDeployed, ""}, true
		if d.Message != "" {
			made.copiesLost(d.Message)
		}
		if d.Copy {
			// If the hub does not answer, the objects of the release are looked after all the same.
			hub = c.copy(ctx, w, d, &made)
		}
	case StepLeave, StepWait:
		if err = c.adopt(ctx, w, d); err != nil {
			return result{}, err
		}
		if made, err = c.current(ctx, w, d); err != nil {
			return result{}, err
		}
		c.explain(w, d, &made)
	}
	if made.Release != nil && made.Removed == nil && !made.silent {
		var seen sight
		seen, err = c.look(ctx, w.Deployment, made.Release, made.Applied)
		made.see(seen)
	}
	return made, errors.Join(err, hub)
}

// explain says why nothing is done. What was said about an attempt that failed
// is left until the next one.
func (c *Controller) explain(w World, d Decision, made *result) {
	bd := w.Deployment
	verdict := &Verdict{metav1.ConditionUnknown, d.Reason, d.Message}
	switch {
	case d.Reason == ReasonReleased:
		made.silent = true // what was said of the removal stands
	case d.Reason == ReasonRetryLater:
		made.silent = bd.DeletionTimestamp != nil
	case bd.DeletionTimestamp != nil:
		made.Removed = &Verdict{metav1.ConditionFalse, d.Reason, d.Message}
	case !bd.Applied() || bd.Spec.DeploymentID == "":
		made.Deployed = verdict
	}
}

// adopt claims releases of an earlier deployment of the name.
func (c *Controller) adopt(ctx context.Context, w World, d Decision) error {
	for _, key := range d.Adopt {
		if err := c.deps.Releases.Adopt(ctx, key, w.Owner); err != nil {
			return err
		}
		c.deps.Metrics.action(release.ActionAdopt)
	}
	return nil
}

// current returns the release that the deployment has, as its record says.
func (c *Controller) current(ctx context.Context, w World, d Decision) (result, error) {
	record := d.Current
	if record == nil {
		return result{}, nil
	}
	var known *release.Release
	c.memory.with(w.Deployment.Name, func(r *remembered) {
		if r.release != nil && r.release.Record == *record {
			known = r.release
		}
	})
	if known == nil {
		loaded, err := c.deps.Releases.Load(ctx, *record)
		if err != nil {
			return result{}, err
		}
		known = loaded
	}
	return result{Report: Report{Release: known}}, nil
}
