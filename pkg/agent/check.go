package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
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
	config.BearerToken, config.UserAgent = c.token, "flotilla-check"
	deployments, err := metadata.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making client for the hub: %w", err)
	}
	hub, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making client for the hub: %w", err)
	}
	if _, err := presentOf(deployments, c.namespace)(ctx); err != nil {
		return fmt.Errorf("the hub at %s does not let the agent read its deployments: %w", config.Host, err)
	}
	lease, err := hub.CoordinationV1().Leases(c.namespace).Get(ctx, names.LeaseAgent, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("the agent has sent no heartbeat, its log says why: %w", err)
	}
	return silent(lease, time.Now())
}

// silent returns an error if the Lease of an agent was not renewed in time. Agent and now have the clock of one cluster.
func silent(lease *coordinationv1.Lease, now time.Time) error {
	renewed, lasts := lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds
	if renewed == nil || lasts == nil {
		return errors.New("the agent has sent no heartbeat, its log says why")
	}
	if until := renewed.Add(time.Duration(*lasts) * time.Second); now.After(until) {
		return fmt.Errorf("the last heartbeat of the agent was at %s, its log says why", renewed.UTC().Format(time.RFC3339))
	}
	return nil
}
