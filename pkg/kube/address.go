package kube

import (
	"bytes"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Address is how an agent reaches the hub's API server.
type Address struct {
	URL string
	// CA is a PEM bundle; empty means the certificates that the agent's system
	// trusts.
	CA []byte
}

// Or fills in what is not said.
func (a Address) Or(other Address) Address {
	if a.URL == "" {
		a.URL = other.URL
	}
	if len(a.CA) == 0 {
		a.CA = other.CA
	}
	return a
}

// AddressOf returns the address of the API server that a client is configured
// for.
func AddressOf(config *rest.Config) Address {
	config = rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(config); err != nil {
		// The client that was made of it before could read them.
		return Address{URL: config.Host}
	}
	return Address{URL: config.Host, CA: config.CAData}
}

// Kubeconfig returns the kubeconfig with which an agent reaches its namespace
// on the hub.
func (a Address) Kubeconfig(namespace, token string) ([]byte, error) {
	const name = "hub"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: a.URL, CertificateAuthorityData: a.CA}
	config.AuthInfos[names.Agent] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: names.Agent, Namespace: namespace}
	config.CurrentContext = name
	data, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("encoding kubeconfig: %w", err)
	}
	return data, nil
}

// Is says whether the addresses are the same.
func (a Address) Is(other Address) bool { return a.URL == other.URL && bytes.Equal(a.CA, other.CA) }
