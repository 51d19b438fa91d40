// Package delivery tests how the agent of a cluster that joined by itself gets what it is made of: the chart of the agent, the
// real manager and the real agent, and a control plane on which pods seem to run.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-gitops/flotilla/dev/charts"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{Manager: true, Workloads: true}, func(e *harness.Environment) { env = e }))
}

// join installs the chart of the agent and runs an agent as its pod would. It returns the Cluster that is ready then.
func join(t *testing.T, workspace, clientID string) kube.Key {
	t.Helper()
	env.ClusterRegistrationTokens.Make(t, &fleet.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "join"}})
	values := map[string]any{}
	harness.Eventually(t, "the token has its Secret", func(ctx context.Context) error {
		secret, err := env.Secrets.Get(ctx, workspace, "join")
		if err != nil {
			return err
		}
		if len(secret.Data[names.KeyValues]) == 0 {
			return errors.New("it is empty")
		}
		return yaml.Unmarshal(secret.Data[names.KeyValues], &values)
	})
	values["clientID"], values["image"] = clientID, map[string]any{"tag": "test"}
	t.Cleanup(func() { forget(t) })
	env.InstallChart(t, charts.Agent, values)
	env.StartAgent(t, func(c *agent.Config) { c.Managed, c.RequireServiceAccount = true, true })
	key := kube.Key{Namespace: workspace, Name: names.RegisteredCluster(clientID)}
	env.Clusters.AwaitReady(t, key)
	return key
}

// forget takes away what a test has installed: the next one begins anew.
func forget(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	everything := metav1.ListOptions{}
	for what, err := range map[string]error{
		"deployments": env.Kubernetes.AppsV1().Deployments(names.NamespaceSystem).DeleteCollection(ctx, metav1.DeleteOptions{}, everything),
		"secrets":     env.Kubernetes.CoreV1().Secrets(names.NamespaceSystem).DeleteCollection(ctx, metav1.DeleteOptions{}, everything),
	} {
		if err != nil {
			t.Errorf("forgetting %s: %v", what, err)
		}
	}
}

func awaitDeployed(t *testing.T, key kube.Key, status metav1.ConditionStatus, says string) *fleet.Cluster {
	t.Helper()
	return env.Clusters.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionAgentDeployed, Status: status, Message: says})
}

func deploymentOf(t *testing.T) *appsv1.Deployment {
	t.Helper()
	deployment, err := env.Kubernetes.AppsV1().Deployments(names.NamespaceSystem).Get(t.Context(), names.Agent, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return deployment
}

func delivery(key kube.Key) kube.Key {
	return kube.Key{Namespace: names.ClusterNamespace(key.Namespace, key.Name), Name: names.AgentBundle(key.Name)}
}

// From the chart on, the agent is what its Cluster says: every setting arrives, and what is not set any more goes.
func TestSettingsReachAnAgentThatJoined(t *testing.T) {
	key := join(t, env.Workspace(t), "settings")
	cluster := awaitDeployed(t, key, metav1.ConditionTrue, "")
	sets, err := env.Kubernetes.AppsV1().ReplicaSets(names.NamespaceSystem).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(sets.Items) != 1 {
		t.Errorf("joining has restarted the agent: %s", differences(sets.Items))
	}
	if cluster.Status.Display.ReadyBundles != "0/0" {
		t.Errorf("the agent counts as a bundle: %s", cluster.Status.Display.ReadyBundles)
	}
	env.Clusters.Edit(t, key, func(c *fleet.Cluster) {
		c.Spec.RedeployAgentGeneration = 3
		c.Spec.PrivateRepoURL = "registry.example.com/mirror"
		c.Spec.AgentEnvVars = []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://proxy"}}
		c.Spec.AgentTolerations = []corev1.Toleration{{Key: "edge", Operator: corev1.TolerationOpExists}}
		c.Spec.AgentAffinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{}}
		c.Spec.AgentResources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")}}
		c.Spec.AgentSchedulingCustomization = &fleet.AgentSchedulingCustomization{
			PriorityClass: &fleet.PriorityClassSpec{Value: 7}, PodDisruptionBudget: &fleet.PodDisruptionBudgetSpec{MaxUnavailable: "1"},
		}
	})
	env.Clusters.Await(t, key, func(c *fleet.Cluster) error {
		if g := c.Status.AgentDeployedGeneration; g == nil || *g != 3 {
			return errors.New("not deployed")
		}
		return nil
	})
	cluster = awaitDeployed(t, key, metav1.ConditionTrue, "")
	pod := deploymentOf(t).Spec.Template
	container := pod.Spec.Containers[0]
	for what, ok := range map[string]bool{
		"redeployAgentGeneration": pod.Annotations[names.AnnotationRedeploy] == "3",
		"privateRepoURL":          container.Image == "registry.example.com/mirror/flotilla-agent:test",
		"agentEnvVars":            container.Env[len(container.Env)-1].Value == "http://proxy",
		"agentTolerations":        pod.Spec.Tolerations[len(pod.Spec.Tolerations)-1].Key == "edge",
		"agentAffinity":           pod.Spec.Affinity.NodeAffinity == nil,
		"agentResources":          container.Resources.Limits.Memory().String() == "2Gi",
		"priorityClass":           pod.Spec.PriorityClassName == names.AgentPriorityClass,
		"status":                  cluster.Status.AgentPrivateRepoURL != "" && cluster.Status.AgentEnvVarsHash != "" && cluster.Status.AgentSchedulingCustomizationHash != "",
	} {
		if !ok {
			t.Errorf("%s has not arrived: %v", what, pod)
		}
	}
	budgets := env.Kubernetes.PolicyV1().PodDisruptionBudgets(names.NamespaceSystem)
	if _, err := budgets.Get(t.Context(), names.AgentDisruptionBudget, metav1.GetOptions{}); err != nil {
		t.Errorf("podDisruptionBudget: %v", err)
	}
	env.Clusters.Edit(t, key, func(c *fleet.Cluster) {
		c.Spec = fleet.ClusterSpec{ClientID: c.Spec.ClientID, RedeployAgentGeneration: 4}
	})
	harness.Eventually(t, "what is not set any more is gone", func(ctx context.Context) error {
		d := deploymentOf(t)
		_, err := budgets.Get(ctx, names.AgentDisruptionBudget, metav1.GetOptions{})
		if err == nil || d.Spec.Template.Spec.PriorityClassName != "" || strings.Contains(fmt.Sprint(d.Spec.Template), "proxy") {
			return fmt.Errorf("there still: %v, and the budget with error %w", d.Spec.Template, err)
		}
		return nil
	})
}

// differences tells how the pods of the first two sets differ.
func differences(sets []appsv1.ReplicaSet) string {
	if len(sets) < 2 {
		return fmt.Sprintf("%d sets of pods", len(sets))
	}
	return cmp.Diff(sets[0].Spec.Template, sets[1].Spec.Template)
}

// A new agent that does not come to run leaves the old one where it is, and the hub says so.
func TestAnAgentDoesNotCutOffItsOwnBranch(t *testing.T) {
	key := join(t, env.Workspace(t), "branch")
	awaitDeployed(t, key, metav1.ConditionTrue, "")
	harness.Eventually(t, "the agent's pod runs", func(context.Context) error {
		if deploymentOf(t).Status.AvailableReplicas != 1 {
			return errors.New("not available")
		}
		return nil
	})
	env.Clusters.Edit(t, key, func(c *fleet.Cluster) {
		c.Spec.AgentAffinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "there-is-none", Operator: corev1.NodeSelectorOpExists}},
			}}},
		}}
	})
	cluster := awaitDeployed(t, key, metav1.ConditionFalse, "the agent that was there goes on")
	if d := deploymentOf(t); d.Status.AvailableReplicas != 1 {
		t.Errorf("the old agent is gone: %v", d.Status)
	}
	if cluster.Status.AgentDeployedGeneration != nil && *cluster.Status.AgentDeployedGeneration != 0 {
		t.Errorf("status %v", cluster.Status)
	}
	env.Clusters.Edit(t, key, func(c *fleet.Cluster) { c.Spec.AgentAffinity = nil })
	awaitDeployed(t, key, metav1.ConditionTrue, "")
}

// Whatever becomes of its deployment, of the label or of the Cluster, an agent never uninstalls itself.
func TestNothingUninstallsTheAgent(t *testing.T) {
	key := join(t, env.Workspace(t), "stays")
	awaitDeployed(t, key, metav1.ConditionTrue, "")
	uid := deploymentOf(t).UID
	stays := func(after string) {
		t.Helper()
		if d := deploymentOf(t); d.UID != uid || d.DeletionTimestamp != nil {
			t.Fatalf("after %s the agent is not what it was: %v", after, d.ObjectMeta)
		}
	}
	bd, err := env.BundleDeployments.Get(t.Context(), delivery(key).Namespace, delivery(key).Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := env.BundleDeployments.Delete(t.Context(), bd); err != nil {
		t.Fatal(err)
	}
	env.BundleDeployments.Await(t, delivery(key), func(now *fleet.BundleDeployment) error {
		if now.UID == bd.UID || !now.Status.Ready {
			return errors.New("not made anew")
		}
		return nil
	})
	stays("its deployment was deleted")

	env.Clusters.Edit(t, key, func(c *fleet.Cluster) { c.Labels = map[string]string{names.LabelNonManagedAgent: "true"} })
	env.BundleDeployments.Await(t, delivery(key), func(now *fleet.BundleDeployment) error {
		if !now.Spec.Paused {
			return errors.New("not paused")
		}
		return nil
	})
	env.Clusters.Await(t, key, func(c *fleet.Cluster) error {
		for _, condition := range c.Status.Conditions {
			if condition.Type == fleet.ConditionAgentDeployed {
				return errors.New("the hub still speaks of it")
			}
		}
		return nil
	})
	stays("the hub was told to leave it alone")

	env.Clusters.Remove(t, key)
	env.Clusters.AwaitGone(t, key)
	env.Namespaces.AwaitGone(t, kube.Key{Name: delivery(key).Namespace})
	stays("its Cluster was deleted")
}

// An agent that still runs while its Deployment is deleted does not bring itself back: it is being uninstalled. What else is
// missing comes back.
func TestAnAgentThatIsUninstalledStaysUninstalled(t *testing.T) {
	key := join(t, env.Workspace(t), "uninstalled")
	env.Clusters.Edit(t, key, func(c *fleet.Cluster) {
		c.Spec.AgentSchedulingCustomization = &fleet.AgentSchedulingCustomization{
			PodDisruptionBudget: &fleet.PodDisruptionBudgetSpec{MaxUnavailable: "1"},
		}
	})
	budgets := env.Kubernetes.PolicyV1().PodDisruptionBudgets(names.NamespaceSystem)
	var budget *policyv1.PodDisruptionBudget
	awaitBudget := func(other types.UID) {
		t.Helper()
		harness.Eventually(t, "there is a budget", func(ctx context.Context) (err error) {
			if budget, err = budgets.Get(ctx, names.AgentDisruptionBudget, metav1.GetOptions{}); err == nil && budget.UID == other {
				return errors.New("it is the former one")
			}
			return err
		})
	}
	awaitBudget("")
	awaitDeployed(t, key, metav1.ConditionTrue, "")
	deployments := env.Kubernetes.AppsV1().Deployments(names.NamespaceSystem)
	if err := deployments.Delete(t.Context(), names.Agent, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	env.BundleDeployments.Await(t, delivery(key), func(bd *fleet.BundleDeployment) error {
		if !slices.ContainsFunc(bd.Status.ModifiedStatus, func(m fleet.ModifiedStatus) bool { return m.Kind == "Deployment" && m.Create }) {
			return fmt.Errorf("it says %v", bd.Status.ModifiedStatus)
		}
		return nil
	})
	if err := budgets.Delete(t.Context(), budget.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitBudget(budget.UID)
	if d, err := deployments.Get(t.Context(), names.Agent, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("it is back: %v, %v", d, err)
	}
}

// A bundle cannot take the place of the agent's deployment, nor its rights.
func TestABundleOfThatNameIsRefused(t *testing.T) {
	workspace := env.Workspace(t)
	key := join(t, workspace, "name")
	awaitDeployed(t, key, metav1.ConditionTrue, "")
	bundle := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{
		Namespace: workspace, Name: names.AgentBundle(key.Name), Labels: map[string]string{names.LabelAgentOf: "true"},
	}}
	bundle.Spec.Resources = []fleet.BundleResource{{Name: "cm.yaml", Content: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stolen}\n"}}
	bundle.Spec.Targets = []fleet.BundleTarget{{ClusterName: key.Name}}
	env.Bundles.Make(t, bundle)
	env.Bundles.AwaitCondition(t, harness.KeyOf(bundle), fleet.Condition{
		Type: fleet.ConditionReady, Status: metav1.ConditionFalse, Message: "the cluster's own agent",
	})
	bd, err := env.BundleDeployments.Get(t.Context(), delivery(key).Namespace, delivery(key).Name)
	if err != nil || bd.Labels[names.LabelBundleName] != "" {
		t.Errorf("the deployment is the bundle's: %v, %v", bd, err)
	}
}

// Two agents of one namespace take turns: the one that waits is ready once the hub answers it, and works when the other goes.
func TestAgentsTakeTurns(t *testing.T) {
	workspace := env.Workspace(t)
	cluster := env.ImportCluster(t, harness.NewCluster(workspace, "turns", nil), env)
	t.Cleanup(func() { forget(t) })
	as := func(identity, address string) func(*agent.Config) {
		return func(c *agent.Config) { c.LeaderElection, c.Identity, c.MetricsAddress = true, identity, address }
	}
	first := env.StartAgent(t, as("first", freeAddress(t)))
	env.Clusters.AwaitReady(t, harness.KeyOf(cluster))
	awaitHolder(t, cluster, "first")
	address := freeAddress(t)
	env.StartAgentBeside(t, as("second", address))
	awaitReadyAt(t, address)
	awaitHolder(t, cluster, "first")
	first.Stop(t)
	awaitHolder(t, cluster, "second")
	awaitReadyAt(t, address)
}
