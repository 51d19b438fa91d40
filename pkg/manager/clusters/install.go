package clusters

import (
	"context"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// connect returns what writes to a cluster.
func connect(config *rest.Config) (kube.Applier, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return kube.Applier{}, fmt.Errorf("making client: %w", err)
	}
	return kube.Applier{Client: client}, nil
}

// ensureCredential returns the agent's token, and gets a new one when it is due. The hub keeps it in one Secret of the
// cluster namespace, so that a restart needs no other.
func (c *controller) ensureCredential(ctx context.Context, cluster *fleet.Cluster, have credential, now time.Time) (credential, error) {
	if !have.due(now) {
		return have, nil
	}
	namespace, err := c.namespaces.Get("", names.ClusterNamespace(cluster.Namespace, cluster.Name))
	if err != nil {
		return credential{}, fmt.Errorf("reading cluster namespace: %w", err)
	}
	// The moment to see that the access is still what it should be: a token of an identity that is gone opens nothing.
	objects, _, err := c.accessFor(cluster, namespace)
	if err != nil {
		return credential{}, err
	}
	if err := writeAccess(ctx, objects, c.hub.Apply); err != nil {
		return credential{}, err
	}
	seconds := int64(tokenLifetime.Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	granted, err := c.Hub.Kubernetes.CoreV1().ServiceAccounts(namespace.Name).CreateToken(ctx, names.Agent, request, metav1.CreateOptions{})
	if err != nil {
		return credential{}, fmt.Errorf("requesting a token for the agent: %w", err)
	}
	next := issued(granted.Status, now)
	next.Delivered, next.Namespace, next.Hub = have.Delivered, have.Namespace, have.Hub
	if err := c.keepCredential(ctx, cluster, next); err != nil {
		return credential{}, err
	}
	c.Log.WithFields(logrus.Fields{"cluster": kube.KeyOf(cluster).String()}).Info("Agent has a new token")
	return next, nil
}

func (c *controller) keepCredential(ctx context.Context, cluster *fleet.Cluster, next credential) error {
	if err := c.hub.Apply(ctx, next.secret(names.ClusterNamespace(cluster.Namespace, cluster.Name))); err != nil {
		return fmt.Errorf("keeping the agent's token: %w", err)
	}
	return nil
}

// deliver installs the agent downstream.
func (c *controller) deliver(ctx context.Context, config *rest.Config, m agentManifests) error {
	ctx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()
	downstream, err := c.downstream(config)
	if err != nil {
		return &problem{ReasonKubeconfigInvalid, "the kubeconfig cannot be used: check its certificates and keys"}
	}
	if err := install(ctx, downstream, m); err != nil {
		return downstreamProblem(config.Host, err)
	}
	return nil
}

// install brings the manifests to the cluster.
func install(ctx context.Context, a kube.Applier, m agentManifests) error {
	for _, object := range m.First {
		if err := a.Remove(ctx, object); err != nil {
			return err
		}
	}
	if err := a.Create(ctx, m.Namespace); err != nil {
		return err
	}
	for _, object := range m.Apply {
		if err := a.Apply(ctx, object); err != nil {
			return err
		}
	}
	for _, object := range m.Remove {
		if err := a.Remove(ctx, object); err != nil {
			return err
		}
	}
	return nil
}
