package agent

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Check returns nil as soon as the agent in a namespace of the cluster that local reaches is at work: it has joined, its
// hub accepts it, and has its heartbeat. When ctx ends before, it returns what is missing. It takes the rights of the
// agent, and changes nothing.
func Check(ctx context.Context, local *rest.Config, namespace string) error {
	client, err := kubernetes.NewForConfig(local)
	if err != nil {
		return fmt.Errorf("making client for the agent's cluster: %w", err)
	}
	return kube.AwaitNothingMissing(ctx, func(ctx context.Context) error { return look(ctx, client, namespace) })
}

// look returns what is missing.
func look(ctx context.Context, client kubernetes.Interface, namespace string) error {
	secret, err := client.CoreV1().Secrets(namespace).Get(ctx, names.SecretAgent, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("the agent has not joined, its log says why: %w", err)
	}
	c, err := readCredentials(secret)
	if err != nil {
		return fmt.Errorf("the Secret %s/%s cannot be used: %w", namespace, names.SecretAgent, err)
	}
	config := rest.CopyConfig(c.hub)
	config.BearerToken = c.token
	conn, err := kube.Connect(config, kube.Options{UserAgent: "flotilla-check", Namespace: c.namespace})
	if err != nil {
		return err
	}
	if _, err := kube.NewHub(conn).BundleDeployments.List(ctx, c.namespace, labels.Everything()); err != nil {
		return fmt.Errorf("the hub at %s does not let the agent read its deployments: %w", config.Host, err)
	}
	if _, err := conn.Kubernetes.CoordinationV1().Leases(c.namespace).Get(ctx, names.LeaseAgent, metav1.GetOptions{}); err != nil {
		return fmt.Errorf("the agent has sent no heartbeat: %w", err)
	}
	return nil
}
