package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterRegistration is the request of an agent to be registered as a Cluster. Agents create it.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:resource:path=clusterregistrations
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Cluster-Name",type=string,JSONPath=`.status.clusterName`
// +kubebuilder:printcolumn:name="Labels",type=string,JSONPath=`.spec.clusterLabels`
// +kubebuilder:printcolumn:name="Granted",type=boolean,JSONPath=`.status.granted`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,priority=1
type ClusterRegistration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the agent asks for.
	Spec ClusterRegistrationSpec `json:"spec,omitempty"`
	// Status is what the manager answers.
	Status ClusterRegistrationStatus `json:"status,omitempty"`
}

// ClusterRegistrationList is a list of ClusterRegistrations.
//
// +kubebuilder:object:root=true
type ClusterRegistrationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterRegistration `json:"items"`
}

// ClusterRegistrationSpec is what an agent asks for.
type ClusterRegistrationSpec struct {
	// ClientID identifies the cluster: an agent that comes with the same one again gets the same Cluster.
	// +nullable
	ClientID string `json:"clientID,omitempty"`
	// ClientRandom is new for each request.
	// +nullable
	ClientRandom string `json:"clientRandom,omitempty"`
	// ClusterLabels are set on the Cluster, but for reserved ones.
	// +nullable
	ClusterLabels map[string]string `json:"clusterLabels,omitempty"`
}

// ClusterRegistrationStatus is what the manager answers.
type ClusterRegistrationStatus struct {
	// ClusterName is the name of the Cluster.
	ClusterName string `json:"clusterName,omitempty"`
	// Granted says that the agent may use the credentials that were made for it.
	Granted bool `json:"granted,omitempty"`
	// Conditions of the request: Accepted is False with a reason if it was refused.
	Conditions []Condition `json:"conditions,omitempty"`
}

// ClusterRegistrationToken lets agents register clusters in its namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:resource:path=clusterregistrationtokens
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Secret-Name",type=string,JSONPath=`.status.secretName`
// +kubebuilder:printcolumn:name="Expires",type=date,JSONPath=`.status.expires`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,priority=1
type ClusterRegistrationToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says how long the token is valid.
	Spec ClusterRegistrationTokenSpec `json:"spec,omitempty"`
	// Status names the Secret with the token.
	Status ClusterRegistrationTokenStatus `json:"status,omitempty"`
}

// ClusterRegistrationTokenList is a list of ClusterRegistrationTokens.
//
// +kubebuilder:object:root=true
type ClusterRegistrationTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterRegistrationToken `json:"items"`
}

// ClusterRegistrationTokenSpec says how long a token is valid.
type ClusterRegistrationTokenSpec struct {
	// TTL is how long the token is valid, for example 240h. Default: for ever.
	// +nullable
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == '0' || (self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) <= duration('2562047h'))",message="must be 0 or a duration such as 15s or 1h30m; units are ns, us, ms, s, m and h"
	TTL *metav1.Duration `json:"ttl,omitempty"`
}

// ClusterRegistrationTokenStatus names the Secret with the token.
type ClusterRegistrationTokenStatus struct {
	// Expires is when the token is deleted.
	// +nullable
	Expires *metav1.Time `json:"expires,omitempty"`
	// SecretName is the Secret whose key "values" holds the Helm values to install an agent with.
	SecretName string `json:"secretName,omitempty"`
	// Conditions of the token: Accepted is False with a reason if it could not be made.
	Conditions []Condition `json:"conditions,omitempty"`
}
