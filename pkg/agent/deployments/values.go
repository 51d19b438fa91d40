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
	"github.com/flotilla-gitops/flotilla/pkg/copies"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// defaultValuesKey is the key of the values in a ConfigMap or Secret where the
// reference names none.
const defaultValuesKey = "values.yaml"

// errValuesOutdated says that the Secret with the values, and with what is to
// be copied, is not the one that the deployment was written with. The hub writes
// one after the other.
var errValuesOutdated = errors.New("the Secret with the values is not yet the one that the deployment means")

// inputs are what a deployment needs and does not say itself.
type inputs struct {
	// values are JSON.
	values []byte
	copies []copies.Copy
}

// hubInputs returns the inputs of a deployment from its Secret in the cluster's
// namespace on the hub.
func (c *Controller) hubInputs(ctx context.Context, bd *fleet.BundleDeployment) (inputs, error) {
	digest := copiedBy(bd)
	if len(bd.Spec.Options.DownstreamResources) > 0 && digest == "" {
		// A manager that copies nothing wrote it.
		return inputs{}, errValuesOutdated
	}
	if bd.Spec.ValuesHash == "" && digest == "" {
		return inputs{}, nil
	}
	secret, err := c.deps.Secrets.Get(ctx, bd.Namespace, bd.Name)
	if apierrors.IsNotFound(err) {
		return inputs{}, errValuesOutdated
	}
	if err != nil {
		return inputs{}, &HubError{Op: "reading the Secret with the values", Err: err}
	}
	var in inputs
	if bd.Spec.ValuesHash != "" {
		in.values = secret.Data[bundle.KeyValues]
	}
	encoded := secret.Data[names.KeyDownstreamResources]
	if bundle.DeploymentValuesHash(in.values) != bd.Spec.ValuesHash || digest != "" && names.Digest(encoded) != digest {
		return inputs{}, errValuesOutdated
	}
	if digest != "" {
		in.copies, err = copies.Decode(encoded)
	}
	return in, err
}

// clusterValues reads values from ConfigMaps and Secrets of the cluster.
type clusterValues struct {
	client kubernetes.Interface
	// copies are what the hub gives for the namespace of the release; what they hold counts, wherever a reference looks.
	copies []copies.Copy
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

// copied returns what a copy holds under a key. It is false if nothing of that
// name is copied.
func (v clusterValues) copied(ref copies.Ref, key string) (text string, is bool, err error) {
	for i := range v.copies {
		if v.copies[i].Ref() != ref {
			continue
		}
		text, found := v.copies[i].Value(keyOr(key))
		if !found {
			return "", true, fmt.Errorf("valuesFrom: %s %s on the hub has no key %s", ref.Kind, v.copies[i].Source(), keyOr(key))
		}
		return text, true, nil
	}
	return "", false, nil
}

func (v clusterValues) configMap(ctx context.Context, r *fleet.ConfigMapKeySelector) (string, error) {
	if text, is, err := v.copied(copies.Ref{Kind: copies.KindConfigMap, Name: r.Name}, r.Key); is {
		return text, err
	}
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
	if text, is, err := v.copied(copies.Ref{Kind: copies.KindSecret, Name: r.Name}, r.Key); is {
		return text, err
	}
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
