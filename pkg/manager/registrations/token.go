package registrations

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/joining"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

const (
	// forEver is the life of a token that does not end. The hub may give less: then it is renewed.
	forEver = 10 * 365 * 24 * time.Hour
	// shortest is the shortest life that an API server gives a token. One that is to end before ends with its Secret.
	shortest = 10 * time.Minute
	// remembered is how many tokens of one Secret are remembered: those that were renewed are valid on.
	remembered = 3
)

// errSecretTaken: the Secret that the token needs is somebody else's.
var errSecretTaken = errors.New("taken")

// prepare puts in place what all registrations share, once.
func (c *controller) prepare(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prepared {
		return nil
	}
	if _, err := c.namespaces.Get("", names.NamespaceRegistrations); apierrors.IsNotFound(err) {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: names.NamespaceRegistrations}}
		if _, err := c.Hub.Namespaces.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating the namespace of registrations: %w", err)
		}
	}
	for _, object := range admission() {
		if err := c.hub.Apply(ctx, object); err != nil {
			return fmt.Errorf("preparing registrations: %w", err)
		}
	}
	c.prepared = true
	return nil
}

// allowJoining makes the identity that join tokens of a workspace are of: it may ask, and read nothing.
func (c *controller) allowJoining(ctx context.Context, workspace string) error {
	meta := metav1.ObjectMeta{Name: names.Join, Namespace: workspace, Labels: managed()}
	automount := false
	for _, object := range []runtime.Object{
		&corev1.ServiceAccount{ObjectMeta: meta, AutomountServiceAccountToken: &automount},
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{fleet.GroupName}, Resources: []string{"clusterregistrations"}, Verbs: []string{"create"},
		}}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: names.Join},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: workspace, Name: names.Join}},
		},
	} {
		if err := c.hub.Apply(ctx, object); err != nil {
			return fmt.Errorf("allowing clusters to join: %w", err)
		}
	}
	return nil
}

// ensureValues keeps the Secret with the values of an agent, and a token in it that is valid for long enough. It returns
// after how much time the token is to be renewed; zero if never.
func (c *controller) ensureValues(ctx context.Context, token *fleet.ClusterRegistrationToken, life joining.Life, now time.Time) (time.Duration, error) {
	secret, err := c.optionalSecret(ctx, token.Namespace, token.Name)
	if err != nil {
		return 0, err
	}
	if secret != nil && !ownedBy(secret, token) {
		return 0, errSecretTaken
	}
	if secret == nil {
		// The token is bound to the Secret, which has to be there first: when it goes, the token is void.
		if secret, err = c.Hub.Secrets.Create(ctx, emptyValues(token)); err != nil {
			return 0, fmt.Errorf("creating the Secret of the token: %w", err)
		}
	}
	renew, err := time.Parse(time.RFC3339, secret.Annotations[names.AnnotationRenew])
	if err == nil && (renew.IsZero() || now.Before(renew)) && c.upToDate(secret) {
		return untilRenewal(renew, now), nil
	}
	return c.renew(ctx, token, secret, life)
}

func untilRenewal(renew, now time.Time) time.Duration {
	if renew.IsZero() {
		return 0
	}
	return renew.Sub(now)
}

func emptyValues(token *fleet.ClusterRegistrationToken) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: token.Name, Namespace: token.Namespace, Labels: managed(),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: fleet.SchemeGroupVersion.String(), Kind: "ClusterRegistrationToken", Name: token.Name, UID: token.UID,
			}},
		},
		Type: names.SecretTypeClusterRegValues,
	}
}

// renew puts a new token into the Secret.
func (c *controller) renew(ctx context.Context, token *fleet.ClusterRegistrationToken, secret *corev1.Secret, life joining.Life) (time.Duration, error) {
	now := c.Clock.Now()
	asked := forEver
	if !life.Ends.IsZero() {
		asked = max(life.Ends.Sub(now), shortest)
	}
	seconds := int64(asked.Seconds())
	granted, err := c.Hub.Kubernetes.CoreV1().ServiceAccounts(token.Namespace).CreateToken(ctx, names.Join, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: &seconds,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: secret.Name, UID: secret.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("requesting a join token: %w", err)
	}
	id, err := joining.CredentialID(granted.Status.Token)
	if err != nil {
		return 0, fmt.Errorf("reading what the hub gave: %w", err)
	}
	values, err := c.values(token, granted.Status.Token)
	if err != nil {
		return 0, err
	}
	expires := granted.Status.ExpirationTimestamp.Time
	var renew time.Time
	if expires.Before(now.Add(asked - time.Minute)) {
		renew = now.Add(expires.Sub(now) * 2 / 3)
	}
	after := secret.DeepCopy()
	after.Data = map[string][]byte{names.KeyValues: values}
	ids := append([]string{id}, strings.Split(secret.Annotations[names.AnnotationCredential], ",")...)
	after.Annotations = map[string]string{
		names.AnnotationCredential: strings.Trim(strings.Join(ids[:min(len(ids), remembered)], ","), ","),
		names.AnnotationExpires:    expires.UTC().Format(time.RFC3339),
		names.AnnotationRenew:      renew.UTC().Format(time.RFC3339),
	}
	if _, err := c.Hub.Secrets.Patch(ctx, secret, after); err != nil {
		return 0, fmt.Errorf("writing the Secret of the token: %w", err)
	}
	c.Log.WithFields(logrus.Fields{"controller": "registrations", "namespace": token.Namespace, "token": token.Name}).Info("Made a join token")
	return untilRenewal(renew, now), nil
}

// agentValues are the Helm values of an agent that joins.
type agentValues struct {
	ClusterNamespace            string    `json:"clusterNamespace"`
	APIServerURL                string    `json:"apiServerURL"`
	APIServerCA                 string    `json:"apiServerCA"`
	Token                       string    `json:"token"`
	SystemRegistrationNamespace string    `json:"systemRegistrationNamespace"`
	TokenName                   string    `json:"tokenName"`
	Internal                    *internal `json:"internal,omitempty"`
	// Image is that of the agents that the hub installs itself: an agent that joins comes from the same registry.
	Image agentImage `json:"image,omitzero"`
}

type internal struct {
	SystemNamespace string `json:"systemNamespace"`
}

func (c *controller) values(token *fleet.ClusterRegistrationToken, secret string) ([]byte, error) {
	v := agentValues{
		ClusterNamespace: token.Namespace, APIServerURL: c.Agents.URL, APIServerCA: string(c.Agents.CA), Token: secret,
		SystemRegistrationNamespace: names.NamespaceRegistrations, TokenName: names.RegistrationToken(token.Name),
		Image: imageOf(c.AgentImage),
	}
	if c.Namespace != "" && c.Namespace != names.NamespaceSystem {
		v.Internal = &internal{c.Namespace}
	}
	data, err := yaml.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding values: %w", err)
	}
	return data, nil
}

// upToDate says whether the values in the Secret lead agents to where the hub is now, with the image that it has now.
func (c *controller) upToDate(secret *corev1.Secret) bool {
	var v agentValues
	return yaml.Unmarshal(secret.Data[names.KeyValues], &v) == nil &&
		v.APIServerURL == c.Agents.URL && v.APIServerCA == string(c.Agents.CA) && v.Image == imageOf(c.AgentImage)
}

// reportToken says in the status of the token where it is and until when, or what keeps it from being made.
func (c *controller) reportToken(ctx context.Context, token *fleet.ClusterRegistrationToken, life joining.Life, failed error) error {
	after := token.DeepCopy()
	accepted := fleet.Condition{Type: fleet.ConditionAccepted, Status: metav1.ConditionTrue, Reason: ReasonIssued}
	switch {
	case errors.Is(failed, errSecretTaken):
		accepted.Status, accepted.Reason = metav1.ConditionFalse, ReasonSecretTaken
		accepted.Message = fmt.Sprintf("there is a Secret %s that is not this token's: delete it, or make a token of another name", token.Name)
		failed = kube.Permanent(errors.New(accepted.Message))
	case failed != nil:
		return failed
	default:
		after.Status.SecretName = token.Name
	}
	after.Status.Expires = nil
	if !life.Ends.IsZero() {
		ends := metav1.NewTime(life.Ends)
		after.Status.Expires = &ends
	}
	status.Set(&after.Status.Conditions, accepted, metav1.NewTime(c.Clock.Now()))
	if _, err := c.Hub.ClusterRegistrationTokens.PatchStatus(ctx, token, after); err != nil && !apierrors.IsNotFound(err) {
		return errors.Join(failed, fmt.Errorf("writing status of registration token: %w", err))
	}
	return failed
}

// Reasons of the condition Accepted of a ClusterRegistrationToken. They are part of the API.
const (
	// ReasonIssued: the Secret with the token is there.
	ReasonIssued = "Issued"
	// ReasonSecretTaken: the Secret that it needs is somebody else's.
	ReasonSecretTaken = "SecretTaken"
)

// replaceName takes a name out of a text.
func replaceName(text, name string) string { return strings.ReplaceAll(text, name, "c-…") }
