package clusters

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// What is installed downstream is enough for an agent to begin its work with.
func TestImportInstallsTheAgent(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	key, agentNamespace := imported(t, workspace, "c1", func(c *fleet.Cluster) {
		c.Spec.AgentEnvVars = []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://proxy"}}
	})
	namespace := names.ClusterNamespace(workspace, "c1")

	secret, err := env.Secrets.Get(t.Context(), agentNamespace, names.SecretAgent)
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		names.KeyDeploymentNamespace: namespace, names.KeyClusterNamespace: workspace, names.KeyClusterName: "c1",
	} {
		if got := string(secret.Data[field]); got != want {
			t.Errorf("Secret: %s is %q, want %q", field, got, want)
		}
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(secret.Data[names.KeyKubeconfig])
	if err != nil {
		t.Fatal(err)
	}
	conn, err := kube.Connect(config, kube.Options{UserAgent: "agent"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kube.NewHub(conn).BundleDeployments.List(t.Context(), namespace, nil); err != nil {
		t.Errorf("the kubeconfig does not reach the hub: %v", err)
	}

	deployment := agentDeployment(t, agentNamespace)
	container := deployment.Spec.Template.Spec.Containers[0]
	if container.Image != "flotilla-agent:test" {
		t.Errorf("image %s", container.Image)
	}
	if !hasEnv(deployment, "HTTPS_PROXY", "http://proxy") {
		t.Errorf("env %v", container.Env)
	}
	review, err := env.Kubernetes.RbacV1().ClusterRoleBindings().Get(t.Context(), names.AgentRole(agentNamespace), metav1.GetOptions{})
	if err != nil || review.Subjects[0].Namespace != agentNamespace {
		t.Errorf("binding %v: %v", review, err)
	}
	cluster := env.Clusters.Await(t, key, func(c *fleet.Cluster) error {
		if c.Status.AgentEnvVarsHash == "" || c.Status.APIServerURL == "" {
			return errors.New("the settings are not noted")
		}
		return nil
	})
	if cluster.Status.APIServerURL != config.Host {
		t.Errorf("status says %s, the agent was given %s", cluster.Status.APIServerURL, config.Host)
	}
}

func TestSettingsReachTheAgent(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	key, agentNamespace := imported(t, workspace, "c1", func(c *fleet.Cluster) {
		c.Spec.AgentEnvVars = []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}
		c.Spec.AgentSchedulingCustomization = &fleet.AgentSchedulingCustomization{
			PodDisruptionBudget: &fleet.PodDisruptionBudgetSpec{MinAvailable: "1"},
		}
	})
	budgets := env.Kubernetes.PolicyV1().PodDisruptionBudgets(agentNamespace)
	if _, err := budgets.Get(t.Context(), names.AgentDisruptionBudget, metav1.GetOptions{}); err != nil {
		t.Errorf("no disruption budget: %v", err)
	}

	env.Clusters.Edit(t, key, func(c *fleet.Cluster) {
		c.Spec.AgentEnvVars = []corev1.EnvVar{{Name: "A", Value: "3"}}
		c.Spec.AgentSchedulingCustomization = nil
	})
	harness.Eventually(t, "the agent has the new settings", func(ctx context.Context) error {
		deployment := agentDeployment(t, agentNamespace)
		if !hasEnv(deployment, "A", "3") || hasEnv(deployment, "B", "2") {
			return fmt.Errorf("env %v", deployment.Spec.Template.Spec.Containers[0].Env)
		}
		if _, err := budgets.Get(ctx, names.AgentDisruptionBudget, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("disruption budget: %w", err)
		}
		return nil
	})
}

// redeployAgentGeneration brings back what somebody removed downstream.
func TestRedeployRepairsTheAgent(t *testing.T) {
	t.Parallel()
	key, agentNamespace := imported(t, env.Workspace(t), "c1")
	ctx := t.Context()
	if err := env.Kubernetes.AppsV1().Deployments(agentNamespace).Delete(ctx, names.Agent, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := env.Kubernetes.CoreV1().Secrets(agentNamespace).Delete(ctx, names.SecretAgent, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	env.Clusters.Edit(t, key, func(c *fleet.Cluster) { c.Spec.RedeployAgentGeneration = 1 })
	env.Clusters.Await(t, key, func(c *fleet.Cluster) error {
		if c.Status.AgentDeployedGeneration == nil || *c.Status.AgentDeployedGeneration != 1 {
			return errors.New("not deployed")
		}
		return nil
	})
	agentDeployment(t, agentNamespace)
	if _, err := env.Secrets.Get(ctx, agentNamespace, names.SecretAgent); err != nil {
		t.Error(err)
	}
}

func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	key, agentNamespace := imported(t, workspace, "c1")
	namespace := names.ClusterNamespace(workspace, "c1")
	before, err := env.Secrets.Get(t.Context(), namespace, names.SecretAgent)
	if err != nil {
		t.Fatal(err)
	}
	assertLife(t, before)

	// Time passes: the renewal is due, and the next look at the cluster sees it.
	env.Secrets.Edit(t, kube.Key{Namespace: namespace, Name: names.SecretAgent}, func(s *corev1.Secret) {
		s.Annotations[names.AnnotationRenew] = time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
	})
	env.Clusters.Edit(t, key, func(c *fleet.Cluster) { c.Spec.RedeployAgentGeneration++ })
	after := env.Secrets.Await(t, kube.Key{Namespace: namespace, Name: names.SecretAgent}, func(s *corev1.Secret) error {
		if bytes.Equal(s.Data[names.KeyToken], before.Data[names.KeyToken]) {
			return errors.New("the token is still the same")
		}
		return nil
	})
	assertLife(t, after)
	harness.Eventually(t, "the new token is downstream", func(ctx context.Context) error {
		secret, err := env.Secrets.Get(ctx, agentNamespace, names.SecretAgent)
		if err != nil {
			return err
		}
		if !bytes.Contains(secret.Data[names.KeyKubeconfig], after.Data[names.KeyToken]) {
			return errors.New("the kubeconfig has another token")
		}
		return nil
	})
	if _, err := agentOf(t, namespace).BundleDeployments.List(t.Context(), namespace, nil); err != nil {
		t.Errorf("the new token opens nothing: %v", err)
	}
}

// assertLife checks that a token lives a day at most and is renewed at two thirds of that.
func assertLife(t *testing.T, secret *corev1.Secret) {
	t.Helper()
	expires, err1 := time.Parse(time.RFC3339, secret.Annotations[names.AnnotationExpires])
	renew, err2 := time.Parse(time.RFC3339, secret.Annotations[names.AnnotationRenew])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	life, third := time.Until(expires), expires.Sub(renew)
	if life > 24*time.Hour || life < 23*time.Hour || third < 7*time.Hour || third > 9*time.Hour {
		t.Errorf("the token expires in %s and is renewed %s before that", life, third)
	}
}

// Whatever is wrong with an import is said where, and what to do, and the import goes on by itself once it is right.
func TestImportSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	stranger := newStranger(t, workspace)
	closed := closedPort(t)
	tests := []struct {
		name    string
		secret  map[string][]byte // nil: there is none
		cluster func(*fleet.Cluster)
		reason  string
		message string
	}{
		{"missing", nil, nil, "KubeconfigMissing", workspace + "/missing-kubeconfig"},
		{"empty", map[string][]byte{"config": []byte("x")}, nil, "KubeconfigMissing", `key "value"`},
		{"garbage", kubeconfigData([]byte("{")), nil, "KubeconfigInvalid", "not a kubeconfig"},
		{"program", kubeconfigData(kubeconfigOf(t, env.ControlPlane.URL(), func(u *clientcmdapi.AuthInfo) {
			u.Exec = &clientcmdapi.ExecConfig{Command: "true", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: "Never"}
		})), nil, "KubeconfigInvalid", "exec"},
		{"closed", kubeconfigData(kubeconfigOf(t, closed, func(u *clientcmdapi.AuthInfo) { u.Token = "x" })), nil, "Unreachable", closed},
		{"unauthorized", kubeconfigData(kubeconfigOf(t, env.ControlPlane.URL(), func(u *clientcmdapi.AuthInfo) { u.Token = "x" })), nil, "Unauthorized", "renew"},
		{"forbidden", kubeconfigData(kubeconfigOf(t, env.ControlPlane.URL(), func(u *clientcmdapi.AuthInfo) { u.Token = stranger })), nil, "Forbidden", "namespaces"},
		{"elsewhere", kubeconfigData(goodKubeconfig(t)), func(c *fleet.Cluster) { c.Spec.KubeConfigSecretNamespace = "kube-system" }, "SpecInvalid", "kubeConfigSecretNamespace"},
		{"badly-named", kubeconfigData(goodKubeconfig(t)), func(c *fleet.Cluster) { c.Spec.AgentNamespace = "No Name" }, "SpecInvalid", "spec.agentNamespace"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key := kube.Key{Namespace: workspace, Name: tt.name}
			if tt.secret != nil {
				kubeconfigFor(t, workspace, tt.name+"-kubeconfig", tt.secret)
			}
			cluster := importing(workspace, tt.name)
			if tt.cluster != nil {
				tt.cluster(cluster)
			}
			env.Clusters.Make(t, cluster)
			got := env.Clusters.AwaitCondition(t, key, fleet.Condition{
				Type: fleet.ConditionImported, Status: metav1.ConditionFalse, Reason: tt.reason, Message: tt.message,
			})
			env.Clusters.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionStalled, Status: metav1.ConditionTrue, Reason: tt.reason})
			awaitEvent(t, got, tt.reason)
			if got.Status.Namespace == "" {
				t.Error("a cluster that cannot be imported has no place on the hub")
			}

			if tt.secret == nil {
				kubeconfigFor(t, workspace, tt.name+"-kubeconfig", kubeconfigData(goodKubeconfig(t)))
			} else {
				env.Secrets.Edit(t, kube.Key{Namespace: workspace, Name: tt.name + "-kubeconfig"}, func(s *corev1.Secret) {
					s.Data = kubeconfigData(goodKubeconfig(t))
				})
			}
			if tt.cluster != nil {
				env.Clusters.Edit(t, key, func(c *fleet.Cluster) { c.Spec = importing(workspace, tt.name).Spec })
			}
			env.Clusters.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionImported, Status: metav1.ConditionTrue})
		})
	}
}

// Clusters that take connections and never answer keep nobody else waiting.
func TestClustersThatHangHoldNobodyUp(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	hole := blackHole(t)
	for i := range 40 {
		name := fmt.Sprintf("hanging-%d", i)
		kubeconfigFor(t, workspace, name+"-kubeconfig", kubeconfigData(kubeconfigOf(t, hole, func(u *clientcmdapi.AuthInfo) { u.Token = "x" })))
		env.Clusters.Make(t, importing(workspace, name))
	}
	started := time.Now()
	imported(t, workspace, "good")
	// Had it waited for one of them, it would have waited for a request to time out.
	if took := time.Since(started); took > 9*time.Second {
		t.Errorf("the import of a good cluster took %s", took)
	}
	env.Clusters.AwaitCondition(t, kube.Key{Namespace: workspace, Name: "hanging-0"}, fleet.Condition{
		Type: fleet.ConditionImported, Status: metav1.ConditionFalse, Reason: "Unreachable", Message: "no answer in time",
	})
}

// An agent that is to be in another namespace leaves none behind: two would install the same releases.
func TestAgentMoves(t *testing.T) {
	t.Parallel()
	key, before := imported(t, env.Workspace(t), "c1")
	after := before + "-moved"
	env.Clusters.Edit(t, key, func(c *fleet.Cluster) { c.Spec.AgentNamespace = after })
	harness.Eventually(t, "the agent is there and nowhere else", func(ctx context.Context) error {
		_, err := env.Kubernetes.AppsV1().Deployments(after).Get(ctx, names.Agent, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if _, err := env.Kubernetes.AppsV1().Deployments(before).Get(ctx, names.Agent, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("in the old namespace: %w", err)
		}
		return nil
	})
}

func agentDeployment(t *testing.T, namespace string) *appsv1.Deployment {
	t.Helper()
	deployment, err := env.Kubernetes.AppsV1().Deployments(namespace).Get(t.Context(), names.Agent, metav1.GetOptions{})
	if err != nil {
		t.Fatalf("reading the agent's Deployment: %v", err)
	}
	return deployment
}

func hasEnv(deployment *appsv1.Deployment, name, value string) bool {
	for _, v := range deployment.Spec.Template.Spec.Containers[0].Env {
		if v.Name == name && v.Value == value {
			return true
		}
	}
	return false
}

func kubeconfigData(kubeconfig []byte) map[string][]byte {
	return map[string][]byte{names.KeyImportKubeconfig: kubeconfig}
}

// kubeconfigOf returns a kubeconfig for a server with the hub's certificate.
func kubeconfigOf(t *testing.T, server string, edit func(*clientcmdapi.AuthInfo)) []byte {
	t.Helper()
	config, err := clientcmd.Load(goodKubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	user := &clientcmdapi.AuthInfo{}
	edit(user)
	for name := range config.AuthInfos {
		config.AuthInfos[name] = user
	}
	for _, cluster := range config.Clusters {
		cluster.Server = server
	}
	data, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// newStranger returns the token of an identity without rights.
func newStranger(t *testing.T, namespace string) string {
	t.Helper()
	accounts := env.Kubernetes.CoreV1().ServiceAccounts(namespace)
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "stranger"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := accounts.CreateToken(t.Context(), "stranger", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

// closedPort returns the address of a server that is not there.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return "https://" + listener.Addr().String()
}

// blackHole returns the address of a server that takes connections and never answers.
func blackHole(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return "https://" + listener.Addr().String()
}

func awaitEvent(t *testing.T, cluster *fleet.Cluster, reason string) {
	t.Helper()
	harness.Eventually(t, "an event says it, too", func(ctx context.Context) error {
		list, err := env.Kubernetes.EventsV1().Events(cluster.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Regarding.UID == cluster.UID && e.Reason == reason && strings.TrimSpace(e.Note) != "" {
				return nil
			}
		}
		return fmt.Errorf("none of the reason %s", reason)
	})
}
