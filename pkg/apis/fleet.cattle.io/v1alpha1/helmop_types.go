package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HelmOp deploys a Helm chart from a chart repository to clusters. It becomes a Bundle of the same name.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:resource:path=helmops,categories=fleet
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Repo",type=string,JSONPath=`.spec.helm.repo`
// +kubebuilder:printcolumn:name="Chart",type=string,JSONPath=`.spec.helm.chart`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="BundleDeployments-Ready",type=string,JSONPath=`.status.display.readyBundleDeployments`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,priority=1
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,priority=1
type HelmOp struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is which chart to deploy to where.
	Spec HelmOpSpec `json:"spec,omitempty"`
	// Status is what the manager knows about the chart and its deployments.
	Status HelmOpStatus `json:"status,omitempty"`
}

// HelmOpList is a list of HelmOps.
//
// +kubebuilder:object:root=true
type HelmOpList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HelmOp `json:"items"`
}

// HelmOpSpec is which chart to deploy to where.
type HelmOpSpec struct {
	BundleSpec `json:",inline"`

	// Labels are set on the Bundle.
	// +nullable
	Labels map[string]string `json:"labels,omitempty"`
	// PollingInterval is how often to look for new versions of the chart, where its version is a range or empty, for
	// example 5m. Default: never.
	// +nullable
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == '0' || (self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) <= duration('2562047h'))",message="must be 0 or a duration such as 15s or 1h30m; units are ns, us, ms, s, m and h"
	PollingInterval *metav1.Duration `json:"pollingInterval,omitempty"`
	// HelmSecretName is the Secret with the credentials of the chart repository.
	// +nullable
	HelmSecretName string `json:"helmSecretName,omitempty"`
	// InsecureSkipTLSVerify does not check the certificate of the chart repository.
	InsecureSkipTLSVerify bool `json:"insecureSkipTLSVerify,omitempty"`
}

// HelmOpStatus is what the manager knows about the chart and its deployments.
type HelmOpStatus struct {
	StatusBase `json:",inline"`

	// LastPollingTime is when the chart repository was last asked for versions.
	// +nullable
	LastPollingTime metav1.Time `json:"lastPollingTriggered,omitempty,omitzero"`
	// Version of the chart that is deployed.
	Version string `json:"version,omitempty"`
}
