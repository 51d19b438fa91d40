package controlplane

import (
	"errors"
	"net"
	"strconv"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/pki"
)

// serviceRange is where Services get their addresses, and apiService the first of them, which is the API server's.
const (
	serviceRange = "10.96.0.0/16"
	apiService   = "10.96.0.1"
	loopback     = "127.0.0.1"
)

// Node is a real node, which somebody else runs, such as the package node does. The control plane is prepared for it: it has
// its keys, looks after its health, gives pods their tokens and lets their logs be read.
type Node struct {
	// Name is in small letters, as the kubelet writes it.
	Name string `json:"name"`
	// Address is that of the node, Host that of this machine which the node and its pods reach; the API server listens there.
	// Both are IP addresses, and Host is there before the cluster starts.
	Address string `json:"address"`
	Host    string `json:"host"`
}

// KeyFile is the path of a key, a certificate or a kubeconfig of the cluster: ca.crt, and with a Node kubelet.crt, kubelet.key,
// kubelet.kubeconfig and kube-proxy.kubeconfig.
func (c *Cluster) KeyFile(name string) string { return c.pki(name) }

// host is the address that the API server listens on.
func (c *Cluster) host() string {
	if c.state.Node == nil {
		return loopback
	}
	return c.state.Node.Host
}

func (c *Cluster) address(component Component) string {
	host := loopback
	if component == APIServer {
		host = c.host()
	}
	return net.JoinHostPort(host, strconv.Itoa(c.state.Ports[string(component)]))
}

// writeNodeKeys makes what the node's programs identify themselves with, and what the API server shows the kubelet.
func (c *Cluster) writeNodeKeys(authority *pki.Authority) error {
	node := c.state.Node
	serving, err := authority.Server(node.Name, node.Address, node.Name)
	if err != nil {
		return err
	}
	client, err := authority.Client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	return errors.Join(
		c.writePair("kubelet", serving), c.writePair("kubelet-client", client),
		c.writeUser(authority, user{c.pki("kubelet.kubeconfig"), "system:node:" + node.Name, []string{"system:nodes"}}),
		c.writeUser(authority, user{c.pki("kube-proxy.kubeconfig"), "system:kube-proxy", nil}),
	)
}

// apiserverNodeArgs are the flags that depend on whether kwok or a kubelet runs the pods.
func (c *Cluster) apiserverNodeArgs() []string {
	if c.state.Node == nil {
		return []string{
			// The loopback address is not allowed as an endpoint, and no pod runs that would use it.
			"--endpoint-reconciler-type=none",
			// ServiceAccount would hold up pods until their account is there, for tokens that no kubelet mounts.
			// TaintNodesByCondition would taint the node with nobody there to take the taint off.
			"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
		}
	}
	return []string{
		"--allow-privileged", "--enable-admission-plugins=NodeRestriction",
		"--kubelet-client-certificate=" + c.pki("kubelet-client.crt"), "--kubelet-client-key=" + c.pki("kubelet-client.key"),
		"--kubelet-certificate-authority=" + c.pki("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
	}
}
