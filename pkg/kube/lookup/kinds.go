package lookup

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/metadata"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Secrets looks up the Secrets that users write. Those that Flotilla, Helm and
// Kubernetes write are not watched: they are very many.
func Secrets(conn *kube.Connection) (*Lookup[*corev1.Secret], error) {
	var others []fields.Selector
	for _, kind := range []string{
		names.SecretTypeBundleValues, names.SecretTypeDeployment, names.SecretTypeAgentCredential, names.SecretTypeClusterRegValues,
		"helm.sh/release.v1", string(corev1.SecretTypeServiceAccountToken), string(corev1.SecretTypeBootstrapToken),
		string(corev1.SecretTypeDockercfg),
	} {
		others = append(others, fields.OneTermNotEqualSelector("type", kind))
	}
	return secrets(conn, fields.AndSelectors(others...))
}

// JoinTokens looks up the Secrets of ClusterRegistrationTokens.
func JoinTokens(conn *kube.Connection) (*Lookup[*corev1.Secret], error) {
	return secrets(conn, fields.OneTermEqualSelector("type", names.SecretTypeClusterRegValues))
}

func secrets(conn *kube.Connection, which fields.Selector) (*Lookup[*corev1.Secret], error) {
	client, err := metadata.NewForConfig(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("making client: %w", err)
	}
	return New(Options[*corev1.Secret]{
		Metadata: client, Resource: corev1.SchemeGroupVersion.WithResource("secrets"),
		FieldSelector: which.String(),
		Read: func(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
			return conn.Kubernetes.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		},
	}), nil
}

// ConfigMaps looks up the ConfigMaps that users write. Those that Kubernetes
// and Flotilla write into every namespace are not watched.
func ConfigMaps(conn *kube.Connection) (*Lookup[*corev1.ConfigMap], error) {
	return configMaps(conn, metav1.NamespaceAll, fields.AndSelectors(
		fields.OneTermNotEqualSelector(metav1.ObjectNameField, "kube-root-ca.crt"),
		fields.OneTermNotEqualSelector(metav1.ObjectNameField, names.ConfigMapHub),
	))
}

// ConfigMap looks up one ConfigMap.
func ConfigMap(conn *kube.Connection, key kube.Key) (*Lookup[*corev1.ConfigMap], error) {
	return configMaps(conn, key.Namespace, fields.OneTermEqualSelector(metav1.ObjectNameField, key.Name))
}

func configMaps(conn *kube.Connection, namespace string, which fields.Selector) (*Lookup[*corev1.ConfigMap], error) {
	client, err := metadata.NewForConfig(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("making client: %w", err)
	}
	return New(Options[*corev1.ConfigMap]{
		Metadata: client, Resource: corev1.SchemeGroupVersion.WithResource("configmaps"),
		Namespace: namespace, FieldSelector: which.String(),
		Read: func(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
			return conn.Kubernetes.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		},
	}), nil
}
