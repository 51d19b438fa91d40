package bundles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
)

// act carries out the plan. What fails for one cluster does not keep the
// others waiting.
func (c *controller) act(ctx context.Context, b *book, plan rollout.Plan) error {
	if err := c.restoreValues(ctx, b, plan); err != nil {
		return err
	}
	steps := slices.Concat(plan.Create, plan.Update)
	if len(steps) == 0 {
		return nil
	}
	if err := c.ensureFinalizer(ctx, b.bundle); err != nil {
		return err
	}
	if err := c.contents.Ensure(ctx, b.content, func() (bundle.Content, error) { return bundle.Encode(b.bundle.Spec.Resources) }); err != nil {
		return err
	}
	return c.requests.Write(ctx, len(steps), func(i int) error {
		err := c.write(ctx, b, steps[i])
		if err != nil {
			// What it was planned from may be what was wrong.
			c.marks.Add(kube.KeyOf(b.bundle), part{cluster: b.entries[steps[i].Index].cluster})
		}
		return err
	})
}

// ensureFinalizer makes sure that the bundle's deletion will be seen before
// the bundle gets its first child.
func (c *controller) ensureFinalizer(ctx context.Context, b *fleet.Bundle) error {
	if slices.Contains(b.Finalizers, names.FinalizerBundle) {
		return nil
	}
	after := b.DeepCopy()
	after.Finalizers = append(after.Finalizers, names.FinalizerBundle)
	if _, err := c.Hub.Bundles.Patch(ctx, b, after); err != nil {
		return fmt.Errorf("adding finalizer to bundle: %w", err)
	}
	return nil
}

// errChanged says that a deployment is not the one that was planned for.
var errChanged = errors.New("the deployment has changed since it was looked at")

// write writes one deployment, its values first: an agent that sees the
// deployment finds them. Writers of different clusters run at once, each on an
// entry of its own.
func (c *controller) write(ctx context.Context, b *book, step rollout.Step) error {
	e, t := &b.entries[step.Index], &b.targets[step.Index]
	if step.Stages() {
		if err := c.writeInputs(ctx, b, step.Index, step.Deployment); err != nil {
			return fmt.Errorf("writing values for cluster %s: %w", e.id, err)
		}
	}
	written, err := c.writeDeployment(ctx, e, step)
	if err != nil {
		return fmt.Errorf("writing deployment for cluster %s: %w", e.id, err)
	}
	e.wrote, e.since = written, c.Clock.Now()
	t.Existing, t.Settled = written, false
	return nil
}

func (c *controller) writeDeployment(ctx context.Context, e *entry, step rollout.Step) (*fleet.BundleDeployment, error) {
	planned := step.Target.Existing
	if planned == nil {
		if e.succeeds != "" {
			metav1.SetMetaDataAnnotation(&step.Deployment.ObjectMeta, names.AnnotationSucceeds, e.succeeds)
		}
		return c.Hub.BundleDeployments.Create(ctx, step.Deployment)
	}
	// Its agent may have reported meanwhile, which changes nothing here.
	now := c.existing(e, planned.Name)
	if now == nil || now.UID != planned.UID || now.Generation != planned.Generation {
		return nil, errChanged
	}
	return c.Hub.BundleDeployments.Change(ctx, now, step.Deployment)
}

// writeInputs stores what the target needs beside its deployment in the Secret
// named as that. What it needs no more goes: copies may be of secrets.
func (c *controller) writeInputs(ctx context.Context, b *book, i int, bd *fleet.BundleDeployment) error {
	in, err := b.inputs(i)
	if err != nil {
		return err
	}
	if in.Empty() {
		// The cache may not show yet what was written a moment ago.
		had := b.targets[i].Existing
		if _, err := c.secrets.Get(bd.Namespace, bd.Name); apierrors.IsNotFound(err) && (had == nil || !rollout.HasInputs(had)) {
			return nil
		}
	} else if b.targets[i].Existing == nil {
		// Most likely it is not there.
		_, err := c.Hub.Secrets.Create(ctx, rollout.InputsSecret(b.bundle, bd, in, nil))
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	secret, err := c.Hub.Secrets.Get(ctx, bd.Namespace, bd.Name)
	if apierrors.IsNotFound(err) {
		if in.Empty() {
			return nil
		}
		_, err = c.Hub.Secrets.Create(ctx, rollout.InputsSecret(b.bundle, bd, in, nil))
		return err
	}
	if err != nil {
		return err
	}
	if secret.Type != names.SecretTypeDeployment {
		return fmt.Errorf("secret %s/%s is not one of ours: rename it, or the bundle", bd.Namespace, bd.Name)
	}
	after := secret.DeepCopy()
	wanted := rollout.InputsSecret(b.bundle, bd, in, secret.Data)
	after.Data = wanted.Data
	metav1.SetMetaDataAnnotation(&after.ObjectMeta, names.AnnotationInputs, wanted.Annotations[names.AnnotationInputs])
	if maps.EqualFunc(after.Data, secret.Data, bytes.Equal) && maps.Equal(after.Annotations, secret.Annotations) {
		return nil
	}
	_, err = c.Hub.Secrets.Patch(ctx, secret, after)
	return err
}

// restoreValues writes the values again of deployments that are right but for
// their Secret: somebody has deleted it, or it was written for a state that the
// deployment has not come to.
func (c *controller) restoreValues(ctx context.Context, b *book, plan rollout.Plan) error {
	other := map[int]bool{}
	for _, step := range slices.Concat(plan.Hold, plan.Update) {
		other[step.Index] = true
	}
	var missing []int
	for key := range b.fresh {
		i, found := b.find(key)
		if !found || other[i] || b.targets[i].Existing == nil || !rollout.HasInputs(b.targets[i].Existing) {
			continue
		}
		secret, err := c.secrets.Get(b.entries[i].namespace, b.bundle.Name)
		if apierrors.IsNotFound(err) || err == nil && !rollout.Holds(secret, b.targets[i].Existing) {
			missing = append(missing, i)
		}
	}
	return c.requests.Write(ctx, len(missing), func(n int) error {
		i := missing[n]
		if err := c.writeInputs(ctx, b, i, b.targets[i].Existing); err != nil {
			return fmt.Errorf("restoring values for cluster %s: %w", b.entries[i].id, err)
		}
		return nil
	})
}
