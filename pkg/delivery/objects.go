package delivery

import (
	"cmp"
	"fmt"
	"maps"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// InvalidError says which setting of an agent cannot be used, and what to do.
type InvalidError struct{ Message string }

// Error returns the message.
func (e *InvalidError) Error() string { return e.Message }

// Objects are what the settings of a Cluster make of its agent.
type Objects struct {
	// Apply lists what is asked for, in the order in which it is needed; the last is the Deployment.
	Apply []runtime.Object
	// Remove lists what is not asked for, and may have been before.
	Remove []runtime.Object
}

// ObjectsOf returns the objects of the Cluster's agent, made of an image. Without a namespace they go where their release
// is. What cannot be is an *InvalidError.
func ObjectsOf(cluster *fleet.Cluster, image, namespace string) (Objects, error) {
	var o Objects
	class := &schedulingv1.PriorityClass{
		TypeMeta:   metav1.TypeMeta{APIVersion: schedulingv1.SchemeGroupVersion.String(), Kind: "PriorityClass"},
		ObjectMeta: metav1.ObjectMeta{Name: names.AgentPriorityClass, Labels: Labels()},
	}
	budget := &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: policyv1.SchemeGroupVersion.String(), Kind: "PodDisruptionBudget"},
		ObjectMeta: metav1.ObjectMeta{Name: names.AgentDisruptionBudget, Namespace: namespace, Labels: Labels()},
	}
	asked := schedulingOf(cluster)
	if asked.PriorityClass == nil {
		o.Remove = append(o.Remove, class)
	} else {
		class.Value, class.PreemptionPolicy = asked.PriorityClass.Value, asked.PriorityClass.PreemptionPolicy
		class.Description = "Priority of the Fleet agent"
		o.Apply = append(o.Apply, class)
	}
	if asked.PodDisruptionBudget == nil {
		o.Remove = append(o.Remove, budget)
	} else {
		if err := budgetFor(asked.PodDisruptionBudget, &budget.Spec); err != nil {
			return Objects{}, err
		}
		o.Apply = append(o.Apply, budget)
	}
	o.Apply = append(o.Apply, deployment(cluster, image, namespace))
	return o, nil
}

func schedulingOf(cluster *fleet.Cluster) fleet.AgentSchedulingCustomization {
	if cluster.Spec.AgentSchedulingCustomization == nil {
		return fleet.AgentSchedulingCustomization{}
	}
	return *cluster.Spec.AgentSchedulingCustomization
}

// budgetFor sets one of the two limits, as Kubernetes wants it; "0" stands for unset.
func budgetFor(asked *fleet.PodDisruptionBudgetSpec, spec *policyv1.PodDisruptionBudgetSpec) error {
	isSet := func(quantity string) bool { return quantity != "" && quantity != "0" }
	spec.Selector = &metav1.LabelSelector{MatchLabels: selector()}
	switch {
	case isSet(asked.MinAvailable) && isSet(asked.MaxUnavailable):
		return &InvalidError{"spec.agentSchedulingCustomization.podDisruptionBudget sets both minAvailable and maxUnavailable: set one of them"}
	case isSet(asked.MaxUnavailable):
		value := intstr.Parse(asked.MaxUnavailable)
		spec.MaxUnavailable = &value
	default:
		value := intstr.Parse(cmp.Or(asked.MinAvailable, "0"))
		spec.MinAvailable = &value
	}
	return nil
}

// deployment returns the Deployment of the agent.
func deployment(cluster *fleet.Cluster, image, namespace string) *appsv1.Deployment {
	one := int32(1)
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: podLabels()}, Spec: pod(cluster, image)}
	// A new pod is made whenever the user raises this.
	if cluster.Spec.RedeployAgentGeneration != 0 {
		template.Annotations = map[string]string{names.AnnotationRedeploy: fmt.Sprint(cluster.Spec.RedeployAgentGeneration)}
	}
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: names.Agent, Namespace: namespace, Labels: Labels()},
		Spec: appsv1.DeploymentSpec{
			Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: selector()}, Strategy: strategy(cluster), Template: template,
		},
	}
}

// strategy leaves the old agent until the new one has shown that it reaches the hub; a lease keeps them from acting at
// once. On the network of the host they would need the same port.
func strategy(cluster *fleet.Cluster) appsv1.DeploymentStrategy {
	if hostNetwork(cluster) {
		return appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
	none, one := intstr.FromInt32(0), intstr.FromInt32(1)
	return appsv1.DeploymentStrategy{
		Type:          appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &none, MaxSurge: &one},
	}
}

// metricsPort is where the agent answers probes and serves metrics.
const metricsPort = "metrics"

func pod(cluster *fleet.Cluster, image string) corev1.PodSpec {
	nobody, no, yes, room := int64(65532), false, true, resource.MustParse("1Gi")
	spec := corev1.PodSpec{
		ServiceAccountName: names.Agent,
		Affinity:           affinity(cluster),
		Tolerations:        tolerations(cluster),
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
			EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: names.ConfigMapAgentSettings}, Optional: &yes,
			}}},
			Env:            environment(cluster),
			Ports:          []corev1.ContainerPort{{Name: metricsPort, ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
			LivenessProbe:  probe("/healthz", 10, 5, 6),
			ReadinessProbe: probe("/readyz", 5, 3, 3),
			Resources:      resources(cluster),
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Privileged: &no,
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
			VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}},
		}},
		Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &room}}}},
	}
	if hostNetwork(cluster) {
		spec.DNSPolicy = corev1.DNSClusterFirstWithHostNet
	}
	if schedulingOf(cluster).PriorityClass != nil {
		spec.PriorityClassName = names.AgentPriorityClass
	}
	return spec
}

func selector() map[string]string { return map[string]string{"app": names.Agent} }

func podLabels() map[string]string {
	return map[string]string{"app": names.Agent, "app.kubernetes.io/name": names.Agent}
}

// Labels are those of an agent's objects.
func Labels() map[string]string {
	labels := maps.Clone(podLabels())
	labels["app.kubernetes.io/managed-by"] = names.FieldManager
	return labels
}

// environment returns what the agent is told, what the cluster says last.
func environment(cluster *fleet.Cluster) []corev1.EnvVar {
	fromPod := func(variable, field string) corev1.EnvVar {
		return corev1.EnvVar{Name: variable, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: field}}}
	}
	ours := []corev1.EnvVar{
		fromPod("FLOTILLA_NAMESPACE", "metadata.namespace"), fromPod("FLOTILLA_IDENTITY", "metadata.name"),
		{Name: "FLOTILLA_LEADER_ELECT", Value: "true"}, {Name: "FLOTILLA_MANAGED", Value: "true"},
	}
	if limit, ok := resources(cluster).Limits[corev1.ResourceMemory]; ok {
		ours = append(ours, corev1.EnvVar{Name: "GOMEMLIMIT", Value: fmt.Sprintf("%dMiB", limit.Value()*9/10>>20)})
	}
	theirs := map[string]bool{}
	for _, variable := range cluster.Spec.AgentEnvVars {
		theirs[variable.Name] = true
	}
	var all []corev1.EnvVar
	for _, variable := range ours {
		if !theirs[variable.Name] {
			all = append(all, variable)
		}
	}
	return append(all, cluster.Spec.AgentEnvVars...)
}

// probe asks the agent itself how it is, with times in seconds.
func probe(path string, period, timeout, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString(metricsPort)}},
		PeriodSeconds: period, TimeoutSeconds: timeout, FailureThreshold: failures,
	}
}

// affinity prefers nodes that are marked for agents, unless the cluster says otherwise.
func affinity(cluster *fleet.Cluster) *corev1.Affinity {
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

// tolerations let the agent run on nodes that are not wholly set up yet, and wherever the cluster says.
func tolerations(cluster *fleet.Cluster) []corev1.Toleration {
	return append([]corev1.Toleration{
		{Key: "node.cloudprovider.kubernetes.io/uninitialized", Operator: corev1.TolerationOpEqual, Value: "true", Effect: corev1.TaintEffectNoSchedule},
		{Key: "cattle.io/os", Operator: corev1.TolerationOpEqual, Value: "linux", Effect: corev1.TaintEffectNoSchedule},
	}, cluster.Spec.AgentTolerations...)
}

// resources are those of the chart flotilla-agent, unless the cluster says otherwise.
func resources(cluster *fleet.Cluster) corev1.ResourceRequirements {
	if cluster.Spec.AgentResources != nil {
		return *cluster.Spec.AgentResources
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
	}
}

// pullSecrets are those of the agent's service account, unless the cluster says otherwise.
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
