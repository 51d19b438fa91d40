// Package lifecycle has Helm install, upgrade and uninstall the charts on a real API server.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/charts"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const workspace = "fleet-default"

// bare starts a cluster on which nothing is installed yet.
func bare(t *testing.T) *harness.Environment {
	t.Helper()
	env, err := harness.Start(t.Context(), harness.Options{Bare: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(!t.Failed()); err != nil {
			t.Error(err)
		}
	})
	return env
}

func agentValues() map[string]any {
	return map[string]any{"apiServerURL": "https://hub.example.com:6443", "token": "a.b.c", "clusterNamespace": workspace}
}

// Whatever is uninstalled first: what was deployed runs on, what users wrote stays, and of the rest only what the documentation names.
func TestUninstallInAnyOrder(t *testing.T) {
	env := bare(t)
	h := newHelm(t, env)
	before := take(t, env)
	orders := [][]string{
		{charts.Manager, charts.Agent, charts.CRDs}, {charts.CRDs, charts.Manager, charts.Agent}, {charts.Agent, charts.CRDs, charts.Manager},
	}
	var kept []string
	var first picture
	for i, order := range orders {
		h.install(charts.CRDs, nil)
		h.install(charts.Manager, map[string]any{"crds": map[string]any{"enabled": false}})
		h.install(charts.Agent, agentValues())
		if i == 0 {
			kept = work(t, env)
			first = take(t, env)
		}
		for _, name := range order {
			h.uninstall(name)
			now := take(t, env)
			for _, object := range kept {
				if now[object] != first[object] || first[object] == "" {
					t.Errorf("uninstalling %s of %v has taken %s away", name, order, object)
				}
			}
		}
		harness.Eventually(t, "only what the documentation names is left", func(context.Context) error {
			if rest := unexplained(take(t, env).more(before)); len(rest) > 0 {
				return fmt.Errorf("after %v, there still are\n%s", order, strings.Join(rest, "\n"))
			}
			return nil
		})
		documented(t, take(t, env).more(before))
	}
}

// work has a manager run for a while and users use it. It returns what is theirs.
func work(t *testing.T, env *harness.Environment) []string {
	t.Helper()
	manager := env.StartManager(t, nil)
	defer manager.Stop(t)
	env.Clusters.Make(t, harness.NewCluster(workspace, "prod", map[string]string{"env": "prod"}))
	env.Clusters.AwaitCondition(t, kube.Key{Namespace: workspace, Name: "prod"}, fleet.Condition{Type: fleet.ConditionProcessed, Status: metav1.ConditionTrue})
	env.ClusterRegistrationTokens.Make(t, &fleet.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "join"}})
	env.Secrets.Await(t, kube.Key{Namespace: workspace, Name: "join"}, func(s *corev1.Secret) error {
		if len(s.Data[names.KeyValues]) == 0 {
			return errors.New("empty")
		}
		return nil
	})
	env.GitRepos.Make(t, &fleet.GitRepo{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "shop"},
		Spec:       fleet.GitRepoSpec{Repo: "https://git.invalid/shop", Targets: []fleet.GitTarget{{ClusterSelector: &metav1.LabelSelector{}}}},
	})
	bundle := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "shop"}}
	bundle.Spec.Resources = []fleet.BundleResource{{Name: "cm.yaml", Content: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\n"}}
	bundle.Spec.Targets = []fleet.BundleTarget{{ClusterSelector: &metav1.LabelSelector{}}}
	env.Bundles.Make(t, bundle)
	env.BundleDeployments.Await(t, kube.Key{Namespace: names.ClusterNamespace(workspace, "prod"), Name: "shop"}, func(*fleet.BundleDeployment) error { return nil })
	workload(t, env)
	return []string{
		"Deployment default/shop", "GitRepo fleet-default/shop", "Bundle fleet-default/shop", "Cluster fleet-default/prod",
		"ClusterRegistrationToken fleet-default/join", "BundleDeployment " + names.ClusterNamespace(workspace, "prod") + "/shop",
		"Namespace /" + names.ClusterNamespace(workspace, "prod"), "Namespace /" + workspace,
	}
}

// workload makes what an agent would have made.
func workload(t *testing.T, env *harness.Environment) {
	t.Helper()
	labels := map[string]string{"app": "shop"}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "shop", Image: "shop"}}},
			},
		},
	}
	if _, err := env.Kubernetes.AppsV1().Deployments("default").Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// An upgrade leaves definitions, and with them all objects, the ones they are, whichever chart they come from.
func TestUpgradeKeepsWhatIsThere(t *testing.T) {
	env := bare(t)
	h := newHelm(t, env)
	h.install(charts.Manager, nil)
	h.install(charts.Agent, agentValues())
	kept := work(t, env)
	first := take(t, env)
	for object := range first {
		if strings.HasPrefix(object, "CustomResourceDefinition ") || strings.HasPrefix(object, "ServiceAccount ") {
			kept = append(kept, object)
		}
	}
	unchanged := func(after string) {
		t.Helper()
		now := take(t, env)
		for _, object := range kept {
			if now[object] != first[object] || first[object] == "" {
				t.Errorf("after %s %s is not what it was", after, object)
			}
		}
	}
	h.upgrade(charts.Manager, "0.2.0", map[string]any{"replicas": 3, "logLevel": "debug"})
	h.upgrade(charts.Agent, "0.2.0", agentValues())
	unchanged("an upgrade")
	deployment, err := env.Kubernetes.AppsV1().Deployments(names.NamespaceSystem).Get(t.Context(), "flotilla-manager", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	container := deployment.Spec.Template.Spec.Containers[0]
	if *deployment.Spec.Replicas != 3 || container.Image != "flotilla-manager:0.2.0" || !slices.Contains(container.Args, "--log-level=debug") {
		t.Errorf("the upgrade made %d of %s with %v", *deployment.Spec.Replicas, container.Image, container.Args)
	}
	h.upgrade(charts.Manager, "0.3.0", map[string]any{"crds": map[string]any{"enabled": false}})
	unchanged("taking the definitions out")
	h.install(charts.CRDs, nil)
	h.upgrade(charts.CRDs, "0.3.0", nil)
	unchanged("a chart of their own")
}
