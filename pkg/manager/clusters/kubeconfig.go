package clusters

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
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

// addressFor returns the address of the hub for one cluster: what the Secret of the cluster says wins.
func addressFor(secret *corev1.Secret, byDefault kube.Address) (kube.Address, *problem) {
	address := kube.Address{URL: string(secret.Data[names.KeyAPIServerURL]), CA: secret.Data[names.KeyAPIServerCA]}.Or(byDefault)
	if address.URL == "" {
		return address, &problem{ReasonHubAddressMissing, fmt.Sprintf(
			"it is not known how agents reach the hub: start the manager with its address, or put it into Secret %s/%s under %q",
			secret.Namespace, secret.Name, names.KeyAPIServerURL)}
	}
	return address, nil
}
