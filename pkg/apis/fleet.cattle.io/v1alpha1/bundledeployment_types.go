package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// BundleDeployment is one bundle on one cluster. The manager writes it, in the namespace that the hub keeps for the
// cluster; the cluster's agent installs it as a Helm release and writes its status.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:resource:path=bundledeployments
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Deployed",type=string,JSONPath=`.status.display.deployed`
// +kubebuilder:printcolumn:name="Monitored",type=string,JSONPath=`.status.display.monitored`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,priority=1
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.display.state`,priority=1
// +kubebuilder:printcolumn:name="Release",type=string,JSONPath=`.status.release`,priority=1
// +kubebuilder:printcolumn:name="Removed",type=string,JSONPath=`.status.conditions[?(@.type=="Removed")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,priority=1
type BundleDeployment struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the agent should run.
	Spec BundleDeploymentSpec `json:"spec,omitempty"`
	// Status is what the agent reports.
	Status BundleDeploymentStatus `json:"status,omitempty"`
}

// BundleDeploymentList is a list of BundleDeployments.
//
// +kubebuilder:object:root=true
type BundleDeploymentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BundleDeployment `json:"items"`
}

// BundleDeploymentSpec is what an agent should run, now and next.
type BundleDeploymentSpec struct {
	// Paused says that the bundle or the cluster is paused.
	Paused bool `json:"paused,omitempty"`
	// StagedOptions are the options of what should run next.
	StagedOptions BundleDeploymentOptions `json:"stagedOptions,omitempty,omitzero"`
	// StagedDeploymentID identifies what should run next: the name of its content and the digest of its options.
	StagedDeploymentID string `json:"stagedDeploymentID,omitempty"`
	// Options are the options of what the agent must run now.
	Options BundleDeploymentOptions `json:"options,omitempty,omitzero"`
	// DeploymentID identifies what the agent must run now: the name of its content and the digest of its options.
	DeploymentID string `json:"deploymentID,omitempty"`
	// DependsOn lists bundles that must be ready on this cluster first.
	// +nullable
	DependsOn []BundleRef `json:"dependsOn,omitempty"`
	// CorrectDrift says whether and how changes made in the cluster by others are undone. It is no part of the
	// deployment's identity: a change of it does not deploy again.
	// +nullable
	CorrectDrift *CorrectDrift `json:"correctDrift,omitempty"`
	// OCIContents makes the agent fetch the resources from an OCI registry.
	OCIContents bool `json:"ociContents,omitempty"`
	// HelmChartOptions make the agent fetch the chart itself.
	// +nullable
	HelmChartOptions *BundleHelmOptions `json:"helmChartOptions,omitempty"`
	// ValuesHash is the digest of the Helm values. The values are kept in a Secret of the deployment's name.
	ValuesHash string `json:"valuesHash,omitempty"`
	// DownstreamResourcesGeneration is raised when a copied Secret or ConfigMap changes, or other ones are copied.
	DownstreamResourcesGeneration int64 `json:"downstreamResourcesGeneration,omitempty"`
	// OffSchedule holds the deployment until its Schedule is active.
	OffSchedule bool `json:"offSchedule,omitempty"`
	// WaitingForValues makes the agent wait, because the Secret with the values is missing.
	WaitingForValues bool `json:"waitingForValues,omitempty"`
}

// BundleDeploymentStatus is what an agent reports.
type BundleDeploymentStatus struct {
	// Conditions of the deployment.
	Conditions []Condition `json:"conditions,omitempty"`
	// AppliedDeploymentID identifies what was last installed with success.
	AppliedDeploymentID string `json:"appliedDeploymentID,omitempty"`
	// Release is the Helm release, as "namespace/name:revision".
	Release string `json:"release,omitempty"`
	// Ready says that every object of the release is ready.
	Ready bool `json:"ready,omitempty"`
	// NonModified says that no object of the release differs from what was applied.
	NonModified bool `json:"nonModified,omitempty"`
	// NonReadyStatus lists objects that are not ready, at most 10.
	NonReadyStatus []NonReadyStatus `json:"nonReadyStatus,omitempty"`
	// ModifiedStatus lists objects that differ from what was applied, at most 10.
	ModifiedStatus []ModifiedStatus `json:"modifiedStatus,omitempty"`
	// IncompleteState says that a list was cut.
	IncompleteState bool `json:"incompleteState,omitempty"`
	// Display holds what kubectl get shows.
	Display BundleDeploymentDisplay `json:"display,omitempty"`
	// SyncGeneration is the forceSyncGeneration that was last honoured.
	// +nullable
	SyncGeneration *int64 `json:"syncGeneration,omitempty"`
	// Resources lists the objects of the release.
	Resources []BundleDeploymentResource `json:"resources,omitempty"`
	// ResourceCounts counts the objects of the release by state.
	ResourceCounts ResourceCounts `json:"resourceCounts,omitempty"`
	// DownstreamResourcesGeneration is the generation of copied Secrets and ConfigMaps that was last honoured.
	DownstreamResourcesGeneration int64 `json:"downstreamResourcesGeneration,omitempty"`
}

// BundleDeploymentDisplay holds what kubectl get shows of a deployment. The agent computes it from the conditions.
type BundleDeploymentDisplay struct {
	// Deployed is the status of the condition Deployed, with its message when it is not True.
	Deployed string `json:"deployed,omitempty"`
	// Monitored is the status of the condition Monitored, with its message when it is not True.
	Monitored string `json:"monitored,omitempty"`
	// State of the deployment.
	State string `json:"state,omitempty"`
}

// NonReadyStatus says why an object is not ready.
type NonReadyStatus struct {
	// UID of the object.
	UID types.UID `json:"uid,omitempty"`
	// Kind of the object.
	Kind string `json:"kind,omitempty"`
	// APIVersion of the object.
	APIVersion string `json:"apiVersion,omitempty"`
	// Namespace of the object.
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	Name string `json:"name,omitempty"`
	// Summary says why the object is not ready.
	Summary ResourceSummary `json:"summary,omitempty"`
}

// ResourceSummary is the readiness of an object in short.
type ResourceSummary struct {
	// State in a word, such as "progressing".
	State string `json:"state,omitempty"`
	// Error says that the object will not become ready without help.
	Error bool `json:"error,omitempty"`
	// Transitioning says that the object is on its way.
	Transitioning bool `json:"transitioning,omitempty"`
	// Message explains the state.
	Message []string `json:"message,omitempty"`
}

// ModifiedStatus says how an object differs from what was applied.
type ModifiedStatus struct {
	// Kind of the object.
	Kind string `json:"kind,omitempty"`
	// APIVersion of the object.
	APIVersion string `json:"apiVersion,omitempty"`
	// Namespace of the object.
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	Name string `json:"name,omitempty"`
	// Create says that the object is missing in the cluster.
	Create bool `json:"missing,omitempty"`
	// Exist says that the object is there, but does not belong to this release.
	Exist bool `json:"exist,omitempty"`
	// Delete says that the object should not be there.
	Delete bool `json:"delete,omitempty"`
	// Patch is the JSON patch that would undo the change.
	Patch string `json:"patch,omitempty"`
}

// BundleDeploymentResource is an object of a release.
type BundleDeploymentResource struct {
	// Kind of the object.
	Kind string `json:"kind,omitempty"`
	// APIVersion of the object.
	APIVersion string `json:"apiVersion,omitempty"`
	// Namespace of the object.
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	Name string `json:"name,omitempty"`
	// CreatedAt is when the object was created.
	// +nullable
	CreatedAt metav1.Time `json:"createdAt,omitempty,omitzero"`
}
