package clusters

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// cluster returns the cluster from the cache, or nil if it is not there.
func (c *controller) cluster(key kube.Key) (*fleet.Cluster, error) {
	cluster, err := c.clusters.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading cluster: %w", err)
	}
	return cluster, nil
}

// hubID returns the identity of the hub: the UID of a namespace that every cluster has and that lives as long as it.
func (c *controller) hubID() (string, error) {
	namespace, err := c.namespaces.Get("", metav1.NamespaceSystem)
	if err != nil {
		return "", fmt.Errorf("reading the identity of the hub: %w", err)
	}
	return string(namespace.UID), nil
}

// importFacts is what was observed of a cluster that is to be imported.
type importFacts struct {
	cluster *fleet.Cluster
	// kubeconfig is the user's Secret.
	kubeconfig *corev1.Secret
	// credential is the agent's token as it is kept on the hub.
	credential credential
	hub        kube.Address
	image      string
	now        time.Time
}

// observeImport reads, past the caches, the Secrets that an import needs: they are few, and the manager keeps no
// credentials in memory.
func (c *controller) observeImport(ctx context.Context, cluster *fleet.Cluster) (importFacts, error) {
	facts := importFacts{cluster: cluster, image: c.AgentImage, now: c.Clock.Now()}
	if ns := cluster.Spec.KubeConfigSecretNamespace; ns != "" && ns != cluster.Namespace {
		return facts, &problem{ReasonSpecInvalid, fmt.Sprintf(
			"spec.kubeConfigSecretNamespace is %q, but only the namespace of the Cluster is allowed: put the Secret into %s", ns, cluster.Namespace)}
	}
	secret, err := c.Hub.Secrets.Get(ctx, cluster.Namespace, cluster.Spec.KubeConfigSecret)
	if apierrors.IsNotFound(err) {
		return facts, &problem{ReasonKubeconfigMissing, fmt.Sprintf(
			"there is no Secret %s/%s: create it with the cluster's kubeconfig under %q", cluster.Namespace, cluster.Spec.KubeConfigSecret, names.KeyImportKubeconfig)}
	}
	if err != nil {
		return facts, fmt.Errorf("reading the kubeconfig's Secret: %w", err)
	}
	facts.kubeconfig = secret
	address, wrong := addressFor(secret, c.address)
	if wrong != nil {
		return facts, wrong
	}
	facts.hub = address
	facts.credential, err = c.credential(ctx, cluster)
	return facts, err
}

// credential reads the agent's token past the caches.
func (c *controller) credential(ctx context.Context, cluster *fleet.Cluster) (credential, error) {
	token, err := c.Hub.Secrets.Get(ctx, names.ClusterNamespace(cluster.Namespace, cluster.Name), names.SecretAgent)
	if apierrors.IsNotFound(err) {
		return credential{}, nil
	}
	if err != nil {
		return credential{}, fmt.Errorf("reading the agent's token: %w", err)
	}
	return credentialFrom(token), nil
}

// plan returns what is to be installed downstream with the given token, and its fingerprint.
func (f importFacts) plan(token credential, server string) (agentManifests, string, error) {
	namespace := names.ClusterNamespace(f.cluster.Namespace, f.cluster.Name)
	kubeconfig, err := f.hub.Kubeconfig(namespace, token.Token)
	if err != nil {
		return agentManifests{}, "", err
	}
	manifests, wrong := manifestsOf(f.cluster, f.image, kubeconfig, token.Namespace)
	if wrong != nil {
		return agentManifests{}, "", wrong
	}
	digest, err := manifests.fingerprint(server)
	return manifests, digest, err
}
