package clusters

import (
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// tokenLifetime is how long a token of an agent is asked to be valid. The hub may give less.
const tokenLifetime = 24 * time.Hour

// credential is an agent's token on the hub, as it is kept in the one Secret of the cluster namespace.
type credential struct {
	Token   string
	Expires time.Time
	// Renew is from when on there should be a new token.
	Renew time.Time
	// Delivered is the fingerprint of what was last installed downstream.
	Delivered string
	// Hub is where agents that joined reach the hub from now on; zero leaves it to them.
	Hub kube.Address
	// Namespace is where the agent was installed last, downstream.
	Namespace string
}

// credentialFrom reads the Secret; what it cannot read is as if it were not there.
func credentialFrom(secret *corev1.Secret) credential {
	if secret == nil {
		return credential{}
	}
	expires, err1 := time.Parse(time.RFC3339, secret.Annotations[names.AnnotationExpires])
	renew, err2 := time.Parse(time.RFC3339, secret.Annotations[names.AnnotationRenew])
	if err1 != nil || err2 != nil {
		return credential{}
	}
	return credential{
		Token: string(secret.Data[names.KeyToken]), Expires: expires, Renew: renew,
		Hub:       kube.Address{URL: string(secret.Data[names.KeyAPIServerURL]), CA: secret.Data[names.KeyAPIServerCA]},
		Delivered: secret.Annotations[names.AnnotationDelivered], Namespace: secret.Annotations[names.AnnotationAgentNamespace],
	}
}

// issued returns the credential that a token request of the given time got. It is renewed at two thirds of its life.
func issued(status authenticationv1.TokenRequestStatus, asked time.Time) credential {
	expires := status.ExpirationTimestamp.Time
	return credential{Token: status.Token, Expires: expires, Renew: asked.Add(expires.Sub(asked) * 2 / 3)}
}

// due says whether a new token is needed now.
func (c credential) due(now time.Time) bool {
	return c.Token == "" || !now.Before(c.Renew)
}

// secret returns the Secret that keeps the credential in the cluster namespace.
func (c credential) secret(namespace string) *corev1.Secret {
	annotations := map[string]string{
		names.AnnotationExpires: c.Expires.UTC().Format(time.RFC3339),
		names.AnnotationRenew:   c.Renew.UTC().Format(time.RFC3339),
	}
	if c.Delivered != "" {
		annotations[names.AnnotationDelivered] = c.Delivered
	}
	if c.Namespace != "" {
		annotations[names.AnnotationAgentNamespace] = c.Namespace
	}
	data := map[string][]byte{names.KeyToken: []byte(c.Token)}
	if c.Hub.URL != "" {
		data[names.KeyAPIServerURL], data[names.KeyAPIServerCA] = []byte(c.Hub.URL), c.Hub.CA
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: names.SecretAgent, Namespace: namespace, Labels: managed(), Annotations: annotations},
		Type:       names.SecretTypeAgentCredential,
		Data:       data,
	}
}
