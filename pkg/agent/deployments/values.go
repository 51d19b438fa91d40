package deployments

import (
	"context"
	"errors"
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

// defaultValuesKey is the key of the values in a ConfigMap or Secret where the
// reference names none.
const defaultValuesKey = "values.yaml"

// errValuesOutdated says that the Secret with the values is not the one that
// the deployment was written with. The hub writes one after the other.
var errValuesOutdated = errors.New("the Secret with the values is not yet the one that the deployment means")

// hubValues returns the values of a deployment, as JSON, from its Secret in
// the cluster's namespace on the hub.
func (c *Controller) hubValues(ctx context.Context, bd *fleet.BundleDeployment) ([]byte, error) {
	if bd.Spec.ValuesHash == "" {
		return nil, nil
	}
	secret, err := c.deps.Secrets.Get(ctx, bd.Namespace, bd.Name)
	if apierrors.IsNotFound(err) {
		return nil, errValuesOutdated
	}
	if err != nil {
		return nil, &HubError{Op: "reading the Secret with the values", Err: err}
	}
	values := secret.Data[bundle.KeyValues]
	if bundle.DeploymentValuesHash(values) != bd.Spec.ValuesHash {
		return nil, errValuesOutdated
	}
	return values, nil
}

// clusterValues reads values from ConfigMaps and Secrets of the cluster.
type clusterValues struct {
	client kubernetes.Interface
	// namespace is that of the release; impersonated says that client acts as a service account, which decides what it
	// may read elsewhere.
	namespace    string
	impersonated bool
}

// merge returns values with those of the references merged over them, in
// their order.
func (v clusterValues) merge(ctx context.Context, values map[string]any, refs []fleet.ValuesFrom) (map[string]any, error) {
	for _, ref := range refs {
		if r := ref.ConfigMapKeyRef; r != nil {
			text, err := v.configMap(ctx, r)
			if err != nil {
				return nil, err
			}
			if values, err = overlay(values, text, "ConfigMap", r.Name); err != nil {
				return nil, err
			}
		}
		if r := ref.SecretKeyRef; r != nil {
			text, err := v.secret(ctx, r)
			if err != nil {
				return nil, err
			}
			if values, err = overlay(values, text, "Secret", r.Name); err != nil {
				return nil, err
			}
		}
	}
	return values, nil
}

func (v clusterValues) configMap(ctx context.Context, r *fleet.ConfigMapKeySelector) (string, error) {
	namespace, err := v.allowed(r.Namespace)
	if err != nil {
		return "", fmt.Errorf("valuesFrom: ConfigMap %s: %w", r.Name, err)
	}
	found, err := v.client.CoreV1().ConfigMaps(namespace).Get(ctx, r.Name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("valuesFrom: reading ConfigMap %s/%s: %w", namespace, r.Name, err)
	}
	key := keyOr(r.Key)
	text, ok := found.Data[key]
	if !ok {
		return "", fmt.Errorf("valuesFrom: ConfigMap %s/%s has no key %s", namespace, r.Name, key)
	}
	return text, nil
}

func (v clusterValues) secret(ctx context.Context, r *fleet.SecretKeySelector) (string, error) {
	namespace, err := v.allowed(r.Namespace)
	if err != nil {
		return "", fmt.Errorf("valuesFrom: Secret %s: %w", r.Name, err)
	}
	found, err := v.client.CoreV1().Secrets(namespace).Get(ctx, r.Name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("valuesFrom: reading Secret %s/%s: %w", namespace, r.Name, err)
	}
	key := keyOr(r.Key)
	text, ok := found.Data[key]
	if !ok {
		return "", fmt.Errorf("valuesFrom: Secret %s/%s has no key %s", namespace, r.Name, key)
	}
	return string(text), nil
}

// allowed returns the namespace to read from. The agent's own identity can
// read every namespace, so it reads none for a tenant but that of his release.
func (v clusterValues) allowed(namespace string) (string, error) {
	if namespace == "" || namespace == v.namespace {
		return v.namespace, nil
	}
	if !v.impersonated {
		return "", fmt.Errorf("it is in namespace %s, not in that of the release: only a deployment with a serviceAccount can read there", namespace)
	}
	return namespace, nil
}

func keyOr(key string) string {
	if key == "" {
		return defaultValuesKey
	}
	return key
}

func overlay(values map[string]any, text, kind, name string) (map[string]any, error) {
	var over map[string]any
	if yaml.Unmarshal([]byte(text), &over) != nil {
		// The cause would quote the values.
		return nil, fmt.Errorf("valuesFrom: the values in %s %s are not a YAML mapping", kind, name)
	}
	return mergeMaps(values, over), nil
}

// mergeMaps returns base with over merged into it, however deep; over wins.
// Neither is changed.
func mergeMaps(base, over map[string]any) map[string]any {
	merged := maps.Clone(base)
	if merged == nil {
		merged = map[string]any{}
	}
	for key, value := range over {
		inner, isMap := value.(map[string]any)
		below, wasMap := merged[key].(map[string]any)
		if isMap && wasMap {
			value = mergeMaps(below, inner)
		}
		merged[key] = value
	}
	return merged
}
