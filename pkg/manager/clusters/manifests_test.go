package clusters

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func manifestsFor(t *testing.T, options ...func(*fleet.Cluster)) agentManifests {
	t.Helper()
	m, wrong := manifestsOf(newCluster(options...), "flotilla-agent:v1", []byte("kubeconfig"), "")
	if wrong != nil {
		t.Fatal(wrong)
	}
	return m
}

// find returns the object of a type.
func find[T runtime.Object](t *testing.T, objects []runtime.Object) T {
	t.Helper()
	for _, object := range objects {
		if found, ok := object.(T); ok {
			return found
		}
	}
	var none T
	t.Fatalf("there is no %T", none)
	return none
}

func podOf(t *testing.T, m agentManifests) (corev1.PodSpec, corev1.Container) {
	t.Helper()
	spec := find[*appsv1.Deployment](t, m.Apply).Spec.Template.Spec
	return spec, spec.Containers[0]
}

func TestManifestsByDefault(t *testing.T) {
	m := manifestsFor(t)
	var kinds []string
	for _, object := range m.Apply {
		meta := object.(metav1.Object)
		kinds = append(kinds, fmt.Sprintf("%T %s", object, strings.TrimPrefix(meta.GetNamespace()+"/"+meta.GetName(), "/")))
	}
	want := []string{
		"*v1.ServiceAccount cattle-fleet-system/fleet-agent",
		"*v1.ClusterRole cattle-fleet-system-fleet-agent",
		"*v1.ClusterRoleBinding cattle-fleet-system-fleet-agent",
		"*v1.Secret cattle-fleet-system/fleet-agent",
		"*v1.Deployment cattle-fleet-system/fleet-agent",
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if m.Namespace.Name != "cattle-fleet-system" {
		t.Errorf("namespace %s", m.Namespace.Name)
	}
	if len(m.Remove) != 2 {
		t.Errorf("scheduling objects that nobody asks for: %v", m.Remove)
	}
	data := map[string]string{}
	for key, value := range find[*corev1.Secret](t, m.Apply).Data {
		data[key] = string(value)
	}
	if diff := cmp.Diff(map[string]string{
		"kubeconfig": "kubeconfig", "clusterName": "c1", "clusterNamespace": "fleet-default",
		"deploymentNamespace": names.ClusterNamespace("fleet-default", "c1"),
	}, data); diff != "" {
		t.Errorf("Secret (-want +got):\n%s", diff)
	}
	deployment := find[*appsv1.Deployment](t, m.Apply)
	if s := deployment.Spec.Strategy.RollingUpdate; s == nil || s.MaxUnavailable.IntValue() != 0 || *deployment.Spec.Replicas != 1 {
		t.Error("the agent goes before a new one has shown that it works")
	}
	for key, value := range deployment.Spec.Selector.MatchLabels {
		if deployment.Spec.Template.Labels[key] != value {
			t.Errorf("the selector %s=%s matches no pod", key, value)
		}
	}
	pod, agent := podOf(t, m)
	if agent.Image != "flotilla-agent:v1" || pod.ServiceAccountName != "fleet-agent" || pod.HostNetwork || pod.PriorityClassName != "" {
		t.Errorf("pod: %v", pod)
	}
	if !slices.Contains(agent.Env, corev1.EnvVar{Name: "FLOTILLA_LEADER_ELECT", Value: "true"}) {
		t.Error("two agents could act at once")
	}
	if !slices.Contains(agent.Env, corev1.EnvVar{Name: "GOMEMLIMIT", Value: "921MiB"}) {
		t.Errorf("env %v", agent.Env)
	}
	if !*agent.SecurityContext.ReadOnlyRootFilesystem || *agent.SecurityContext.AllowPrivilegeEscalation || !*pod.SecurityContext.RunAsNonRoot {
		t.Error("the pod is not restricted")
	}
}

func TestManifestsFollowTheSettings(t *testing.T) {
	yes := true
	tests := []struct {
		name   string
		change func(*fleet.Cluster)
		check  func(*testing.T, agentManifests)
	}{
		{"agentNamespace", func(c *fleet.Cluster) { c.Spec.AgentNamespace = "agents" }, func(t *testing.T, m agentManifests) {
			if m.Namespace.Name != "agents" || find[*appsv1.Deployment](t, m.Apply).Namespace != "agents" {
				t.Error("not in the namespace")
			}
		}},
		{"agentEnvVars", func(c *fleet.Cluster) {
			c.Spec.AgentEnvVars = []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://proxy"}}
		}, func(t *testing.T, m agentManifests) {
			_, agent := podOf(t, m)
			if !slices.Contains(agent.Env, corev1.EnvVar{Name: "HTTPS_PROXY", Value: "http://proxy"}) {
				t.Errorf("env %v", agent.Env)
			}
		}},
		{"agentTolerations are added", func(c *fleet.Cluster) {
			c.Spec.AgentTolerations = []corev1.Toleration{{Key: "edge", Operator: "Exists"}}
		}, func(t *testing.T, m agentManifests) {
			pod, _ := podOf(t, m)
			if len(pod.Tolerations) != 3 || pod.Tolerations[2].Key != "edge" {
				t.Errorf("tolerations %v", pod.Tolerations)
			}
		}},
		{"agentAffinity replaces", func(c *fleet.Cluster) { c.Spec.AgentAffinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{}} }, func(t *testing.T, m agentManifests) {
			pod, _ := podOf(t, m)
			if pod.Affinity.NodeAffinity != nil || pod.Affinity.PodAffinity == nil {
				t.Errorf("affinity %v", pod.Affinity)
			}
		}},
		{"agentResources", func(c *fleet.Cluster) {
			c.Spec.AgentResources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{"memory": resource.MustParse("2Gi")}}
		}, func(t *testing.T, m agentManifests) {
			_, agent := podOf(t, m)
			if agent.Resources.Limits.Memory().String() != "2Gi" || !slices.Contains(agent.Env, corev1.EnvVar{Name: "GOMEMLIMIT", Value: "1843MiB"}) {
				t.Errorf("resources %v", agent.Resources)
			}
		}},
		{"hostNetwork", func(c *fleet.Cluster) { c.Spec.HostNetwork = &yes }, func(t *testing.T, m agentManifests) {
			pod, _ := podOf(t, m)
			if find[*appsv1.Deployment](t, m.Apply).Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
				t.Error("two agents would need the same port")
			}
			if !pod.HostNetwork || pod.DNSPolicy != corev1.DNSClusterFirstWithHostNet {
				t.Errorf("host network %v, DNS %s", pod.HostNetwork, pod.DNSPolicy)
			}
		}},
		{"privateRepoURL", func(c *fleet.Cluster) { c.Spec.PrivateRepoURL = "registry.example.com/mirror/" }, func(t *testing.T, m agentManifests) {
			if _, agent := podOf(t, m); agent.Image != "registry.example.com/mirror/flotilla-agent:v1" {
				t.Errorf("image %s", agent.Image)
			}
		}},
		{"agentPullSecrets", func(c *fleet.Cluster) { c.Spec.AgentPullSecrets = &[]corev1.LocalObjectReference{{Name: "pull"}} }, func(t *testing.T, m agentManifests) {
			if pod, _ := podOf(t, m); len(pod.ImagePullSecrets) != 1 || pod.ImagePullSecrets[0].Name != "pull" {
				t.Errorf("pull secrets %v", pod.ImagePullSecrets)
			}
		}},
		{"a priority class", func(c *fleet.Cluster) {
			c.Spec.AgentSchedulingCustomization = &fleet.AgentSchedulingCustomization{PriorityClass: &fleet.PriorityClassSpec{Value: 7}}
		}, func(t *testing.T, m agentManifests) {
			class := find[*schedulingv1.PriorityClass](t, m.Apply)
			if pod, _ := podOf(t, m); class.Value != 7 || pod.PriorityClassName != class.Name {
				t.Errorf("class %s of value %d, pod has %q", class.Name, class.Value, pod.PriorityClassName)
			}
			find[*policyv1.PodDisruptionBudget](t, m.Remove)
		}},
		{"a disruption budget by minimum", func(c *fleet.Cluster) { c.Spec.AgentSchedulingCustomization = budget("50%", "") }, func(t *testing.T, m agentManifests) {
			b := find[*policyv1.PodDisruptionBudget](t, m.Apply)
			if b.Spec.MinAvailable.String() != "50%" || b.Spec.MaxUnavailable != nil {
				t.Errorf("budget %v", b.Spec)
			}
			find[*schedulingv1.PriorityClass](t, m.Remove)
		}},
		{"a disruption budget by maximum", func(c *fleet.Cluster) { c.Spec.AgentSchedulingCustomization = budget("0", "1") }, func(t *testing.T, m agentManifests) {
			b := find[*policyv1.PodDisruptionBudget](t, m.Apply)
			if b.Spec.MaxUnavailable.IntValue() != 1 || b.Spec.MinAvailable != nil {
				t.Errorf("budget %v", b.Spec)
			}
		}},
		{"redeployAgentGeneration", func(c *fleet.Cluster) { c.Spec.RedeployAgentGeneration = 3 }, func(t *testing.T, m agentManifests) {
			template := find[*appsv1.Deployment](t, m.Apply).Spec.Template
			if template.Annotations[names.AnnotationRedeploy] != "3" {
				t.Errorf("annotations %v", template.Annotations)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := manifestsFor(t, tt.change)
			tt.check(t, m)
			before, err1 := manifestsFor(t).fingerprint("https://server")
			after, err2 := m.fingerprint("https://server")
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if before == after {
				t.Error("the fingerprint is the same, so the setting would not reach the cluster")
			}
		})
	}
}

func TestManifestsThatCannotBe(t *testing.T) {
	for name, change := range map[string]func(*fleet.Cluster){
		"namespace": func(c *fleet.Cluster) { c.Spec.AgentNamespace = "Not/A/Name" },
		"budget":    func(c *fleet.Cluster) { c.Spec.AgentSchedulingCustomization = budget("1", "1") },
	} {
		_, wrong := manifestsOf(newCluster(change), "image", nil, "")
		if wrong == nil || wrong.Reason != ReasonSpecInvalid || !strings.HasPrefix(wrong.Message, "spec.") {
			t.Errorf("%s: %v", name, wrong)
		}
	}
}

func TestManifestsFingerprintKnowsTheServer(t *testing.T) {
	m := manifestsFor(t)
	one, err1 := m.fingerprint("https://one")
	two, err2 := m.fingerprint("https://two")
	if err1 != nil || err2 != nil || one == two {
		t.Errorf("a kubeconfig for another cluster would install nothing there: %s, %s, %v, %v", one, two, err1, err2)
	}
}

func budget(minimum, maximum string) *fleet.AgentSchedulingCustomization {
	return &fleet.AgentSchedulingCustomization{PodDisruptionBudget: &fleet.PodDisruptionBudgetSpec{MinAvailable: minimum, MaxUnavailable: maximum}}
}

// The agent in the namespace of before goes first: two would install the same releases.
func TestManifestsOfAnAgentThatMoves(t *testing.T) {
	cluster := newCluster(func(c *fleet.Cluster) { c.Spec.AgentNamespace = "agents" })
	for before, want := range map[string]int{"": 0, "agents": 0, "cattle-fleet-system": 1} {
		m, wrong := manifestsOf(cluster, "image", nil, before)
		if wrong != nil {
			t.Fatal(wrong)
		}
		if len(m.First) != want {
			t.Errorf("from %q: %v goes first", before, m.First)
		}
	}
}
