package gitrepos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/bundleset"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// ensureFinalizer makes sure that the GitRepo's deletion will be seen before
// the GitRepo gets its first bundle.
func (c *controller) ensureFinalizer(ctx context.Context, repo *fleet.GitRepo) error {
	if slices.Contains(repo.Finalizers, names.FinalizerGitRepo) {
		return nil
	}
	after := repo.DeepCopy()
	after.Finalizers = append(after.Finalizers, names.FinalizerGitRepo)
	if _, err := c.Hub.GitRepos.Patch(ctx, repo, after); err != nil {
		return fmt.Errorf("adding finalizer to gitrepo: %w", err)
	}
	return nil
}

// write carries out what the commit asks for. One bundle that fails does not
// keep the others waiting.
func (c *controller) write(ctx context.Context, repo *fleet.GitRepo, commit string, result bundlereader.Result) (bundleset.Plan, error) {
	desired := make([]*fleet.Bundle, 0, len(result.Bundles))
	values := map[string]map[string][]byte{}
	for _, full := range result.Bundles {
		stripped, data, _, err := bundle.ExtractValues(full)
		if err != nil {
			return bundleset.Plan{}, fmt.Errorf("taking the helm values out of bundle %s: %w", full.Name, err)
		}
		values[stripped.Name] = data
		desired = append(desired, stripped)
	}
	for _, b := range desired {
		if err := c.want(b); err != nil {
			return bundleset.Plan{}, err
		}
	}
	plan, err := c.plan(repo, commit, result, desired)
	if err != nil {
		return plan, err
	}
	var errs []error
	for _, b := range plan.Create {
		errs = append(errs, c.create(ctx, b, values[b.Name]))
	}
	for _, change := range plan.Update {
		errs = append(errs, c.update(ctx, change, values[change.Before.Name]))
	}
	share := goneShare(plan, len(desired))
	for _, change := range plan.Gone {
		change.After.Annotations[names.AnnotationGoneShare] = share
		errs = append(errs, c.markGone(ctx, change))
	}
	return plan, errors.Join(errs...)
}

// goneShare says how many of the repository's bundles the commit takes away:
// the garbage collector asks a person first if that is most of them.
func goneShare(plan bundleset.Plan, desired int) string {
	gone := len(plan.Gone) + plan.AlreadyGone
	return ownership.Share(gone, gone+desired+len(plan.Kept))
}

func (c *controller) create(ctx context.Context, b *fleet.Bundle, values map[string][]byte) error {
	if err := c.writeValues(ctx, b, values); err != nil {
		return err
	}
	// A new bundle has no deployments, so no removals either.
	if b.Annotations == nil {
		b.Annotations = map[string]string{}
	}
	b.Annotations[names.AnnotationSettledTargets] = ownership.TargetsDigest(&b.Spec)
	made, err := c.Hub.Bundles.Create(ctx, b)
	if err != nil {
		return fmt.Errorf("creating bundle %s: %w", b.Name, err)
	}
	c.rollups.wrote(made, c.Clock.Now())
	c.logBundle(b).Info("Created bundle")
	return nil
}

func (c *controller) update(ctx context.Context, change bundleset.Change, values map[string][]byte) error {
	if err := c.writeValues(ctx, change.After, values); err != nil {
		return err
	}
	changed, err := c.Hub.Bundles.Change(ctx, change.Before, change.After)
	if err != nil {
		return fmt.Errorf("updating bundle %s: %w", change.After.Name, err)
	}
	c.rollups.wrote(changed, c.Clock.Now())
	c.logBundle(change.After).Info("Updated bundle")
	return nil
}

func (c *controller) markGone(ctx context.Context, change bundleset.Change) error {
	if _, err := c.Hub.Bundles.Patch(ctx, change.Before, change.After); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("marking bundle %s as gone: %w", change.After.Name, err)
	}
	c.logBundle(change.After).Info("Bundle is no longer in the repository")
	return nil
}

func (c *controller) logBundle(b *fleet.Bundle) logrus.FieldLogger {
	return c.Log.WithFields(logrus.Fields{
		"bundle": b.Name, "namespace": b.Namespace, "gitrepo": kube.RepoOf(b).Name, "commit": b.Labels[names.LabelCommit],
	})
}

// writeValues stores the bundle's helm values in the Secret of its name,
// before the bundle that refers to them.
func (c *controller) writeValues(ctx context.Context, b *fleet.Bundle, values map[string][]byte) error {
	if len(values) == 0 {
		return nil
	}
	want := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: b.Name, Namespace: b.Namespace,
			Labels: map[string]string{
				names.LabelInternalSecret:  "true",
				names.LabelBundleName:      b.Name,
				names.LabelBundleNamespace: b.Namespace,
			},
		},
		Type: names.SecretTypeBundleValues,
		Data: values,
	}
	have, err := c.Hub.Secrets.Get(ctx, b.Namespace, b.Name)
	switch {
	case apierrors.IsNotFound(err):
		if _, err = c.Hub.Secrets.Create(ctx, want); err != nil {
			return fmt.Errorf("storing the helm values of bundle %s: %w", b.Name, err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("reading the helm values of bundle %s: %w", b.Name, err)
	case have.Type != want.Type:
		return fmt.Errorf("storing the helm values of bundle %s: secret %s/%s is not one of ours: rename it, or the bundle", b.Name, b.Namespace, b.Name)
	case maps.EqualFunc(have.Data, values, slices.Equal[[]byte]):
		return nil
	}
	after := have.DeepCopy()
	after.Data, after.Labels = want.Data, want.Labels
	if _, err := c.Hub.Secrets.Patch(ctx, have, after); err != nil {
		return fmt.Errorf("storing the helm values of bundle %s: %w", b.Name, err)
	}
	return nil
}
