package clusters

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const userKubeconfig = `
apiVersion: v1
kind: Config
clusters:
- name: c
  cluster: {server: "https://downstream.example.com:6443", insecure-skip-tls-verify: true}
users:
- name: u
  user: {token: CANARY}
contexts:
- name: x
  context: {cluster: c, user: u}
current-context: x
`

func kubeconfigSecret(kubeconfig string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "c1-kubeconfig"},
		Data:       map[string][]byte{names.KeyImportKubeconfig: []byte(kubeconfig)},
	}
}

func TestDownstreamConfig(t *testing.T) {
	config, wrong := downstreamConfig(kubeconfigSecret(userKubeconfig))
	if wrong != nil {
		t.Fatal(wrong)
	}
	if config.Host != "https://downstream.example.com:6443" || config.BearerToken != "CANARY" || config.Timeout != requestTimeout {
		t.Errorf("host %s, timeout %s", config.Host, config.Timeout)
	}
}

func TestDownstreamConfigIsRefused(t *testing.T) {
	user := func(user string) string { return strings.Replace(userKubeconfig, "{token: CANARY}", user, 1) }
	tests := []struct {
		name, kubeconfig, reason, says string
	}{
		{"empty", "", ReasonKubeconfigMissing, `key "value" is empty`},
		{"no YAML", "{CANARY", ReasonKubeconfigInvalid, "is not a kubeconfig"},
		{"another kind", "apiVersion: v1\nkind: Secret\ndata: {CANARY: eA==}", ReasonKubeconfigInvalid, "is not a kubeconfig"},
		{"no context", strings.Replace(userKubeconfig, "current-context: x", "current-context: CANARY", 1), ReasonKubeconfigInvalid, "current-context"},
		{"empty kubeconfig", "apiVersion: v1\nkind: Config", ReasonKubeconfigInvalid, "current-context"},
		// Kubeconfigs that would make the manager run programs or read its own files.
		{"a program", user(`{exec: {apiVersion: client.authentication.k8s.io/v1, command: CANARY, interactiveMode: Never}}`), ReasonKubeconfigInvalid, "uses exec"},
		{"an auth provider", user(`{auth-provider: {name: CANARY}}`), ReasonKubeconfigInvalid, "uses auth-provider"},
		{"a token's file", user(`{tokenFile: /var/run/CANARY}`), ReasonKubeconfigInvalid, "uses tokenFile"},
		{"a certificate's file", user(`{client-certificate: /CANARY, client-key-data: eA==}`), ReasonKubeconfigInvalid, "uses client-certificate"},
		{"a key's file", user(`{client-certificate-data: eA==, client-key: /CANARY}`), ReasonKubeconfigInvalid, "uses client-key"},
		{"an authority's file", strings.Replace(userKubeconfig, "insecure-skip-tls-verify: true", "certificate-authority: /CANARY", 1), ReasonKubeconfigInvalid, "uses certificate-authority"},
		{"in a user that is not current", strings.Replace(userKubeconfig, "- name: u\n", "- name: other\n  user: {tokenFile: /CANARY}\n- name: u\n", 1), ReasonKubeconfigInvalid, "uses tokenFile"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config, wrong := downstreamConfig(kubeconfigSecret(tt.kubeconfig))
			if wrong == nil {
				t.Fatalf("accepted: %s", config.Host)
			}
			if wrong.Reason != tt.reason || !strings.Contains(wrong.Message, tt.says) || !strings.Contains(wrong.Message, "fleet-default/c1-kubeconfig") {
				t.Errorf("%s: %s", wrong.Reason, wrong.Message)
			}
			if strings.Contains(wrong.Message, "CANARY") {
				t.Errorf("the message quotes the Secret: %s", wrong.Message)
			}
		})
	}
}

func TestAddressFor(t *testing.T) {
	manager := kube.Address{URL: "https://hub", CA: []byte("hub CA")}
	tests := []struct {
		name      string
		secret    map[string]string
		byDefault kube.Address
		url, ca   string
	}{
		{"nothing in the Secret", nil, manager, "https://hub", "hub CA"},
		{"both in the Secret", map[string]string{names.KeyAPIServerURL: "https://edge", names.KeyAPIServerCA: "edge CA"}, manager, "https://edge", "edge CA"},
		{"the address in the Secret", map[string]string{names.KeyAPIServerURL: "https://edge"}, manager, "https://edge", "hub CA"},
		{"the authority in the Secret", map[string]string{names.KeyAPIServerCA: "edge CA"}, manager, "https://hub", "edge CA"},
		{"no authority at all", nil, kube.Address{URL: "https://hub"}, "https://hub", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			secret := kubeconfigSecret("")
			for key, value := range tt.secret {
				secret.Data[key] = []byte(value)
			}
			got, wrong := addressFor(secret, tt.byDefault)
			if wrong != nil {
				t.Fatal(wrong)
			}
			if got.URL != tt.url || string(got.CA) != tt.ca {
				t.Errorf("%s, %s", got.URL, got.CA)
			}
		})
	}
	if _, wrong := addressFor(kubeconfigSecret(""), kube.Address{}); wrong == nil || wrong.Reason != ReasonHubAddressMissing {
		t.Errorf("no address: %v", wrong)
	}
}

func TestAgentKubeconfig(t *testing.T) {
	data, err := kube.Address{URL: "https://hub:6443", CA: []byte("CA")}.Kubeconfig("cluster-ns", "secret-token")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://hub:6443" || config.BearerToken != "secret-token" || string(config.CAData) != "CA" || config.Insecure {
		t.Errorf("%v", config)
	}
	loaded, err := clientcmd.Load(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := loaded.Contexts[loaded.CurrentContext].Namespace; got != "cluster-ns" {
		t.Errorf("namespace %q", got)
	}
}
