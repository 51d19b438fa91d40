package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ImageScan looks for new tags of a container image and commits them to a Git repository.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:resource:path=imagescans
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.spec.image`
// +kubebuilder:printcolumn:name="Latest",type=string,JSONPath=`.status.latestTag`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,priority=1
type ImageScan struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says which image to look at, and how to choose a tag.
	Spec ImageScanSpec `json:"spec,omitempty"`
	// Status is what was found.
	Status ImageScanStatus `json:"status,omitempty"`
}

// ImageScanList is a list of ImageScans.
//
// +kubebuilder:object:root=true
type ImageScanList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ImageScan `json:"items"`
}

// ImageScanSpec says which image to look at, and how to choose a tag.
type ImageScanSpec struct {
	// TagName is the name that comments in the repository's files use to mark where the image stands.
	// +nullable
	TagName string `json:"tagName,omitempty"`
	// GitRepoName is the GitRepo whose repository is updated.
	// +nullable
	GitRepoName string `json:"gitrepoName,omitempty"`
	// Image to look at, without a tag.
	// +required
	Image string `json:"image"`
	// Interval is how often to look, for example 5m.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == '0' || (self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) <= duration('2562047h'))",message="must be 0 or a duration such as 15s or 1h30m; units are ns, us, ms, s, m and h"
	Interval metav1.Duration `json:"interval"`
	// SecretRef is the Secret, of type kubernetes.io/dockerconfigjson, with the credentials of the registry.
	// +nullable
	SecretRef *corev1.LocalObjectReference `json:"secretRef,omitempty"`
	// Suspend stops looking.
	Suspend bool `json:"suspend,omitempty"`
	// Policy chooses among the tags.
	// +nullable
	Policy ImagePolicyChoice `json:"policy,omitempty,omitzero"`
}

// ImagePolicyChoice chooses among tags. One of the policies must be set.
type ImagePolicyChoice struct {
	// SemVer chooses the greatest version of a range.
	// +nullable
	SemVer *SemVerPolicy `json:"semver,omitempty"`
	// Alphabetical chooses by the order of the alphabet.
	// +nullable
	Alphabetical *AlphabeticalPolicy `json:"alphabetical,omitempty"`
}

// SemVerPolicy chooses the greatest version of a range.
type SemVerPolicy struct {
	// Range of versions, for example ">=1.2 <2".
	// +nullable
	Range string `json:"range,omitempty"`
}

// AlphabeticalPolicy chooses by the order of the alphabet.
type AlphabeticalPolicy struct {
	// Order is DESC for the greatest tag, ASC for the smallest. Default: DESC.
	// +nullable
	Order string `json:"order,omitempty"`
}

// ImageScanStatus is what was found.
type ImageScanStatus struct {
	// Conditions of the scan.
	Conditions []Condition `json:"conditions,omitempty"`
	// LastScanTime is when the registry was last asked.
	// +nullable
	LastScanTime metav1.Time `json:"lastScanTime,omitempty,omitzero"`
	// LatestImage is the image with the chosen tag.
	LatestImage string `json:"latestImage,omitempty"`
	// LatestTag is the chosen tag.
	LatestTag string `json:"latestTag,omitempty"`
	// LatestDigest is the digest of the chosen image.
	LatestDigest string `json:"latestDigest,omitempty"`
	// ObservedGeneration is the generation of the scan that this status is about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// CanonicalImageName is the full name of the image's repository.
	CanonicalImageName string `json:"canonicalImageName,omitempty"`
}
