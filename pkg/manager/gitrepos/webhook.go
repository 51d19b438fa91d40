package gitrepos

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/webhook"
)

// Reasons of the condition WebhookSecret. They are part of the API.
const (
	reasonWebhookSecretMissing = "SecretMissing"
	reasonWebhookSecretInvalid = "SecretInvalid"
)

// webhookProblem says why no delivery for the GitRepo can be verified by the
// Secret that it names, or nil. Who delivers is told nothing of the kind.
func (c *controller) webhookProblem(ctx context.Context, repo *fleet.GitRepo) (*refusal, error) {
	key, named := webhookSecretOf(repo)
	if !named {
		return nil, nil
	}
	secret, err := c.Secrets.Get(ctx, key)
	switch {
	case apierrors.IsNotFound(err):
		return &refusal{reasonWebhookSecretMissing, fmt.Sprintf(
			"spec.webhookSecret: Secret %s is not in namespace %s, so that every webhook is refused: create it, or correct the name", key.Name, key.Namespace)}, nil
	case err != nil:
		return nil, err
	}
	if wrong := webhook.Check(secret.Data); wrong != nil {
		return &refusal{reasonWebhookSecretInvalid, fmt.Sprintf(
			"spec.webhookSecret: Secret %s: %v, so that webhooks are refused: put the secret of the webhook there", key.Name, wrong)}, nil
	}
	return nil, nil
}

// webhookSecretOf returns the Secret that the GitRepo names for its webhooks.
func webhookSecretOf(repo *fleet.GitRepo) (key kube.Key, named bool) {
	return kube.Key{Namespace: repo.Namespace, Name: repo.Spec.WebhookSecret}, repo.Spec.WebhookSecret != ""
}
