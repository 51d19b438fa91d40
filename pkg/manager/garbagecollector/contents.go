package garbagecollector

import (
	"context"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// collectContent marks a Content that nothing refers to, and deletes it when
// its grace period is over. Whoever uses it again takes the mark off, which
// makes the delete fail.
func (c *controller) collectContent(ctx context.Context, key kube.Key) (time.Duration, error) {
	content, err := optional(c.contents.Get("", key.Name))
	if err != nil || content == nil || content.DeletionTimestamp != nil {
		return 0, err
	}
	c.graphs.RLock()
	used := c.graph.Used(ownership.IDOf(ownership.KindContent, "", content.Name))
	c.graphs.RUnlock()
	now := c.Clock.Now()
	action, wait := ownership.Content(ownership.ContentFacts{
		Annotations: content.Annotations, Used: used, Created: content.CreationTimestamp.Time, Grace: c.ContentGrace, Now: now,
	})
	switch action {
	case ownership.ContentMark:
		return c.ContentGrace, c.markContent(ctx, content, now.UTC().Format(time.RFC3339))
	case ownership.ContentUnmark:
		return 0, c.markContent(ctx, content, "")
	case ownership.ContentDelete:
		return 0, c.deleteContent(ctx, content)
	case ownership.ContentWait:
		// RFC 3339 drops the fraction of a second, so the wait is never short.
		return wait, nil
	case ownership.ContentKeep:
	}
	return 0, nil
}

// markContent sets the time since which nothing refers to the Content; an
// empty one takes the mark off.
func (c *controller) markContent(ctx context.Context, content *fleet.Content, since string) error {
	after := content.DeepCopy()
	delete(after.Annotations, names.AnnotationUnused)
	if since != "" {
		if after.Annotations == nil {
			after.Annotations = map[string]string{}
		}
		after.Annotations[names.AnnotationUnused] = since
	}
	if _, err := c.Hub.Contents.Patch(ctx, content, after); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("marking content: %w", err)
	}
	return nil
}

func (c *controller) deleteContent(ctx context.Context, content *fleet.Content) error {
	err := c.Hub.Contents.Delete(ctx, content)
	if err != nil && !apierrors.IsNotFound(err) {
		c.Metrics.failed(ownership.KindContent)
		return fmt.Errorf("deleting content: %w", err)
	}
	c.Metrics.deleted(ownership.KindContent, ownership.ReasonUnreferenced)
	return nil
}

// valuesGrace is how old a Secret of values must be before it counts as left
// behind: values are written before the object that they belong to.
const valuesGrace = time.Minute

// collectSecret deletes a Secret of values whose bundle or deployment is gone.
func (c *controller) collectSecret(ctx context.Context, key kube.Key) (time.Duration, error) {
	secret, err := optional(c.secrets.Get(key.Namespace, key.Name))
	if err != nil || secret == nil || secret.DeletionTimestamp != nil || !c.ownerGone(secret) {
		return 0, err
	}
	if left := secret.CreationTimestamp.Add(valuesGrace).Sub(c.Clock.Now()); left > 0 {
		return left, nil
	}
	live, err := c.ownerAlive(ctx, secret)
	if err != nil || live {
		return 0, err
	}
	if err := c.Hub.Secrets.Delete(ctx, secret); err != nil && !apierrors.IsNotFound(err) {
		c.Metrics.failed(ownership.KindSecret)
		return 0, fmt.Errorf("deleting secret: %w", err)
	}
	c.Metrics.deleted(ownership.KindSecret, ownership.ReasonUnreferenced)
	c.Log.WithFields(logrus.Fields{"namespace": secret.Namespace, "secret": secret.Name}).Debug("Deleted values that nothing uses")
	return 0, nil
}

// ownerGone says whether the caches hold no owner of the Secret's values.
func (c *controller) ownerGone(secret *corev1.Secret) bool {
	var err error
	switch secret.Type {
	case names.SecretTypeDeployment:
		_, err = c.deployments.Get(secret.Namespace, secret.Name)
	case names.SecretTypeBundleValues:
		var b *fleet.Bundle
		if b, err = c.bundles.Get(secret.Namespace, secret.Name); err == nil {
			return b.Spec.ValuesHash == ""
		}
	}
	return apierrors.IsNotFound(err)
}

// ownerAlive asks the API server for the owner of the Secret's values.
func (c *controller) ownerAlive(ctx context.Context, secret *corev1.Secret) (bool, error) {
	var err error
	switch secret.Type {
	case names.SecretTypeDeployment:
		_, err = c.Hub.BundleDeployments.Get(ctx, secret.Namespace, secret.Name)
	case names.SecretTypeBundleValues:
		var b *fleet.Bundle
		if b, err = c.Hub.Bundles.Get(ctx, secret.Namespace, secret.Name); err == nil {
			return b.Spec.ValuesHash != "", nil
		}
	}
	if kube.IsGone(err, secret.Name) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("confirming the owner of values: %w", err)
	}
	return true, nil
}
