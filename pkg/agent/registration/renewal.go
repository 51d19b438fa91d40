package registration

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Due returns when the token in the agent's Secret is to be fetched anew, and whether it is the agent's task at all: the hub
// brings it to agents that it installed.
func Due(secret *corev1.Secret) (time.Time, bool) {
	if secret == nil || secret.Annotations[names.AnnotationRegistered] == "" {
		return time.Time{}, false
	}
	due, err := time.Parse(time.RFC3339, secret.Annotations[names.AnnotationRenew])
	return due, err == nil
}

// errNotRenewed: the hub has no newer token yet.
var errNotRenewed = errors.New("the hub has not renewed the token yet")

// Renew fetches the token that the hub keeps for the agent and puts it into the agent's Secret.
func (r *Registrar) Renew(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(secret.Data[names.KeyKubeconfig])
	if err != nil {
		return nil, errors.New("the agent's Secret holds no kubeconfig") // the error may quote it
	}
	config.Timeout, config.UserAgent = requestTimeout, "flotilla-agent"
	hub, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the hub: %w", err)
	}
	namespace := string(secret.Data[names.KeyDeploymentNamespace])
	kept, err := hub.CoreV1().Secrets(namespace).Get(ctx, names.SecretAgent, metav1.GetOptions{})
	if apierrors.IsUnauthorized(err) {
		return nil, &RefusedError{"its token has expired or was revoked"}
	}
	if err != nil {
		return nil, fmt.Errorf("fetching the agent's token from the hub: %w", err)
	}
	if string(kept.Data[names.KeyToken]) == config.BearerToken {
		return nil, errNotRenewed
	}
	address := kube.Address{URL: config.Host, CA: config.CAData}
	return r.renewed(ctx, moved(ctx, address, kept), secret, kept)
}

// moved returns the address where the hub is from now on: the one that it names, if the agent is answered there with its new
// token, else the one that it has. An address that is wrong, or not reached from here, cuts nobody off.
func moved(ctx context.Context, from kube.Address, kept *corev1.Secret) kube.Address {
	to := kube.Address{URL: string(kept.Data[names.KeyAPIServerURL]), CA: kept.Data[names.KeyAPIServerCA]}
	if to.URL == "" || to.Is(from) {
		return from
	}
	hub, err := kubernetes.NewForConfig(&rest.Config{
		Host: to.URL, TLSClientConfig: rest.TLSClientConfig{CAData: to.CA}, BearerToken: string(kept.Data[names.KeyToken]),
		Timeout: requestTimeout, UserAgent: "flotilla-agent",
	})
	if err != nil {
		return from
	}
	there, err := hub.CoreV1().Secrets(kept.Namespace).Get(ctx, names.SecretAgent, metav1.GetOptions{})
	if err != nil || there.UID != kept.UID {
		return from
	}
	return to
}

func (r *Registrar) renewed(ctx context.Context, address kube.Address, secret, kept *corev1.Secret) (*corev1.Secret, error) {
	kubeconfig, err := address.Kubeconfig(kept.Namespace, string(kept.Data[names.KeyToken]))
	if err != nil {
		return nil, err
	}
	return r.put(ctx, names.SecretAgent, func(s *corev1.Secret) {
		before := secret.DeepCopy()
		s.Data, s.Annotations = before.Data, before.Annotations
		s.Data[names.KeyKubeconfig] = kubeconfig
		s.Annotations[names.AnnotationRenew] = kept.Annotations[names.AnnotationRenew]
	})
}
