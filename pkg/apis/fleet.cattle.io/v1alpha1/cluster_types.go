package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Cluster is a Kubernetes cluster that bundles can be deployed to.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:resource:path=clusters
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Bundles-Ready",type=string,JSONPath=`.status.display.readyBundles`
// +kubebuilder:printcolumn:name="Last-Seen",type=string,JSONPath=`.status.agent.lastSeen`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,priority=1
// +kubebuilder:printcolumn:name="Imported",type=string,JSONPath=`.status.conditions[?(@.type=="Imported")].message`,priority=1
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.status.namespace`,priority=1
// +kubebuilder:printcolumn:name="Paused",type=boolean,JSONPath=`.spec.paused`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,priority=1
type Cluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is how the cluster is reached and what its agent looks like.
	Spec ClusterSpec `json:"spec,omitempty"`
	// Status is what the manager and the agent know about the cluster.
	Status ClusterStatus `json:"status,omitempty"`
}

// ClusterList is a list of Clusters.
//
// +kubebuilder:object:root=true
type ClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Cluster `json:"items"`
}

// ClusterSpec is how a cluster is reached and what its agent looks like.
type ClusterSpec struct {
	// Paused prepares deployments for this cluster, but holds them at what they run now.
	Paused bool `json:"paused,omitempty"`
	// ClientID is the identity that the agent uses to register.
	// +nullable
	ClientID string `json:"clientID,omitempty"`
	// KubeConfigSecret is the Secret with the kubeconfig (key "value") that the manager installs the agent with. It may
	// also say how the agent reaches the hub (keys "apiServerURL" and "apiServerCA").
	// +nullable
	KubeConfigSecret string `json:"kubeConfigSecret,omitempty"`
	// KubeConfigSecretNamespace is the namespace of that Secret. Only the namespace of the Cluster is allowed, which is
	// the default.
	// +nullable
	KubeConfigSecretNamespace string `json:"kubeConfigSecretNamespace,omitempty"`
	// RedeployAgentGeneration installs the agent again, although nothing else has changed, whenever it is raised.
	RedeployAgentGeneration int64 `json:"redeployAgentGeneration,omitempty"`
	// AgentEnvVars are environment variables for the agent.
	// +nullable
	AgentEnvVars []corev1.EnvVar `json:"agentEnvVars,omitempty"`
	// AgentNamespace is the namespace of the agent, downstream. Default: cattle-fleet-system.
	// +nullable
	AgentNamespace string `json:"agentNamespace,omitempty"`
	// PrivateRepoURL is put before the name of the agent's image.
	// +nullable
	PrivateRepoURL string `json:"privateRepoURL,omitempty"`
	// TemplateValues can be used in the Helm values of bundles as ".ClusterValues".
	// +nullable
	TemplateValues *GenericMap `json:"templateValues,omitempty"`
	// AgentTolerations are added to the tolerations of the agent.
	// +nullable
	AgentTolerations []corev1.Toleration `json:"agentTolerations,omitempty"`
	// AgentAffinity replaces the affinity of the agent, which prefers nodes with the label "fleet.cattle.io/agent=true".
	// +nullable
	AgentAffinity *corev1.Affinity `json:"agentAffinity,omitempty"`
	// AgentResources are the resources of the agent.
	// +nullable
	AgentResources *corev1.ResourceRequirements `json:"agentResources,omitempty"`
	// HostNetwork runs the agent in the network of its node. Default: false.
	// +nullable
	HostNetwork *bool `json:"hostNetwork,omitempty"`
	// AgentSchedulingCustomization gives the agent a PriorityClass and a PodDisruptionBudget.
	// +nullable
	AgentSchedulingCustomization *AgentSchedulingCustomization `json:"agentSchedulingCustomization,omitempty"`
	// AgentPullSecrets are the names of the Secrets that the agent's image is pulled with. They must be in the agent's
	// namespace already. Where the field is set, it replaces the pull secrets that hold for all clusters.
	// +nullable
	AgentPullSecrets *[]corev1.LocalObjectReference `json:"agentPullSecrets,omitempty"`
}

// AgentSchedulingCustomization gives an agent a PriorityClass and a PodDisruptionBudget.
type AgentSchedulingCustomization struct {
	// PriorityClass of the agent.
	// +nullable
	PriorityClass *PriorityClassSpec `json:"priorityClass,omitempty"`
	// PodDisruptionBudget of the agent.
	// +nullable
	PodDisruptionBudget *PodDisruptionBudgetSpec `json:"podDisruptionBudget,omitempty"`
}

// PriorityClassSpec describes the PriorityClass of an agent.
type PriorityClassSpec struct {
	// Value of the priority.
	Value int32 `json:"value,omitempty"`
	// PreemptionPolicy of the PriorityClass.
	// +nullable
	PreemptionPolicy *corev1.PreemptionPolicy `json:"preemptionPolicy,omitempty"`
}

// PodDisruptionBudgetSpec describes the PodDisruptionBudget of an agent.
type PodDisruptionBudgetSpec struct {
	// MinAvailable is a number or a percentage.
	// +nullable
	MinAvailable string `json:"minAvailable,omitempty"`
	// MaxUnavailable is a number or a percentage.
	// +nullable
	MaxUnavailable string `json:"maxUnavailable,omitempty"`
}

// ClusterStatus is what the manager and the agent know about a cluster. The agent writes the field agent, the manager
// the others.
type ClusterStatus struct {
	// Conditions of the cluster.
	Conditions []Condition `json:"conditions,omitempty"`
	// Namespace that the hub keeps for the cluster.
	Namespace string `json:"namespace,omitempty"`
	// Summary counts the deployments by state.
	Summary BundleSummary `json:"summary,omitempty"`
	// ResourceCounts counts the deployed objects by state.
	ResourceCounts ResourceCounts `json:"resourceCounts,omitempty"`
	// ReadyGitRepos is the number of GitRepos of which everything is ready on this cluster.
	ReadyGitRepos int `json:"readyGitRepos"`
	// DesiredReadyGitRepos is the number of GitRepos that are deployed to this cluster.
	DesiredReadyGitRepos int `json:"desiredReadyGitRepos"`
	// ReadyHelmOps is the number of HelmOps of which everything is ready on this cluster.
	ReadyHelmOps int `json:"readyHelmOps"`
	// DesiredReadyHelmOps is the number of HelmOps that are deployed to this cluster.
	DesiredReadyHelmOps int `json:"desiredReadyHelmOps"`

	// AgentEnvVarsHash is the digest of agentEnvVars that the installed agent has.
	AgentEnvVarsHash string `json:"agentEnvVarsHash,omitempty"`
	// AgentPrivateRepoURL is the privateRepoURL that the installed agent has.
	AgentPrivateRepoURL string `json:"agentPrivateRepoURL,omitempty"`
	// AgentHostNetwork is the hostNetwork that the installed agent has.
	AgentHostNetwork bool `json:"agentHostNetwork,omitempty"`
	// AgentDeployedGeneration is the redeployAgentGeneration that was last honoured.
	// +nullable
	AgentDeployedGeneration *int64 `json:"agentDeployedGeneration,omitempty"`
	// AgentAffinityHash is the digest of agentAffinity that the installed agent has.
	AgentAffinityHash string `json:"agentAffinityHash,omitempty"`
	// AgentResourcesHash is the digest of agentResources that the installed agent has.
	AgentResourcesHash string `json:"agentResourcesHash,omitempty"`
	// AgentTolerationsHash is the digest of agentTolerations that the installed agent has.
	AgentTolerationsHash string `json:"agentTolerationsHash,omitempty"`
	// AgentSchedulingCustomizationHash is the digest of agentSchedulingCustomization that the installed agent has.
	AgentSchedulingCustomizationHash string `json:"agentSchedulingCustomizationHash,omitempty"`
	// AgentConfigChanged says that the agent has to be installed again.
	AgentConfigChanged bool `json:"agentConfigChanged,omitempty"`
	// AgentMigrated is kept from earlier versions.
	AgentMigrated bool `json:"agentMigrated,omitempty"`
	// AgentNamespaceMigrated is kept from earlier versions.
	AgentNamespaceMigrated bool `json:"agentNamespaceMigrated,omitempty"`
	// CattleNamespaceMigrated is kept from earlier versions.
	CattleNamespaceMigrated bool `json:"cattleNamespaceMigrated,omitempty"`
	// AgentTLSMode says how the agent checks the hub's certificate: "strict" or "system-store".
	AgentTLSMode string `json:"agentTLSMode,omitempty"`
	// APIServerURL is the address of the hub that the agent was given.
	APIServerURL string `json:"apiServerURL,omitempty"`
	// APIServerCAHash is the digest of the certificates that the agent was given for the hub.
	APIServerCAHash string `json:"apiServerCAHash,omitempty"`
	// GarbageCollectionInterval is kept from earlier versions.
	// +nullable
	GarbageCollectionInterval *metav1.Duration `json:"garbageCollectionInterval,omitempty"`

	// Display holds what kubectl get shows.
	Display ClusterDisplay `json:"display,omitempty"`
	// Agent is what the agent reports about itself.
	Agent AgentStatus `json:"agent,omitempty,omitzero"`
	// Scheduled says that a Schedule holds for this cluster.
	Scheduled bool `json:"scheduled,omitempty"`
	// ActiveSchedule says that a Schedule of this cluster is active now.
	ActiveSchedule bool `json:"activeSchedule,omitempty"`
}

// ClusterDisplay holds what kubectl get shows of a cluster.
type ClusterDisplay struct {
	// ReadyBundles is the number of ready deployments and of all, as "n/m".
	ReadyBundles string `json:"readyBundles,omitempty"`
	// State is the worst state of the deployments, or WaitCheckIn while no agent has announced itself.
	State string `json:"state,omitempty"`
}

// AgentStatus is what an agent reports about itself.
type AgentStatus struct {
	// LastSeen is when the agent last reported.
	// +nullable
	LastSeen metav1.Time `json:"lastSeen,omitempty,omitzero"`
	// Namespace of the agent, downstream.
	Namespace string `json:"namespace,omitempty"`
	// Managed says that the agent takes what it is made of, its Deployment, from the hub.
	Managed bool `json:"managed,omitempty"`
	// UnclaimedReleases counts the Helm releases that the agent made and whose deployment is not on the hub. They stay.
	UnclaimedReleases int `json:"unclaimedReleases,omitempty"`
	// Unclaimed names up to ten of them, as namespace/name.
	Unclaimed []string `json:"unclaimed,omitempty"`
}
