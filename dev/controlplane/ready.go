package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/dev/process"
)

const (
	pollInterval   = 25 * time.Millisecond
	requestTimeout = 2 * time.Second
)

// NodeName is the node that kwok plays.
const NodeName = "node-1"

// waitReady returns when the component answers that it is ready, or as soon as its process has ended.
func (c *Cluster) waitReady(ctx context.Context, component Component, running *process.Process) error {
	client, err := c.healthClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	return running.AwaitReady(ctx, process.HTTPProbe(client, c.healthURL(component)))
}

// takePorts returns when the component's ports can be listened on. A predecessor that is not ours to find may
// still hold them, draining its connections.
func (c *Cluster) takePorts(ctx context.Context, component Component) error {
	for _, name := range portsOf(component) {
		c.reserved.Release(name)
		if err := ports.AwaitFree(ctx, c.state.Ports[name]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) healthURL(component Component) string {
	scheme, path := "https", "healthz"
	switch component {
	case Etcd:
		scheme, path = "http", "readyz"
	case APIServer:
		path = "readyz"
	case Kwok:
		scheme = "http"
	case ControllerManager, Scheduler:
	}
	return fmt.Sprintf("%s://%s/%s", scheme, c.address(component), path)
}

func (c *Cluster) healthClient() (*http.Client, error) {
	ca, err := c.CA()
	if err != nil {
		return nil, fmt.Errorf("reading authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("reading authority: it holds no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
	return &http.Client{Transport: transport, Timeout: requestTimeout}, nil
}

// ensureNode makes the node and waits until kwok has made it ready, so that a Deployment can become available.
func (c *Cluster) ensureNode(ctx context.Context) error {
	config, err := c.RESTConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connecting to cluster %s: %w", c.state.Name, err)
	}
	nodes := client.CoreV1().Nodes()
	if _, err := nodes.Create(ctx, node(), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making the node: %w", err)
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		current, err := nodes.Get(ctx, NodeName, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the node: %w", err)
		}
		if nodeReady(current) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for kwok to make the node ready: %w", ctx.Err())
		case <-ticker.C:
		}
	}
}

func nodeReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// node is big enough for anything: what it plays takes no memory.
func node() *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("10k"), corev1.ResourceMemory: resource.MustParse("100Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Ti"), corev1.ResourcePods: resource.MustParse("100k"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: NodeName, Labels: map[string]string{
			corev1.LabelHostname: NodeName, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}},
		Status: corev1.NodeStatus{Capacity: room, Allocatable: room},
	}
}
