package agent

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const kubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: hub
  cluster: {server: "https://hub:6443"}
users:
- name: agent
  user: {token: canary-token}
contexts:
- name: hub
  context: {cluster: hub, user: agent}
current-context: hub
`

func agentSecret(edit func(map[string][]byte)) *corev1.Secret {
	data := map[string][]byte{
		names.KeyKubeconfig: []byte(kubeconfig), names.KeyDeploymentNamespace: []byte("cluster-ns"),
		names.KeyClusterNamespace: []byte("fleet-default"), names.KeyClusterName: []byte("downstream"),
	}
	if edit != nil {
		edit(data)
	}
	return &corev1.Secret{Data: data}
}

func replaced(from, to string) func(map[string][]byte) {
	return func(data map[string][]byte) {
		data[names.KeyKubeconfig] = []byte(strings.Replace(kubeconfig, from, to, 1))
	}
}

func TestCredentialsAreRead(t *testing.T) {
	c, err := readCredentials(agentSecret(nil))
	if err != nil {
		t.Fatal(err)
	}
	if c.token != "canary-token" || c.hub.BearerToken != "" || c.hub.Host != "https://hub:6443" {
		t.Errorf("token is %q, config %v", c.token, c.hub)
	}
	if c.namespace != "cluster-ns" || c.cluster.String() != "fleet-default/downstream" {
		t.Errorf("namespace is %s, cluster %s", c.namespace, c.cluster)
	}
}

func TestOnlyWhatIsNotTheTokenMakesAnotherConnection(t *testing.T) {
	first, err := readCredentials(agentSecret(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		edit func(map[string][]byte)
		same bool
	}{
		{name: "another token", edit: replaced("canary-token", "other-token"), same: true},
		{name: "another address", edit: replaced("hub:6443", "hub:7443")},
		{name: "another cluster", edit: func(data map[string][]byte) { data[names.KeyClusterName] = []byte("other") }},
		{name: "another namespace", edit: func(data map[string][]byte) { data[names.KeyDeploymentNamespace] = []byte("other") }},
		{name: "another certificate authority", edit: replaced(`server: "https://hub:6443"`, `server: "https://hub:6443", certificate-authority-data: Y2E=`)},
		{name: "a client certificate instead of the token", edit: replaced("token: canary-token", "client-certificate-data: Yw==, client-key-data: aw==")},
	} {
		c, err := readCredentials(agentSecret(test.edit))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := c.connection == first.connection; got != test.same {
			t.Errorf("%s: the same connection: %v", test.name, got)
		}
	}
}

func TestCredentialsThatCannotBeUsedAreRefusedWithoutTellingThem(t *testing.T) {
	without := func(key string) func(map[string][]byte) {
		return func(data map[string][]byte) { delete(data, key) }
	}
	for _, test := range []struct {
		name string
		edit func(map[string][]byte)
		says string
	}{
		{name: "no kubeconfig", edit: without(names.KeyKubeconfig), says: "kubeconfig is missing"},
		{name: "no namespace", edit: without(names.KeyDeploymentNamespace), says: "deploymentNamespace is missing"},
		{name: "no workspace", edit: without(names.KeyClusterNamespace), says: "clusterNamespace is missing"},
		{name: "no cluster", edit: without(names.KeyClusterName), says: "clusterName is missing"},
		{name: "not YAML", edit: replaced("apiVersion: v1", "canary-token: ["), says: "no kubeconfig"},
		{name: "no context", edit: replaced("current-context: hub", ""), says: "context"},
		{name: "a program", edit: replaced("token: canary-token", "exec: {command: /bin/sh, apiVersion: client.authentication.k8s.io/v1}"), says: "exec"},
		{name: "a plugin", edit: replaced("token: canary-token", "auth-provider: {name: x}"), says: "auth-provider"},
		{name: "a token in a file", edit: replaced("token: canary-token", "tokenFile: /etc/passwd"), says: "tokenFile"},
		{name: "a certificate in a file", edit: replaced("token: canary-token", "client-certificate: /etc/passwd"), says: "client certificate"},
		{name: "an authority in a file", edit: replaced(`server: "https://hub:6443"`, `server: "https://hub:6443", certificate-authority: /etc/passwd`), says: "certificate authority"},
	} {
		_, err := readCredentials(agentSecret(test.edit))
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error is %v, want %q in it", test.name, err, test.says)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error tells what is in the Secret: %v", test.name, err)
		}
	}
}
