package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// credentials are what the agent needs to reach the hub.
type credentials struct {
	// hub reaches the hub, but for the token.
	hub *rest.Config
	// token is the bearer token; it may be empty if hub has a client certificate.
	token string
	// namespace is the cluster's namespace on the hub.
	namespace string
	// cluster is the Cluster that the agent acts for.
	cluster types.NamespacedName
	// connection stands for everything but the token: another one means another connection.
	connection string
}

// readCredentials reads the Secret that the manager keeps in the agent's
// namespace. What is wrong with it never quotes it.
func readCredentials(secret *corev1.Secret) (*credentials, error) {
	for _, key := range []string{names.KeyKubeconfig, names.KeyDeploymentNamespace, names.KeyClusterNamespace, names.KeyClusterName} {
		if len(secret.Data[key]) == 0 {
			return nil, fmt.Errorf("key %s is missing", key)
		}
	}
	config, err := clientcmd.Load(secret.Data[names.KeyKubeconfig])
	if err != nil {
		return nil, errors.New("key kubeconfig holds no kubeconfig")
	}
	if what := outside(config); what != "" {
		return nil, fmt.Errorf("the kubeconfig uses %s; it must hold the data itself", what)
	}
	hub, err := clientcmd.NewDefaultClientConfig(*config, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, errors.New("the kubeconfig has no usable current context")
	}
	c := &credentials{
		hub: hub, token: hub.BearerToken,
		namespace: string(secret.Data[names.KeyDeploymentNamespace]),
		cluster: types.NamespacedName{
			Namespace: string(secret.Data[names.KeyClusterNamespace]), Name: string(secret.Data[names.KeyClusterName]),
		},
	}
	hub.BearerToken = ""
	c.connection = fingerprint(
		[]byte(hub.Host), hub.CAData, hub.CertData, hub.KeyData, []byte(hub.Username), []byte(hub.Password), []byte(hub.ServerName),
		fmt.Append(nil, hub.Insecure, c.token == ""), []byte(c.namespace), []byte(c.cluster.String()),
	)
	return c, nil
}

// outside names the first thing in a kubeconfig that would have the agent run
// a program or read a file: whoever may write the Secret may do neither.
func outside(config *clientcmdapi.Config) string {
	for _, user := range config.AuthInfos {
		switch {
		case user.Exec != nil:
			return "exec"
		case user.AuthProvider != nil:
			return "auth-provider"
		case user.TokenFile != "":
			return "tokenFile"
		case user.ClientCertificate != "" || user.ClientKey != "":
			return "the file of a client certificate"
		}
	}
	for _, cluster := range config.Clusters {
		if cluster.CertificateAuthority != "" {
			return "the file of a certificate authority"
		}
	}
	return ""
}

func fingerprint(parts ...[]byte) string {
	sum := sha256.Sum256(bytes.Join(parts, []byte{0}))
	return hex.EncodeToString(sum[:])
}
