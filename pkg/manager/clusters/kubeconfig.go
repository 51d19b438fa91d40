package clusters

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// downstreamConfig reads the kubeconfig that a user gave for a cluster. Kubeconfigs come from people who may create
// Clusters, not from those who run the manager, so it must not make the manager run programs or read its own files.
func downstreamConfig(secret *corev1.Secret) (*rest.Config, *problem) {
	where := fmt.Sprintf("Secret %s/%s, key %q", secret.Namespace, secret.Name, names.KeyImportKubeconfig)
	data := secret.Data[names.KeyImportKubeconfig]
	if len(data) == 0 {
		return nil, &problem{ReasonKubeconfigMissing, where + " is empty: put the cluster's kubeconfig there"}
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		// The error may quote the kubeconfig, and with it credentials.
		return nil, &problem{ReasonKubeconfigInvalid, where + " is not a kubeconfig"}
	}
	if what := forbidden(config); what != "" {
		return nil, &problem{ReasonKubeconfigInvalid, fmt.Sprintf("%s uses %s, which is not allowed: put the data itself into the kubeconfig", where, what)}
	}
	rc, err := clientcmd.NewDefaultClientConfig(*config, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, &problem{ReasonKubeconfigInvalid, where + " has no usable current context: set current-context to a context with a cluster and a user"}
	}
	rc.Timeout = requestTimeout
	rc.UserAgent = names.FieldManager
	// One cluster's few requests need no throttle.
	rc.QPS = -1
	return rc, nil
}

// forbidden names the first thing in a kubeconfig that would make the manager run a program or read a file.
func forbidden(config *clientcmdapi.Config) string {
	for _, user := range config.AuthInfos {
		switch {
		case user.Exec != nil:
			return "exec"
		case user.AuthProvider != nil:
			return "auth-provider"
		case user.TokenFile != "":
			return "tokenFile"
		case user.ClientCertificate != "":
			return "client-certificate"
		case user.ClientKey != "":
			return "client-key"
		}
	}
	for _, cluster := range config.Clusters {
		if cluster.CertificateAuthority != "" {
			return "certificate-authority"
		}
	}
	return ""
}

// hubAddress is how an agent reaches the hub.
type hubAddress struct {
	URL string
	// CA is a PEM bundle; empty means the certificates that the agent's system trusts.
	CA []byte
}

// or fills in what is not said.
func (a hubAddress) or(other hubAddress) hubAddress {
	if a.URL == "" {
		a.URL = other.URL
	}
	if len(a.CA) == 0 {
		a.CA = other.CA
	}
	return a
}

// addressOf returns the address of the API server that a client is configured for.
func addressOf(config *rest.Config) hubAddress {
	config = rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(config); err != nil {
		// The client that was made of it before could read them.
		return hubAddress{URL: config.Host}
	}
	return hubAddress{URL: config.Host, CA: config.CAData}
}

// addressFor returns the address of the hub for one cluster: what the Secret of the cluster says wins.
func addressFor(secret *corev1.Secret, byDefault hubAddress) (hubAddress, *problem) {
	address := hubAddress{URL: string(secret.Data[names.KeyAPIServerURL]), CA: secret.Data[names.KeyAPIServerCA]}.or(byDefault)
	if address.URL == "" {
		return address, &problem{ReasonHubAddressMissing, fmt.Sprintf(
			"it is not known how agents reach the hub: start the manager with its address, or put it into Secret %s/%s under %q",
			secret.Namespace, secret.Name, names.KeyAPIServerURL)}
	}
	return address, nil
}

// agentKubeconfig returns the kubeconfig with which an agent reaches its namespace on the hub.
func agentKubeconfig(hub hubAddress, namespace, token string) ([]byte, error) {
	const name = "hub"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: hub.URL, CertificateAuthorityData: hub.CA}
	config.AuthInfos[names.Agent] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: names.Agent, Namespace: namespace}
	config.CurrentContext = name
	data, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("encoding kubeconfig: %w", err)
	}
	return data, nil
}
