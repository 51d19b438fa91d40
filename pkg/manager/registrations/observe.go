package registrations

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/joining"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// answered says whether the registration has had its answer.
func answered(registration *fleet.ClusterRegistration) bool {
	accepted := status.Get(registration.Status.Conditions, fleet.ConditionAccepted)
	return registration.Status.Granted || accepted != nil
}

// observe reads what an answer depends on. Secrets are read past the caches, which hold none of these.
func (c *controller) observe(ctx context.Context, registration *fleet.ClusterRegistration) (joining.Facts, error) {
	f := joining.Facts{Registration: registration, IgnoreLabels: c.IgnoreLabels}
	if err := c.observeToken(ctx, &f); err != nil {
		return f, err
	}
	var err error
	if f.WithID, err = c.clusters.GetByIndex(kube.ByClientID, clientOf(registration)); err != nil {
		return f, fmt.Errorf("finding clusters: %w", err)
	}
	f.Named, err = c.clusters.Get(registration.Namespace, names.RegisteredCluster(registration.Spec.ClientID))
	if apierrors.IsNotFound(err) {
		f.Named, err = nil, nil
	}
	if err != nil {
		return f, fmt.Errorf("finding cluster: %w", err)
	}
	if len(f.WithID) == 1 {
		f.Place, err = c.placeOf(ctx, f.WithID[0])
	}
	return f, err
}

func clientOf(registration *fleet.ClusterRegistration) string {
	return kube.Key{Namespace: registration.Namespace, Name: registration.Spec.ClientID}.String()
}

// observeToken finds the token that the registration says it was made with, and what was issued for it.
func (c *controller) observeToken(ctx context.Context, f *joining.Facts) error {
	named := f.Registration.Labels[names.LabelRegistrationToken]
	tokens, err := c.tokens.List(f.Registration.Namespace, labels.Everything())
	if err != nil {
		return fmt.Errorf("finding token: %w", err)
	}
	for _, token := range tokens {
		if named != "" && names.RegistrationToken(token.Name) == named && token.DeletionTimestamp == nil {
			f.Token = token
		}
	}
	if f.Token == nil {
		return nil
	}
	f.Life = joining.LifeOf(f.Token, c.MaxTokenTTL, c.Clock.Now())
	secret, err := c.optionalSecret(ctx, f.Token.Namespace, f.Token.Name)
	if err != nil || secret == nil || !ownedBy(secret, f.Token) {
		return err
	}
	f.Credentials = strings.Split(secret.Annotations[names.AnnotationCredential], ",")
	return nil
}

// placeOf returns the Secret with the token of a cluster's agent, once it can be used.
func (c *controller) placeOf(ctx context.Context, cluster *fleet.Cluster) (*corev1.Secret, error) {
	imported := status.Get(cluster.Status.Conditions, fleet.ConditionImported)
	if cluster.Status.Namespace == "" || imported == nil || imported.Status != "True" {
		return nil, nil
	}
	secret, err := c.optionalSecret(ctx, names.ClusterNamespace(cluster.Namespace, cluster.Name), names.SecretAgent)
	if err != nil || secret == nil || len(secret.Data[names.KeyToken]) == 0 {
		return nil, err
	}
	return secret, nil
}

func (c *controller) optionalSecret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	secret, err := c.Hub.Secrets.Get(ctx, namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s in %s: %w", kindOf(name), namespace, err)
	}
	return secret, nil
}

// kindOf names a Secret without telling what must not be guessed.
func kindOf(name string) string {
	if strings.HasPrefix(name, "c-") {
		return "of an answer"
	}
	return name
}

// ownedBy says whether the Secret was made for this very token.
func ownedBy(secret *corev1.Secret, token *fleet.ClusterRegistrationToken) bool {
	for _, owner := range secret.OwnerReferences {
		if owner.UID == token.UID {
			return true
		}
	}
	return false
}
