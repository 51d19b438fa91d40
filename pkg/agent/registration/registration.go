// Package registration has an agent join a hub by itself: with a join token it asks to be registered, is answered in a Secret
// that only it can name, and keeps what it gets as the agent's Secret, as if the hub had brought it.
package registration

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/joining"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Registrar registers the agent of a cluster.
type Registrar struct {
	// Local reaches the agent's own cluster.
	Local kubernetes.Interface
	// Namespace is the agent's own.
	Namespace string
}

// answerTimeout is how long the hub may take to answer.
const answerTimeout = 2 * time.Minute

// requestTimeout bounds one request to the hub.
const requestTimeout = 15 * time.Second

// Bootstrap is what an agent registers with.
type Bootstrap struct {
	Hub kube.Address
	// Token is the join token, TokenName the name of its ClusterRegistrationToken.
	Token, TokenName string
	// Workspace is where the Cluster is to be; Answers is the namespace of answers.
	Workspace, Answers string
	// ClientID is what the cluster is known by; empty means the UID of its namespace kube-system.
	ClientID string
	Labels   map[string]string
}

// Read reads the Secret that an agent registers with. What is wrong with it never quotes it.
func Read(secret *corev1.Secret) (Bootstrap, error) {
	text := func(key string) string { return strings.TrimSpace(string(secret.Data[key])) }
	b := Bootstrap{
		Hub:   kube.Address{URL: text(names.KeyAPIServerURL), CA: secret.Data[names.KeyAPIServerCA]},
		Token: text(names.KeyToken), TokenName: text(names.KeyTokenName),
		Workspace: text(names.KeyClusterNamespace), Answers: text(names.KeyRegistrationNamespace), ClientID: text(names.KeyClientID),
	}
	if b.Answers == "" {
		b.Answers = names.NamespaceRegistrations
	}
	for key, value := range map[string]string{names.KeyAPIServerURL: b.Hub.URL, names.KeyToken: b.Token, names.KeyClusterNamespace: b.Workspace} {
		if value == "" {
			return b, fmt.Errorf("key %s is missing", key)
		}
	}
	if labels := text(names.KeyClusterLabels); labels != "" {
		if err := json.Unmarshal([]byte(labels), &b.Labels); err != nil {
			return b, fmt.Errorf("key %s is no JSON object of strings", names.KeyClusterLabels)
		}
	}
	return b, nil
}

// Identity stands for the cluster that is registered, of which hub: with another one, the agent is to register anew.
func (b Bootstrap) Identity() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{b.Hub.URL, b.Workspace, b.ClientID}, "\n")))
	return hex.EncodeToString(sum[:])
}

// RefusedError says that the hub refused, and why. Trying again helps only once somebody has done something about it.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "the hub refuses the registration: " + e.Reason }

// Register asks the hub, waits for its answer and keeps it as the agent's Secret, which it returns.
func (r *Registrar) Register(ctx context.Context, b Bootstrap) (*corev1.Secret, error) {
	clientID, err := r.clientID(ctx, b)
	if err != nil {
		return nil, err
	}
	random, err := r.clientRandom(ctx, b.Identity())
	if err != nil {
		return nil, err
	}
	hub, err := kube.Connect(&rest.Config{
		Host: b.Hub.URL, BearerToken: b.Token, TLSClientConfig: rest.TLSClientConfig{CAData: b.Hub.CA}, Timeout: requestTimeout,
	}, kube.Options{UserAgent: "flotilla-agent"})
	if err != nil {
		return nil, fmt.Errorf("connecting to the hub: %w", err)
	}
	answer, err := ask(ctx, hub, b, r.request(b, clientID, random))
	if err != nil {
		return nil, err
	}
	return r.keep(ctx, b, answer)
}

// request is what the hub is asked for.
func (r *Registrar) request(b Bootstrap, clientID, random string) *fleet.ClusterRegistration {
	// Of a token that does not say it, the hub says what is wrong with it.
	credential, _ := joining.CredentialID(b.Token)
	registration := &fleet.ClusterRegistration{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "request-", Namespace: b.Workspace, Annotations: map[string]string{names.AnnotationCredential: credential},
		},
		Spec: fleet.ClusterRegistrationSpec{ClientID: clientID, ClientRandom: random, ClusterLabels: b.Labels},
	}
	if b.TokenName != "" {
		registration.Labels = map[string]string{names.LabelRegistrationToken: b.TokenName}
	}
	return registration
}

// ask returns the answer of the hub.
func ask(ctx context.Context, hub *kube.Connection, b Bootstrap, registration *fleet.ClusterRegistration) (*corev1.Secret, error) {
	if _, err := kube.NewHub(hub).ClusterRegistrations.Create(ctx, registration); err != nil {
		return nil, explain(err)
	}
	name := names.RegistrationSecret(registration.Spec.ClientID, registration.Spec.ClientRandom)
	answer, err := awaitAnswer(ctx, hub.Kubernetes, b.Answers, name)
	if err != nil {
		return nil, err
	}
	if reason, refused := answer.Data[names.KeyRefused]; refused {
		return nil, &RefusedError{string(reason)}
	}
	return answer, nil
}

// explain says what to do about a hub that does not take the request.
func explain(err error) error {
	if apierrors.IsUnauthorized(err) {
		return &RefusedError{"the join token has expired or was revoked: get a new one with `flotilla join` on the hub, and install the agent with it"}
	}
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		return &RefusedError{err.Error()}
	}
	return fmt.Errorf("asking the hub to register this cluster: %w", err)
}

// awaitAnswer reads the answer once it is there. It cannot be watched: until then, nobody may read it. Its name stays out of
// errors.
func awaitAnswer(ctx context.Context, hub kubernetes.Interface, namespace, name string) (*corev1.Secret, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTimeout, errors.New("the hub has not answered in time: check that its manager runs"))
	defer cancel()
	backoff := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 1.3, Jitter: 0.2, Steps: 30, Cap: 5 * time.Second}
	var answer *corev1.Secret
	var last error
	err := backoff.DelayFunc().Until(ctx, true, false, func(ctx context.Context) (bool, error) {
		found, err := hub.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			answer = found
		case apierrors.IsUnauthorized(err):
			return false, explain(err)
		case !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) && ctx.Err() == nil:
			last = err
		}
		return err == nil, nil
	})
	if err == nil {
		return answer, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if last != nil {
		err = errors.Join(err, errors.New(strings.ReplaceAll(last.Error(), name, "c-…")))
	}
	return nil, fmt.Errorf("waiting for the hub's answer: %w", err)
}

// keep writes the agent's Secret.
func (r *Registrar) keep(ctx context.Context, b Bootstrap, answer *corev1.Secret) (*corev1.Secret, error) {
	kubeconfig, err := b.Hub.Kubeconfig(string(answer.Data[names.KeyDeploymentNamespace]), string(answer.Data[names.KeyToken]))
	if err != nil {
		return nil, err
	}
	return r.put(ctx, names.SecretAgent, func(secret *corev1.Secret) {
		secret.Data = map[string][]byte{
			names.KeyKubeconfig:          kubeconfig,
			names.KeyDeploymentNamespace: answer.Data[names.KeyDeploymentNamespace],
			names.KeyClusterNamespace:    answer.Data[names.KeyClusterNamespace],
			names.KeyClusterName:         answer.Data[names.KeyClusterName],
		}
		secret.Annotations = map[string]string{
			names.AnnotationRegistered: b.Identity(), names.AnnotationRenew: answer.Annotations[names.AnnotationRenew],
		}
	})
}

// put writes a Secret of the agent, made or not.
func (r *Registrar) put(ctx context.Context, name string, edit func(*corev1.Secret)) (*corev1.Secret, error) {
	secrets := r.Local.CoreV1().Secrets(r.Namespace)
	secret, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name}, Type: corev1.SecretTypeOpaque}
		edit(secret)
		secret, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
	} else if err == nil {
		edit(secret)
		secret, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("writing Secret %s/%s: %w", r.Namespace, name, err)
	}
	return secret, nil
}

// clientID returns what the cluster is known by.
func (r *Registrar) clientID(ctx context.Context, b Bootstrap) (string, error) {
	if b.ClientID != "" {
		return b.ClientID, nil
	}
	namespace, err := r.Local.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("finding out what this cluster is known by: %w", err)
	}
	return string(namespace.UID), nil
}

// clientRandom returns what the hub knows this agent by, and nobody else can show. It is kept before it is used, and stays the
// same for one identity: an agent that was cut off half-way, or whose token has expired, is known again.
func (r *Registrar) clientRandom(ctx context.Context, identity string) (string, error) {
	secret, err := r.Local.CoreV1().Secrets(r.Namespace).Get(ctx, names.SecretAgentRegistration, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("reading Secret %s/%s: %w", r.Namespace, names.SecretAgentRegistration, err)
	}
	if err == nil && secret.Annotations[names.AnnotationRegistered] == identity && len(secret.Data[names.KeyClientRandom]) > 0 {
		return string(secret.Data[names.KeyClientRandom]), nil
	}
	bytes := make([]byte, 32)
	if _, err := rand.Read(bytes); err != nil {
		return "", fmt.Errorf("getting random bytes: %w", err)
	}
	random := hex.EncodeToString(bytes)
	_, err = r.put(ctx, names.SecretAgentRegistration, func(secret *corev1.Secret) {
		secret.Data = map[string][]byte{names.KeyClientRandom: []byte(random)}
		secret.Annotations = map[string]string{names.AnnotationRegistered: identity}
	})
	return random, err
}
