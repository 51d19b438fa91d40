package clusters

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// agentManifests are the objects that make up an agent downstream.
type agentManifests struct {
	// Namespace of the agent. It is made where it is missing and left alone otherwise.
	Namespace *corev1.Namespace
	// Apply lists what is applied, in order.
	Apply []runtime.Object
	// Remove lists what the cluster's settings no longer ask for.
	Remove []runtime.Object
}

// fingerprint returns a digest of the manifests and of where they go.
func (m agentManifests) fingerprint(server string) (string, error) {
	digest, err := kube.Fingerprint(slices.Concat([]runtime.Object{m.Namespace}, m.Apply, m.Remove)...)
	if err != nil {
		return "", err
	}
	return digestOf(server + " " + digest), nil
}

// manifestsOf returns the manifests of the agent of a cluster. The kubeconfig is what it reaches the hub with.
func manifestsOf(cluster *fleet.Cluster, image string, kubeconfig []byte) (agentManifests, *problem) {
	namespace := agentNamespace(cluster)
	if !names.IsLabel(namespace) {
		return agentManifests{}, &problem{ReasonSpecInvalid, fmt.Sprintf("spec.agentNamespace %q is no name for a namespace", namespace)}
	}
	agent := metav1.ObjectMeta{Name: names.Agent, Namespace: namespace, Labels: agentLabels()}
	role := metav1.ObjectMeta{Name: names.AgentRole(namespace), Labels: agentLabels()}
	m := agentManifests{
		Namespace: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		Apply: []runtime.Object{
			&corev1.ServiceAccount{ObjectMeta: agent},
			// The agent installs whatever bundles hold, so it may do whatever there is to do.
			&rbacv1.ClusterRole{ObjectMeta: role, Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}},
				{NonResourceURLs: []string{"*"}, Verbs: []string{"*"}},
			}},
			&rbacv1.ClusterRoleBinding{
				ObjectMeta: role, RoleRef: clusterRole(role.Name),
				Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: names.Agent}},
			},
			&corev1.Secret{ObjectMeta: agent, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{
				names.KeyKubeconfig:          kubeconfig,
				names.KeyDeploymentNamespace: []byte(names.ClusterNamespace(cluster.Namespace, cluster.Name)),
				names.KeyClusterNamespace:    []byte(cluster.Namespace),
				names.KeyClusterName:         []byte(cluster.Name),
			}},
		},
	}
	if asked := m.addScheduling(cluster, agent); asked != nil {
		return agentManifests{}, asked
	}
	m.Apply = append(m.Apply, agentDeployment(cluster, agent, image))
	return m, nil
}

// addScheduling adds the PriorityClass and the PodDisruptionBudget that the cluster asks for.
func (m *agentManifests) addScheduling(cluster *fleet.Cluster, agent metav1.ObjectMeta) *problem {
	class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: names.AgentPriorityClass, Labels: agentLabels()}}
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: agent}
	budget.Name = names.AgentDisruptionBudget
	var asked fleet.AgentSchedulingCustomization
	if cluster.Spec.AgentSchedulingCustomization != nil {
		asked = *cluster.Spec.AgentSchedulingCustomization
	}
	if asked.PriorityClass == nil {
		m.Remove = append(m.Remove, class)
	} else {
		class.Value = asked.PriorityClass.Value
		class.PreemptionPolicy = asked.PriorityClass.PreemptionPolicy
		class.Description = "Priority of the Fleet agent"
		m.Apply = append(m.Apply, class)
	}
	if asked.PodDisruptionBudget == nil {
		m.Remove = append(m.Remove, budget)
		return nil
	}
	budget.Spec.Selector = &metav1.LabelSelector{MatchLabels: agentSelector()}
	// Kubernetes takes one of the two; "0" stands for unset.
	switch spec := asked.PodDisruptionBudget; {
	case isSet(spec.MinAvailable) && isSet(spec.MaxUnavailable):
		return &problem{ReasonSpecInvalid, "spec.agentSchedulingCustomization.podDisruptionBudget sets both minAvailable and maxUnavailable: set one of them"}
	case isSet(spec.MaxUnavailable):
		value := intstr.Parse(spec.MaxUnavailable)
		budget.Spec.MaxUnavailable = &value
	default:
		value := intstr.Parse(cmp.Or(spec.MinAvailable, "0"))
		budget.Spec.MinAvailable = &value
	}
	m.Apply = append(m.Apply, budget)
	return nil
}

func isSet(quantity string) bool { return quantity != "" && quantity != "0" }

// metricsPort is where the agent answers probes and serves metrics.
const metricsPort = "metrics"

// agentDeployment returns the Deployment of the agent.
func agentDeployment(cluster *fleet.Cluster, meta metav1.ObjectMeta, image string) *appsv1.Deployment {
	one, nobody, no, yes := int32(1), int64(65532), false, true
	spec := corev1.PodSpec{
		ServiceAccountName: names.Agent,
		Affinity:           agentAffinity(cluster),
		Tolerations:        agentTolerations(cluster),
		ImagePullSecrets:   pullSecrets(cluster),
		HostNetwork:        hostNetwork(cluster),
		NodeSelector:       map[string]string{corev1.LabelOSStable: "linux"},
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &nobody, RunAsGroup: &nobody,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name:            names.Agent,
			Image:           imageFrom(cluster.Spec.PrivateRepoURL, image),
			ImagePullPolicy: corev1.PullIfNotPresent,
			Args:            []string{"--namespace=" + meta.Namespace},
			Env:             cluster.Spec.AgentEnvVars,
			Ports:           []corev1.ContainerPort{{Name: metricsPort, ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
			LivenessProbe:   probe("/healthz"),
			ReadinessProbe:  probe("/readyz"),
			Resources:       agentResources(cluster),
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Privileged: &no,
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
			VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}},
		}},
		Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}
	if hostNetwork(cluster) {
		spec.DNSPolicy = corev1.DNSClusterFirstWithHostNet
	}
	if custom := cluster.Spec.AgentSchedulingCustomization; custom != nil && custom.PriorityClass != nil {
		spec.PriorityClassName = names.AgentPriorityClass
	}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: agentLabels()}, Spec: spec}
	// A new pod is made whenever the user raises this.
	if cluster.Spec.RedeployAgentGeneration != 0 {
		template.Annotations = map[string]string{names.AnnotationRedeploy: fmt.Sprint(cluster.Spec.RedeployAgentGeneration)}
	}
	return &appsv1.Deployment{
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: &one,
			Selector: &metav1.LabelSelector{MatchLabels: agentSelector()},
			// Two agents at once would install the same releases.
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Template: template,
		},
	}
}

func agentNamespace(cluster *fleet.Cluster) string {
	return cmp.Or(cluster.Spec.AgentNamespace, names.NamespaceSystem)
}

func agentSelector() map[string]string { return map[string]string{"app": names.Agent} }

func agentLabels() map[string]string {
	return map[string]string{"app": names.Agent, "app.kubernetes.io/name": names.Agent, "app.kubernetes.io/managed-by": names.FieldManager}
}

// probe asks the agent itself how it is.
func probe(path string) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString(metricsPort)}},
		PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 6,
	}
}

// agentAffinity prefers nodes that are marked for agents, unless the cluster says otherwise.
func agentAffinity(cluster *fleet.Cluster) *corev1.Affinity {
	if cluster.Spec.AgentAffinity != nil {
		return cluster.Spec.AgentAffinity
	}
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
			Weight: 1,
			Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
				Key: names.LabelAgent, Operator: corev1.NodeSelectorOpIn, Values: []string{"true"},
			}}},
		}},
	}}
}

// agentTolerations lets the agent run on nodes that are not wholly set up yet, and wherever the cluster says.
func agentTolerations(cluster *fleet.Cluster) []corev1.Toleration {
	return append([]corev1.Toleration{
		{Key: "node.cloudprovider.kubernetes.io/uninitialized", Operator: corev1.TolerationOpEqual, Value: "true", Effect: corev1.TaintEffectNoSchedule},
		{Key: "cattle.io/os", Operator: corev1.TolerationOpEqual, Value: "linux", Effect: corev1.TaintEffectNoSchedule},
	}, cluster.Spec.AgentTolerations...)
}

func agentResources(cluster *fleet.Cluster) corev1.ResourceRequirements {
	if cluster.Spec.AgentResources == nil {
		return corev1.ResourceRequirements{}
	}
	return *cluster.Spec.AgentResources
}

func pullSecrets(cluster *fleet.Cluster) []corev1.LocalObjectReference {
	if cluster.Spec.AgentPullSecrets == nil {
		return nil
	}
	return *cluster.Spec.AgentPullSecrets
}

func hostNetwork(cluster *fleet.Cluster) bool {
	return cluster.Spec.HostNetwork != nil && *cluster.Spec.HostNetwork
}

// imageFrom returns the image as it is named in a private registry.
func imageFrom(registry, image string) string {
	if registry == "" {
		return image
	}
	return strings.TrimSuffix(registry, "/") + "/" + image
}
