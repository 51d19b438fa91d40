package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Content holds the resources of one or more bundles. It is named by the digest of what it holds and never changed.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:resource:path=contents,scope=Cluster
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,priority=1
type Content struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Content is the compressed (gzip) JSON of the resources.
	// +nullable
	Content []byte `json:"content,omitempty"`
	// SHA256Sum is the digest (SHA-256, hexadecimal) of the JSON before compression. Agents check it.
	SHA256Sum string `json:"sha256sum,omitempty"`
	// Status is what the manager knows about the use of the content.
	Status ContentStatus `json:"status,omitempty,omitzero"`
}

// ContentList is a list of Contents.
//
// +kubebuilder:object:root=true
type ContentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Content `json:"items"`
}

// ContentStatus is what the manager knows about the use of a content.
type ContentStatus struct {
	// ReferenceCount is the number of deployments that use the content.
	ReferenceCount int `json:"referenceCount,omitempty"`
}
