package garbagecollector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const (
	// answerLife is how long an agent may take to fetch the answer to its registration. One that has reported with it needs it
	// no more.
	answerLife = 10 * time.Minute
	// registrationLife is how long a registration can be looked at.
	registrationLife = time.Hour
)

// joins takes away what clusters have joined with.
type joins struct {
	registrations, tokens *kube.Queue
}

// leftoverAnswers stands, on the queue of registrations, for all answers whose registration is gone.
func leftoverAnswers() kube.Key { return kube.Key{Namespace: names.NamespaceRegistrations} }

func (c *controller) registerJoins() {
	queue := func(name string, reconcile kube.Reconcile) *kube.Queue {
		return kube.NewQueue(kube.QueueOptions{Name: name, Workers: 2, Reconcile: reconcile, Log: c.Log, Observe: c.Observe(name)})
	}
	registrations, tokens := c.Hub.ClusterRegistrations.Cache(), c.Hub.ClusterRegistrationTokens.Cache()
	c.wakeJoins(registrations)
	c.joins.registrations = queue("gc-registrations", func(ctx context.Context, key kube.Key) (time.Duration, error) {
		if key == leftoverAnswers() {
			return 0, c.collectAnswers(ctx)
		}
		registration, err := optional(registrations.Get(key.Namespace, key.Name))
		if err != nil || registration == nil || registration.DeletionTimestamp != nil {
			return 0, err
		}
		return c.collectRegistration(ctx, registration)
	})
	c.joins.tokens = queue("gc-registration-tokens", func(ctx context.Context, key kube.Key) (time.Duration, error) {
		token, err := optional(tokens.Get(key.Namespace, key.Name))
		if err != nil || token == nil || token.DeletionTimestamp != nil {
			return 0, err
		}
		return c.collectToken(ctx, token)
	})
	c.joins.registrations.Wake(leftoverAnswers())
}

// wakeJoins has events wake what they are about.
func (c *controller) wakeJoins(registrations generic.CacheInterface[*fleet.ClusterRegistration]) {
	c.Hub.ClusterRegistrations.OnEvent(func(e kube.Event[*fleet.ClusterRegistration]) {
		if e.New == nil {
			c.joins.registrations.Wake(leftoverAnswers())
			return
		}
		c.joins.registrations.Wake(kube.KeyOf(e.New))
	})
	c.Hub.ClusterRegistrationTokens.OnEvent(func(e kube.Event[*fleet.ClusterRegistrationToken]) {
		if e.New != nil {
			c.joins.tokens.Wake(kube.KeyOf(e.New))
		}
	})
	c.Hub.Clusters.OnEvent(func(e kube.Event[*fleet.Cluster]) {
		if e.New == nil || e.Old == nil || e.New.Spec.ClientID == "" || e.Old.Status.Agent.LastSeen.Equal(&e.New.Status.Agent.LastSeen) {
			return
		}
		found, err := registrations.GetByIndex(kube.ByClientID, kube.Key{Namespace: e.New.Namespace, Name: e.New.Spec.ClientID}.String())
		if err != nil {
			c.Log.WithError(err).Error("Registrations of a cluster cannot be found")
		}
		for _, registration := range found {
			c.joins.registrations.Wake(kube.KeyOf(registration))
		}
	})
}

// collectToken deletes a join token that has expired. Its Secret goes first: with it the token is void.
func (c *controller) collectToken(ctx context.Context, token *fleet.ClusterRegistrationToken) (time.Duration, error) {
	if token.Status.Expires == nil {
		return 0, nil
	}
	if left := token.Status.Expires.Sub(c.Clock.Now()); left > 0 {
		return left, nil
	}
	secret, err := optional(c.Hub.Secrets.Get(ctx, token.Namespace, token.Name))
	if err != nil {
		return 0, fmt.Errorf("reading the Secret of an expired token: %w", err)
	}
	if secret != nil && ownedBy(secret, token) {
		if err := c.Hub.Secrets.Delete(ctx, secret); err != nil && !apierrors.IsNotFound(err) {
			return 0, fmt.Errorf("deleting the Secret of an expired token: %w", err)
		}
	}
	if err := c.Hub.ClusterRegistrationTokens.Delete(ctx, token); err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("deleting expired token: %w", err)
	}
	c.Log.WithFields(logrus.Fields{"namespace": token.Namespace, "token": token.Name}).Info("Deleted a join token that has expired")
	return 0, nil
}

func ownedBy(object, owner metav1.Object) bool {
	for _, reference := range object.GetOwnerReferences() {
		if reference.UID == owner.GetUID() {
			return true
		}
	}
	return false
}

// collectRegistration deletes the answer once it was used or is too old, and the registration once it is. It returns after
// how much time there is something to do again.
func (c *controller) collectRegistration(ctx context.Context, registration *fleet.ClusterRegistration) (time.Duration, error) {
	age := c.Clock.Now().Sub(registration.CreationTimestamp.Time)
	answer, err := optional(c.Hub.Secrets.Get(ctx, names.NamespaceRegistrations,
		names.RegistrationSecret(registration.Spec.ClientID, registration.Spec.ClientRandom)))
	if err != nil {
		return 0, errors.New("reading the answer to a registration failed") // the error holds its name
	}
	if age < answerLife && (answer == nil || !c.reported(registration, answer)) {
		return answerLife - age, nil
	}
	// An agent that registers again with what it is known by has its answer under the same name.
	if answer != nil && answer.Annotations[names.AnnotationClusterRegistration] == registration.Name {
		if err := c.deleteAnswer(ctx, answer); err != nil {
			return 0, err
		}
	}
	if age < registrationLife {
		return registrationLife - age, nil
	}
	if err := c.Hub.ClusterRegistrations.Delete(ctx, registration); err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("deleting registration: %w", err)
	}
	return 0, nil
}

// reported says whether the agent has reported since it was answered.
func (c *controller) reported(registration *fleet.ClusterRegistration, answer *corev1.Secret) bool {
	before := answer.Annotations[names.AnnotationSeenBefore]
	if !registration.Status.Granted || before == "" {
		return false
	}
	cluster, err := c.clusters.Get(registration.Namespace, registration.Status.ClusterName)
	// The time is the agent's own; all it could gain by lying is that its answer goes sooner or later.
	return err == nil && cluster.Status.Agent.LastSeen.UTC().Format(time.RFC3339) != before
}

// collectAnswers deletes the answers whose registration is gone.
func (c *controller) collectAnswers(ctx context.Context) error {
	secrets, err := c.Hub.Secrets.List(ctx, names.NamespaceRegistrations, labels.SelectorFromSet(labels.Set{names.LabelManaged: "true"}))
	if err != nil {
		return fmt.Errorf("listing answers to registrations: %w", err)
	}
	for i := range secrets.Items {
		secret := &secrets.Items[i]
		if secret.Type != corev1.SecretType(names.SecretTypeAgentCredential) {
			continue
		}
		namespace, name := secret.Annotations[names.AnnotationClusterRegistrationNamespace], secret.Annotations[names.AnnotationClusterRegistration]
		registration, err := c.Hub.ClusterRegistrations.Get(ctx, namespace, name)
		if err == nil && names.RegistrationSecret(registration.Spec.ClientID, registration.Spec.ClientRandom) == secret.Name {
			continue
		}
		if err != nil && !kube.IsGone(err, name) {
			return fmt.Errorf("confirming registration: %w", err)
		}
		if err := c.deleteAnswer(ctx, secret); err != nil {
			return err
		}
	}
	return nil
}

// deleteAnswer deletes an answer with the right to read it. Errors do not tell its name.
func (c *controller) deleteAnswer(ctx context.Context, answer *corev1.Secret) error {
	if err := c.Hub.Secrets.Delete(ctx, answer); err != nil && !apierrors.IsNotFound(err) {
		return errors.New("deleting the answer to a registration failed")
	}
	rbac := c.Hub.Kubernetes.RbacV1()
	err1 := rbac.RoleBindings(names.NamespaceRegistrations).Delete(ctx, answer.Name, metav1.DeleteOptions{})
	err2 := rbac.Roles(names.NamespaceRegistrations).Delete(ctx, answer.Name, metav1.DeleteOptions{})
	if err1 != nil && !apierrors.IsNotFound(err1) || err2 != nil && !apierrors.IsNotFound(err2) {
		return errors.New("deleting the right to read the answer to a registration failed")
	}
	return nil
}
