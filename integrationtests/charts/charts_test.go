// Package charts tests the charts on a real API server: what they install is taken, and the manager can do its work with exactly the
// rights that the chart gives it.
package charts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/dev/charts"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{}, func(e *harness.Environment) { env = e }))
}

// asManager returns the configuration of a client that is the chart's service account.
func asManager(t *testing.T) *rest.Config {
	t.Helper()
	seconds := int64(3600)
	token, err := env.Kubernetes.CoreV1().ServiceAccounts(names.NamespaceSystem).CreateToken(t.Context(), "flotilla-manager",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(env.Config)
	config.BearerToken = token.Status.Token
	return config
}

// With the chart's service account, leader election and all: import, join, deployment, removal, unregistration.
func TestManagerWorksWithTheRightsOfItsChart(t *testing.T) {
	env.InstallChart(t, charts.Manager, nil)
	forbidden := &forbiddenRequests{}
	env.StartManager(t, func(c *manager.Config) {
		c.Hub = forbidden.through(asManager(t))
		c.LeaderElection, c.Namespace, c.AuditInterval = true, names.NamespaceSystem, time.Second
	})
	workspace := env.Workspace(t)
	cluster := env.ImportCluster(t, harness.NewCluster(workspace, "c1", map[string]string{"env": "dev"}), env)
	env.StartAgent(t)
	copied := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "copied"}, Data: map[string]string{"a": "b"}}
	if _, err := env.Kubernetes.CoreV1().ConfigMaps(workspace).Create(t.Context(), copied, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	repository := harness.GitRepository(t)
	repository.Push(t, repo.Change{Write: map[string]string{
		"app/fleet.yaml": "namespace: default\ndownstreamResources: [{kind: ConfigMap, name: copied}]\n", "app/cm.yaml": configMap,
	}})
	gitRepo := env.GitRepos.Make(t, harness.NewGitRepo(workspace, "shop", repository))
	env.GitRepos.AwaitReady(t, harness.KeyOf(gitRepo))
	shop := kube.Key{Namespace: "default", Name: "shop"}
	if _, err := env.Kubernetes.CoreV1().ConfigMaps(shop.Namespace).Get(t.Context(), shop.Name, metav1.GetOptions{}); err != nil {
		t.Errorf("the workload: %v", err)
	}
	if _, err := env.Kubernetes.CoreV1().ConfigMaps(shop.Namespace).Get(t.Context(), "copied", metav1.GetOptions{}); err != nil {
		t.Errorf("what it has copied: %v", err)
	}
	env.ClusterRegistrationTokens.Make(t, &fleet.ClusterRegistrationToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "join"},
		Spec:       fleet.ClusterRegistrationTokenSpec{TTL: &metav1.Duration{Duration: 5 * time.Second}},
	})
	env.Secrets.Await(t, kube.Key{Namespace: workspace, Name: "join"}, func(s *corev1.Secret) error {
		if len(s.Data[names.KeyValues]) == 0 {
			return errors.New("empty")
		}
		return nil
	})

	env.GitRepos.Remove(t, harness.KeyOf(gitRepo))
	harness.Eventually(t, "the workload is gone", func(ctx context.Context) error {
		_, err := env.Kubernetes.CoreV1().ConfigMaps(shop.Namespace).Get(ctx, shop.Name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	env.Clusters.Remove(t, harness.KeyOf(cluster))
	env.Clusters.AwaitGone(t, harness.KeyOf(cluster))
	env.Namespaces.AwaitGone(t, kube.Key{Name: names.ClusterNamespace(workspace, "c1")})
	env.ClusterRegistrationTokens.AwaitGone(t, kube.Key{Namespace: workspace, Name: "join"})
	for _, request := range forbidden.seen() {
		t.Errorf("the manager was refused: %s", request)
	}
}

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\ndata: {a: b}\n"

// What RBAC cannot say, the chart's policy does.
func TestPolicyLimitsTheManager(t *testing.T) {
	env.InstallChart(t, charts.Manager, nil)
	conn, err := kube.Connect(asManager(t), kube.Options{})
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := env.Kubernetes.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "theirs-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	agent := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: names.Agent}}
	if _, err := env.Kubernetes.CoreV1().ServiceAccounts(namespace.Name).Create(t.Context(), agent, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func(context.Context) error{
		"delete a namespace of others": func(ctx context.Context) error {
			return conn.Kubernetes.CoreV1().Namespaces().Delete(ctx, namespace.Name, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
		},
		"make a token of another agent": func(ctx context.Context) error {
			_, err := conn.Kubernetes.CoreV1().ServiceAccounts(namespace.Name).CreateToken(ctx, names.Agent, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		},
		"make a token of itself": func(ctx context.Context) error {
			_, err := conn.Kubernetes.CoreV1().ServiceAccounts(names.NamespaceSystem).CreateToken(ctx, "flotilla-manager", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		},
		"delete service accounts of others": func(ctx context.Context) error {
			return conn.Kubernetes.CoreV1().ServiceAccounts(namespace.Name).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		},
		"raise itself": func(ctx context.Context) error {
			_, err := conn.Kubernetes.RbacV1().ClusterRoleBindings().Create(ctx, adminBinding(), metav1.CreateOptions{})
			return err
		},
	} {
		harness.Eventually(t, "the manager cannot "+name, func(ctx context.Context) error {
			if err := try(ctx); !apierrors.IsForbidden(err) {
				return fmt.Errorf("got %w", err)
			}
			return nil
		})
	}
}

// The agent's chart, and the manager's with all that needs no further kinds, are taken by the API server.
func TestChartsAreTaken(t *testing.T) {
	env.InstallChart(t, charts.Agent, map[string]any{"apiServerURL": "https://hub:6443", "token": "a.b.c", "clusterNamespace": "fleet-default", "labels": map[string]any{"a": "b"}})
	secret, err := env.Secrets.Get(t.Context(), names.NamespaceSystem, names.SecretAgentBootstrap)
	if err != nil || !strings.Contains(string(secret.Data[names.KeyClusterLabels]), `"a":"b"`) {
		t.Errorf("the Secret to register with: %v, %v", secret, err)
	}
	env.InstallChart(t, charts.Manager, map[string]any{"apiServer": map[string]any{"url": "https://hub:6443"}, "metrics": map[string]any{"dashboard": map[string]any{"enabled": true}}})
}
