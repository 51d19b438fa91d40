package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Bundle is one deployable unit: resources, options and targets. Each cluster that it targets gets one Helm release
// of it. Bundles are usually made from the folders of a GitRepo.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:resource:path=bundles
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="BundleDeployments-Ready",type=string,JSONPath=`.status.display.readyClusters`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,priority=1
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.display.state`,priority=1
// +kubebuilder:printcolumn:name="Removing",type=string,JSONPath=`.status.conditions[?(@.type=="Removing")].message`,priority=1
// +kubebuilder:printcolumn:name="GitRepo",type=string,JSONPath=`.metadata.labels.fleet\.cattle\.io/repo-name`,priority=1
// +kubebuilder:printcolumn:name="Commit",type=string,JSONPath=`.metadata.labels.fleet\.cattle\.io/commit`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,priority=1
type Bundle struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what to deploy, how, and where.
	Spec BundleSpec `json:"spec,omitempty"`
	// Status is what the manager knows about the bundle's deployments.
	Status BundleStatus `json:"status,omitempty"`
}

// BundleList is a list of Bundles.
//
// +kubebuilder:object:root=true
type BundleList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Bundle `json:"items"`
}

// BundleSpec is what to deploy, how, and where.
type BundleSpec struct {
	BundleDeploymentOptions `json:",inline"`

	// Paused prepares deployments, but holds them at what they run now.
	Paused bool `json:"paused,omitempty"`
	// RolloutStrategy says how many clusters are changed at a time.
	// +nullable
	RolloutStrategy *RolloutStrategy `json:"rolloutStrategy,omitempty"`
	// Resources are the files to deploy.
	// +nullable
	Resources []BundleResource `json:"resources,omitempty"`
	// TargetCustomizationMode says which of several matching targets counts: the first, or all of them in order.
	// +kubebuilder:default=FirstMatch
	TargetCustomizationMode TargetCustomizationMode `json:"targetCustomizationMode,omitempty"`
	// Targets say which clusters the bundle is deployed to, and with which options there.
	// +nullable
	Targets []BundleTarget `json:"targets,omitempty"`
	// TargetRestrictions, when there are any, limit the targets to clusters that match one of them.
	// +nullable
	TargetRestrictions []BundleTargetRestriction `json:"targetRestrictions,omitempty"`
	// DependsOn lists bundles that must be ready on a cluster before this one is deployed there.
	// +nullable
	DependsOn []BundleRef `json:"dependsOn,omitempty"`
	// ContentsID is the name of the artifact in an OCI registry that holds the resources.
	// +nullable
	ContentsID string `json:"contentsId,omitempty"`
	// HelmOpOptions make the agent fetch the chart itself. They are set on bundles of a HelmOp.
	// +nullable
	HelmOpOptions *BundleHelmOptions `json:"helmOpOptions,omitempty"`
	// ValuesHash is the digest of all Helm values of the bundle. The values are kept in a Secret of the bundle's name.
	// +nullable
	ValuesHash string `json:"valuesHash,omitempty"`
}

// TargetCustomizationMode says which of several matching targets counts.
//
// +kubebuilder:validation:Enum=FirstMatch;AllMatches
type TargetCustomizationMode string

const (
	// FirstMatch uses the first target that matches a cluster.
	FirstMatch TargetCustomizationMode = "FirstMatch"
	// AllMatches merges all targets that match a cluster, in order.
	AllMatches TargetCustomizationMode = "AllMatches"
)

// BundleResource is one file.
type BundleResource struct {
	// Name is the path of the file, relative to the bundle.
	// +nullable
	Name string `json:"name,omitempty"`
	// Content of the file.
	// +nullable
	Content string `json:"content,omitempty"`
	// Encoding of the content: empty for plain text, or "base64+gz".
	// +nullable
	Encoding string `json:"encoding,omitempty"`
}

// BundleTarget selects clusters and gives the options that hold there. All criteria of one target must match; a target
// without any criterion matches no cluster.
type BundleTarget struct {
	BundleDeploymentOptions `json:",inline"`

	// Name of the target. Default: "target" and its index.
	// +nullable
	Name string `json:"name,omitempty"`
	// ClusterName matches the cluster of this name.
	// +nullable
	ClusterName string `json:"clusterName,omitempty"`
	// ClusterSelector matches clusters by their labels. An empty selector matches every cluster.
	// +nullable
	ClusterSelector *metav1.LabelSelector `json:"clusterSelector,omitempty"`
	// ClusterGroup matches the clusters of the ClusterGroup of this name.
	// +nullable
	ClusterGroup string `json:"clusterGroup,omitempty"`
	// ClusterGroupSelector matches the clusters of ClusterGroups by the labels of these groups.
	// +nullable
	ClusterGroupSelector *metav1.LabelSelector `json:"clusterGroupSelector,omitempty"`
	// DoNotDeploy leaves out the clusters that match this target.
	DoNotDeploy bool `json:"doNotDeploy,omitempty"`
}

// BundleTargetRestriction selects clusters that a bundle may be deployed to.
type BundleTargetRestriction struct {
	// Name of the restriction.
	// +nullable
	Name string `json:"name,omitempty"`
	// ClusterName matches the cluster of this name.
	// +nullable
	ClusterName string `json:"clusterName,omitempty"`
	// ClusterSelector matches clusters by their labels. An empty selector matches every cluster.
	// +nullable
	ClusterSelector *metav1.LabelSelector `json:"clusterSelector,omitempty"`
	// ClusterGroup matches the clusters of the ClusterGroup of this name.
	// +nullable
	ClusterGroup string `json:"clusterGroup,omitempty"`
	// ClusterGroupSelector matches the clusters of ClusterGroups by the labels of these groups.
	// +nullable
	ClusterGroupSelector *metav1.LabelSelector `json:"clusterGroupSelector,omitempty"`
}

// BundleRef names bundles of the same workspace.
type BundleRef struct {
	// Name of the bundle.
	// +nullable
	Name string `json:"name,omitempty"`
	// Selector matches bundles by their labels.
	// +nullable
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// AcceptedStates are the states that count as done. Default: Ready.
	// +nullable
	AcceptedStates []BundleState `json:"acceptedStates,omitempty"`
}

// BundleHelmOptions tell an agent how to fetch a chart itself.
type BundleHelmOptions struct {
	// SecretName is the name of the Secret with the credentials of the chart repository.
	// +nullable
	SecretName string `json:"helmOpSecretName,omitempty"`
	// InsecureSkipTLSVerify does not check the certificate of the chart repository.
	InsecureSkipTLSVerify bool `json:"helmOpInsecureSkipTLSVerify,omitempty"`
	// CABundle holds PEM certificates that the certificate of the chart repository is checked against.
	// +nullable
	CABundle []byte `json:"helmOpCABundle,omitempty"`
}

// RolloutStrategy says how many clusters are changed at a time. Clusters are changed partition by partition.
type RolloutStrategy struct {
	// MaxUnavailable is the number or percentage of clusters of a partition that may be unavailable while it is
	// changed. Default: 100%.
	// +nullable
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	// MaxUnavailablePartitions is the number or percentage of partitions that may be unavailable before the next ones
	// are begun. Default: 0.
	// +nullable
	MaxUnavailablePartitions *intstr.IntOrString `json:"maxUnavailablePartitions,omitempty"`
	// AutoPartitionSize is the number or percentage of clusters in each partition that is made automatically.
	// Default: 25%.
	// +nullable
	AutoPartitionSize *intstr.IntOrString `json:"autoPartitionSize,omitempty"`
	// AutoPartitionThreshold is the number of clusters from which on partitions are made automatically. 0: never.
	// Default: 200.
	// +nullable
	AutoPartitionThreshold *int `json:"autoPartitionThreshold,omitempty"`
	// MaxNew is the number of new deployments that may wait for the first sign of their agents at a time. 0: none are
	// made. Default: 50.
	// +nullable
	MaxNew *int `json:"maxNew,omitempty"`
	// Partitions are changed in this order. Clusters that match none of them form a last partition.
	// +nullable
	Partitions []Partition `json:"partitions,omitempty"`
}

// Partition selects clusters that are changed together. All criteria must match.
type Partition struct {
	// Name of the partition.
	// +nullable
	Name string `json:"name,omitempty"`
	// MaxUnavailable is the number or percentage of clusters of this partition that may be unavailable while it is
	// changed. Default: that of the strategy.
	// +nullable
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	// ClusterName matches the cluster of this name.
	// +nullable
	ClusterName string `json:"clusterName,omitempty"`
	// ClusterSelector matches clusters by their labels. An empty selector matches every cluster.
	// +nullable
	ClusterSelector *metav1.LabelSelector `json:"clusterSelector,omitempty"`
	// ClusterGroup matches the clusters of the ClusterGroup of this name.
	// +nullable
	ClusterGroup string `json:"clusterGroup,omitempty"`
	// ClusterGroupSelector matches the clusters of ClusterGroups by the labels of these groups.
	// +nullable
	ClusterGroupSelector *metav1.LabelSelector `json:"clusterGroupSelector,omitempty"`
}

// BundleStatus is what the manager knows about the bundle's deployments.
type BundleStatus struct {
	// Conditions of the bundle.
	Conditions []Condition `json:"conditions,omitempty"`
	// Summary counts the deployments by state.
	Summary BundleSummary `json:"summary,omitempty"`
	// NewlyCreated is the number of deployments that the latest plan created.
	NewlyCreated int `json:"newlyCreated,omitempty"`
	// Unavailable is the number of deployments that are not ready or do not yet run what they should.
	Unavailable int `json:"unavailable"`
	// UnavailablePartitions is the number of partitions with more unavailable clusters than allowed.
	UnavailablePartitions int `json:"unavailablePartitions"`
	// MaxUnavailable is the number of clusters that may be unavailable.
	MaxUnavailable int `json:"maxUnavailable"`
	// MaxUnavailablePartitions is the number of partitions that may be unavailable.
	MaxUnavailablePartitions int `json:"maxUnavailablePartitions"`
	// PartitionStatus is the state of each partition.
	PartitionStatus []PartitionStatus `json:"partitions,omitempty"`
	// Display holds what kubectl get shows.
	Display BundleDisplay `json:"display,omitempty"`
	// ResourceKey is no longer filled.
	ResourceKey []ResourceKey `json:"resourceKey,omitempty"`
	// OCIReference is the artifact that holds the resources, where an OCI registry is used.
	OCIReference string `json:"ociReference,omitempty"`
	// ObservedGeneration is the generation of the bundle that this status is about.
	ObservedGeneration int64 `json:"observedGeneration"`
	// ResourcesSHA256Sum is the digest of the resources.
	ResourcesSHA256Sum string `json:"resourcesSha256Sum,omitempty"`
}

// PartitionStatus is the state of one partition.
type PartitionStatus struct {
	// Name of the partition.
	Name string `json:"name,omitempty"`
	// Count is the number of clusters in the partition.
	Count int `json:"count,omitempty"`
	// MaxUnavailable is the number of clusters that may be unavailable.
	MaxUnavailable int `json:"maxUnavailable,omitempty"`
	// Unavailable is the number of clusters that are unavailable.
	Unavailable int `json:"unavailable,omitempty"`
	// Summary counts the deployments by state.
	Summary BundleSummary `json:"summary,omitempty"`
}

// BundleDisplay holds what kubectl get shows of a bundle.
type BundleDisplay struct {
	// ReadyClusters is the number of ready deployments and of all, as "n/m".
	ReadyClusters string `json:"readyClusters,omitempty"`
	// State is the worst state of the deployments.
	State string `json:"state,omitempty"`
}

// ResourceKey names an object.
type ResourceKey struct {
	// Kind of the object.
	Kind string `json:"kind,omitempty"`
	// APIVersion of the object.
	APIVersion string `json:"apiVersion,omitempty"`
	// Namespace of the object.
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	Name string `json:"name,omitempty"`
}
