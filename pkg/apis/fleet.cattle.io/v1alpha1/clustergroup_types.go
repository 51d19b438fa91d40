package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterGroup is a set of the clusters of a workspace, selected by their labels.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:resource:path=clustergroups,categories=fleet
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Clusters-Ready",type=string,JSONPath=`.status.display.readyClusters`
// +kubebuilder:printcolumn:name="Bundles-Ready",type=string,JSONPath=`.status.display.readyBundles`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,priority=1
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.display.state`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,priority=1
type ClusterGroup struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says which clusters belong to the group.
	Spec ClusterGroupSpec `json:"spec,omitempty"`
	// Status is what the manager knows about the clusters of the group.
	Status ClusterGroupStatus `json:"status,omitempty"`
}

// ClusterGroupList is a list of ClusterGroups.
//
// +kubebuilder:object:root=true
type ClusterGroupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterGroup `json:"items"`
}

// ClusterGroupSpec says which clusters belong to a group.
type ClusterGroupSpec struct {
	// Selector matches clusters by their labels. An empty selector matches every cluster, no selector matches none.
	// +nullable
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// ClusterGroupStatus is what the manager knows about the clusters of a group.
type ClusterGroupStatus struct {
	// ClusterCount is the number of clusters in the group.
	ClusterCount int `json:"clusterCount"`
	// NonReadyClusterCount is the number of clusters on which not everything is ready.
	NonReadyClusterCount int `json:"nonReadyClusterCount"`
	// NonReadyClusters lists clusters on which not everything is ready, at most 10.
	NonReadyClusters []string `json:"nonReadyClusters,omitempty"`
	// Conditions of the group.
	Conditions []Condition `json:"conditions,omitempty"`
	// Summary counts the deployments on the clusters of the group by state.
	Summary BundleSummary `json:"summary,omitempty"`
	// Display holds what kubectl get shows.
	Display ClusterGroupDisplay `json:"display,omitempty"`
	// ResourceCounts counts the deployed objects by state.
	ResourceCounts ResourceCounts `json:"resourceCounts,omitempty"`
}

// ClusterGroupDisplay holds what kubectl get shows of a group.
type ClusterGroupDisplay struct {
	// ReadyClusters is the number of clusters on which everything is ready and of all, as "n/m".
	ReadyClusters string `json:"readyClusters,omitempty"`
	// ReadyBundles is the number of ready deployments and of all, as "n/m".
	ReadyBundles string `json:"readyBundles,omitempty"`
	// State is the worst state of the deployments.
	State string `json:"state,omitempty"`
}
