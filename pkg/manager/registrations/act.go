package registrations

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/joining"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// act does the step.
func (c *controller) act(ctx context.Context, f joining.Facts, d joining.Decision) error {
	switch d.Step {
	case joining.Create:
		_, err := c.Hub.Clusters.Create(ctx, d.Cluster)
		if apierrors.IsAlreadyExists(err) {
			// Whose it is shows with the event of the one that was faster.
			return nil
		}
		if err != nil {
			return fmt.Errorf("creating cluster: %w", err)
		}
		c.log(f.Registration).WithField("cluster", d.Cluster.Name).Info("Cluster joins")
		return nil
	case joining.Claim:
		return c.claim(ctx, f.Registration, d.Cluster)
	case joining.Grant:
		return c.grant(ctx, f, d)
	case joining.Refuse:
		return c.refuse(ctx, f.Registration, d)
	case joining.Wait:
	}
	return nil
}

func (c *controller) log(registration *fleet.ClusterRegistration) logrus.FieldLogger {
	return c.Log.WithFields(logrus.Fields{"controller": "registrations", "namespace": registration.Namespace, "registration": registration.Name})
}

// claim notes on a cluster that was there before whose it is.
func (c *controller) claim(ctx context.Context, registration *fleet.ClusterRegistration, cluster *fleet.Cluster) error {
	after := cluster.DeepCopy()
	if after.Annotations == nil {
		after.Annotations = map[string]string{}
	}
	after.Annotations[names.AnnotationRegistered] = names.Registration(registration.Spec.ClientID, registration.Spec.ClientRandom)
	if _, err := c.Hub.Clusters.Patch(ctx, cluster, after); err != nil {
		return fmt.Errorf("noting the agent of the cluster: %w", err)
	}
	return nil
}

// grant answers with the token of the cluster.
func (c *controller) grant(ctx context.Context, f joining.Facts, d joining.Decision) error {
	data := map[string][]byte{
		names.KeyToken:               f.Place.Data[names.KeyToken],
		names.KeyDeploymentNamespace: []byte(f.Place.Namespace),
		names.KeyClusterNamespace:    []byte(d.Cluster.Namespace),
		names.KeyClusterName:         []byte(d.Cluster.Name),
	}
	annotations := map[string]string{
		names.AnnotationExpires: f.Place.Annotations[names.AnnotationExpires], names.AnnotationRenew: f.Place.Annotations[names.AnnotationRenew],
		names.AnnotationSeenBefore: d.Cluster.Status.Agent.LastSeen.UTC().Format(time.RFC3339),
	}
	if err := c.write(ctx, f.Registration, data, annotations); err != nil {
		return err
	}
	if err := c.reportAnswer(ctx, f.Registration, d); err != nil {
		return err
	}
	c.log(f.Registration).WithField("cluster", d.Cluster.Name).Info("Agent has joined")
	return nil
}

// refuse answers with the reason.
func (c *controller) refuse(ctx context.Context, registration *fleet.ClusterRegistration, d joining.Decision) error {
	if len(registration.Spec.ClientRandom) >= joining.MinClientRandom {
		// Else anybody could ask for the answer.
		data := map[string][]byte{names.KeyRefused: []byte(d.Message)}
		if err := c.write(ctx, registration, data, nil); err != nil {
			return err
		}
	}
	if err := c.reportAnswer(ctx, registration, d); err != nil {
		return err
	}
	c.log(registration).WithField("reason", d.Reason).Warn("Refused registration")
	c.Recorder.Eventf(registration, nil, corev1.EventTypeWarning, d.Reason, "Register", "%s", d.Message)
	return nil
}

// write puts the answer where only the agent looks that asked, and lets those who may join read it: by its name alone, which
// only that agent can tell.
func (c *controller) write(ctx context.Context, registration *fleet.ClusterRegistration, data map[string][]byte, annotations map[string]string) error {
	meta := metav1.ObjectMeta{
		Name:      names.RegistrationSecret(registration.Spec.ClientID, registration.Spec.ClientRandom),
		Namespace: names.NamespaceRegistrations, Labels: managed(),
		Annotations: map[string]string{
			names.AnnotationClusterRegistration: registration.Name, names.AnnotationClusterRegistrationNamespace: registration.Namespace,
		},
	}
	secret := &corev1.Secret{ObjectMeta: *meta.DeepCopy(), Type: names.SecretTypeAgentCredential, Data: data}
	maps.Copy(secret.Annotations, annotations)
	for _, object := range []runtime.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{meta.Name}, Verbs: []string{"get"},
		}}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: registration.Namespace, Name: names.Join}},
		},
		secret,
	} {
		if err := c.hub.Apply(ctx, object); err != nil {
			return fmt.Errorf("answering: %w", unnamed(err, meta.Name))
		}
	}
	return nil
}

// reportAnswer says in the status how the registration ended.
func (c *controller) reportAnswer(ctx context.Context, registration *fleet.ClusterRegistration, d joining.Decision) error {
	after := registration.DeepCopy()
	condition := fleet.Condition{Type: fleet.ConditionAccepted, Status: metav1.ConditionFalse, Reason: d.Reason, Message: d.Message}
	if d.Step == joining.Grant {
		condition.Status = metav1.ConditionTrue
		after.Status.Granted, after.Status.ClusterName = true, d.Cluster.Name
	}
	status.Set(&after.Status.Conditions, condition, metav1.NewTime(c.Clock.Now()))
	if _, err := c.Hub.ClusterRegistrations.PatchStatus(ctx, registration, after); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing status of registration: %w", err)
	}
	return nil
}

func managed() map[string]string { return map[string]string{names.LabelManaged: "true"} }

// nameless is an error whose text does not tell a name.
type nameless struct {
	error
	text string
}

// Error returns the text without the name.
func (e *nameless) Error() string { return e.text }

// Unwrap returns the error as it was.
func (e *nameless) Unwrap() error { return e.error }

// unnamed takes a name that must not be guessed out of the text of an error.
func unnamed(err error, name string) error {
	return &nameless{err, replaceName(err.Error(), name)}
}
