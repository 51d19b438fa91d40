// Package clusters tests what the manager makes of Clusters and ClusterGroups, against a real API server.
package clusters

import (
	"context"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{Manager: true}, func(e *harness.Environment) { env = e }))
}

// registered makes a cluster and returns its key and its namespace once its agent has access.
func registered(t *testing.T, workspace, name string) (kube.Key, string) {
	t.Helper()
	key := kube.Key{Namespace: workspace, Name: name}
	env.Clusters.Make(t, harness.NewCluster(workspace, name, map[string]string{"name": name}))
	env.Clusters.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionProcessed, Status: metav1.ConditionTrue})
	return key, names.ClusterNamespace(workspace, name)
}

// agentOf returns a connection with the rights of a cluster's agent, by a token of its own.
func agentOf(t *testing.T, clusterNamespace string) *kube.Hub {
	t.Helper()
	return hubAs(t, tokenOf(t, clusterNamespace))
}

func tokenOf(t *testing.T, clusterNamespace string) string {
	t.Helper()
	secret, err := env.Secrets.Get(t.Context(), clusterNamespace, names.SecretAgent)
	if err != nil {
		t.Fatalf("reading the agent's token: %v", err)
	}
	return string(secret.Data[names.KeyToken])
}

func hubAs(t *testing.T, token string) *kube.Hub {
	t.Helper()
	config := rest.AnonymousClientConfig(env.Config)
	config.BearerToken = token
	conn, err := kube.Connect(config, kube.Options{UserAgent: "agent"})
	if err != nil {
		t.Fatal(err)
	}
	return kube.NewHub(conn)
}

// kubeconfigFor makes the Secret that imports a cluster: into the very API server that is the hub.
func kubeconfigFor(t *testing.T, workspace, name string, data map[string][]byte) *corev1.Secret {
	t.Helper()
	return env.Secrets.Make(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name}, Data: data})
}

// goodKubeconfig reaches the hub with all rights.
func goodKubeconfig(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(env.ControlPlane.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// imported makes a cluster whose agent goes into a namespace of its own on the hub, and waits until it is there.
func imported(t *testing.T, workspace, name string, edits ...func(*fleet.Cluster)) (kube.Key, string) {
	t.Helper()
	key := kube.Key{Namespace: workspace, Name: name}
	kubeconfigFor(t, workspace, name+"-kubeconfig", map[string][]byte{names.KeyImportKubeconfig: goodKubeconfig(t)})
	cluster := importing(workspace, name)
	for _, edit := range edits {
		edit(cluster)
	}
	env.Clusters.Make(t, cluster)
	env.Clusters.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionImported, Status: metav1.ConditionTrue})
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_ = env.Kubernetes.CoreV1().Namespaces().Delete(ctx, cluster.Spec.AgentNamespace, metav1.DeleteOptions{})
		_ = env.Kubernetes.RbacV1().ClusterRoles().Delete(ctx, names.AgentRole(cluster.Spec.AgentNamespace), metav1.DeleteOptions{})
		_ = env.Kubernetes.RbacV1().ClusterRoleBindings().Delete(ctx, names.AgentRole(cluster.Spec.AgentNamespace), metav1.DeleteOptions{})
	})
	return key, cluster.Spec.AgentNamespace
}

// importing returns a cluster that is to be imported by the Secret of kubeconfigFor.
func importing(workspace, name string) *fleet.Cluster {
	cluster := harness.NewCluster(workspace, name, nil)
	cluster.Spec.KubeConfigSecret = name + "-kubeconfig"
	cluster.Spec.AgentNamespace = "agent-" + workspace + "-" + name
	return cluster
}
