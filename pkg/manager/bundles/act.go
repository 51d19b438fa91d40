package bundles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
)

// act carries out the plan. What fails for one cluster does not keep the
// others waiting.
func (c *controller) act(ctx context.Context, w *world, plan rollout.Plan) error {
	if w.deleting {
		return nil
	}
	if err := c.restoreValues(ctx, w, plan); err != nil {
		return err
	}
	if len(plan.Create)+len(plan.Update) == 0 {
		return nil
	}
	if err := c.ensureFinalizer(ctx, w.Bundle); err != nil {
		return err
	}
	if err := c.ensureContent(ctx, w); err != nil {
		return err
	}
	var errs failures
	var writers errgroup.Group
	writers.SetLimit(max(c.Parallel, 1))
	for _, step := range slices.Concat(plan.Create, plan.Update) {
		writers.Go(func() error {
			errs.add(c.write(ctx, w, step))
			return nil
		})
	}
	_ = writers.Wait()
	return errs.join()
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

// ensureContent makes sure that the Content which the deployments will name is
// there and not about to be deleted.
func (c *controller) ensureContent(ctx context.Context, w *world) error {
	existing, err := c.contents.Get("", w.content)
	if err == nil {
		return c.keepContent(ctx, existing)
	}
	encoded, err := bundle.Encode(w.Bundle.Spec.Resources)
	if err != nil {
		return fmt.Errorf("encoding content: %w", err)
	}
	_, err = c.Hub.Contents.Create(ctx, &fleet.Content{
		ObjectMeta: metav1.ObjectMeta{Name: encoded.Name},
		Content:    encoded.Data,
		SHA256Sum:  encoded.SHA256,
	})
	if apierrors.IsAlreadyExists(err) {
		// The cache is behind: what is there may be marked.
		existing, err = c.Hub.Contents.Get(ctx, "", encoded.Name)
		if err == nil {
			return c.keepContent(ctx, existing)
		}
	}
	if err != nil {
		return fmt.Errorf("storing content: %w", err)
	}
	return nil
}

// keepContent takes the mark off a Content that is in use again.
func (c *controller) keepContent(ctx context.Context, content *fleet.Content) error {
	if _, marked := content.Annotations[names.AnnotationUnused]; !marked {
		return nil
	}
	after := content.DeepCopy()
	delete(after.Annotations, names.AnnotationUnused)
	if _, err := c.Hub.Contents.Patch(ctx, content, after); err != nil {
		return fmt.Errorf("keeping content: %w", err)
	}
	return nil
}

// write writes one deployment, its values first: an agent that sees the
// deployment finds them.
func (c *controller) write(ctx context.Context, w *world, step rollout.Step) error {
	bd := step.Deployment
	if err := c.writeValues(ctx, w, step); err != nil {
		return fmt.Errorf("writing values for cluster %s: %w", step.Target.Cluster.Name, err)
	}
	var err error
	if step.Target.Existing == nil {
		_, err = c.Hub.BundleDeployments.Create(ctx, bd)
	} else {
		_, err = c.Hub.BundleDeployments.Patch(ctx, step.Target.Existing, bd)
	}
	if err != nil {
		return fmt.Errorf("writing deployment for cluster %s: %w", step.Target.Cluster.Name, err)
	}
	return nil
}

// Keys of the Secret that holds a deployment's values.
const (
	valuesKey       = "values"
	stagedValuesKey = "stagedValues"
)

// writeValues stores the target's values in the Secret named as its
// deployment.
func (c *controller) writeValues(ctx context.Context, w *world, step rollout.Step) error {
	bd := step.Deployment
	values := w.values[bd.Namespace]
	if values == nil {
		return nil
	}
	secret, err := c.Hub.Secrets.Get(ctx, bd.Namespace, bd.Name)
	if apierrors.IsNotFound(err) {
		_, err = c.Hub.Secrets.Create(ctx, valuesSecret(w.Bundle, bd, values))
		return err
	}
	if err != nil {
		return err
	}
	if secret.Type != names.SecretTypeDeployment {
		return fmt.Errorf("secret %s/%s is not one of ours: rename it, or the bundle", bd.Namespace, bd.Name)
	}
	after := secret.DeepCopy()
	after.Data = map[string][]byte{stagedValuesKey: values, valuesKey: secret.Data[valuesKey]}
	if !bd.Spec.Paused {
		after.Data[valuesKey] = values
	}
	if bytes.Equal(after.Data[valuesKey], secret.Data[valuesKey]) && bytes.Equal(values, secret.Data[stagedValuesKey]) {
		return nil
	}
	_, err = c.Hub.Secrets.Patch(ctx, secret, after)
	return err
}

// restoreValues writes the values again of deployments that are right but for
// their Secret, which somebody has deleted.
func (c *controller) restoreValues(ctx context.Context, w *world, plan rollout.Plan) error {
	held := map[*fleet.Cluster]bool{}
	for _, step := range plan.Hold {
		held[step.Target.Cluster] = true
	}
	var errs failures
	for _, t := range w.Targets {
		if t.Existing == nil || t.ValuesHash == "" || held[t.Cluster] {
			continue
		}
		if _, err := c.secrets.Get(t.Existing.Namespace, t.Existing.Name); !apierrors.IsNotFound(err) {
			continue
		}
		if err := c.writeValues(ctx, w, rollout.Step{Target: t, Deployment: t.Existing}); err != nil {
			errs.add(fmt.Errorf("restoring values for cluster %s: %w", t.Cluster.Name, err))
		}
	}
	return errs.join()
}

func valuesSecret(b *fleet.Bundle, bd *fleet.BundleDeployment, values []byte) *corev1.Secret {
	data := map[string][]byte{stagedValuesKey: values}
	if !bd.Spec.Paused {
		data[valuesKey] = values
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: bd.Name, Namespace: bd.Namespace,
			Labels: map[string]string{
				names.LabelInternalSecret:  "true",
				names.LabelBundleName:      b.Name,
				names.LabelBundleNamespace: b.Namespace,
			},
		},
		Type: names.SecretTypeDeployment,
		Data: data,
	}
}

// failures collects errors from writers that run side by side. It keeps the
// first few: a fleet that is away must not make a message as long as itself.
type failures struct {
	mu    sync.Mutex
	errs  []error
	total int
}

const maxFailures = 5

func (f *failures) add(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	if len(f.errs) < maxFailures {
		f.errs = append(f.errs, err)
	}
}

func (f *failures) join() error {
	if f.total > len(f.errs) {
		return errors.Join(append(f.errs, fmt.Errorf("and %d more clusters", f.total-len(f.errs)))...)
	}
	return errors.Join(f.errs...)
}
