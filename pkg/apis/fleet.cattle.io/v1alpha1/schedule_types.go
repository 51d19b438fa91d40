package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Schedule limits changes on clusters to windows of time.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:resource:path=schedules
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`
// +kubebuilder:printcolumn:name="Duration",type=string,JSONPath=`.spec.duration`
// +kubebuilder:printcolumn:name="Active",type=string,JSONPath=`.status.active`
// +kubebuilder:printcolumn:name="NextStart",type=string,JSONPath=`.status.nextStartTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,priority=1
type Schedule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says when changes are allowed, and where.
	Spec ScheduleSpec `json:"spec,omitempty"`
	// Status says whether changes are allowed now.
	Status ScheduleStatus `json:"status,omitempty"`
}

// ScheduleList is a list of Schedules.
//
// +kubebuilder:object:root=true
type ScheduleList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Schedule `json:"items"`
}

// ScheduleSpec says when changes are allowed, and where.
type ScheduleSpec struct {
	// Schedule is when windows begin, in cron form with six fields: seconds first.
	// +nullable
	Schedule string `json:"schedule,omitempty"`
	// Duration is how long a window lasts, for example 2h.
	// +nullable
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == '0' || (self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) <= duration('2562047h'))",message="must be 0 or a duration such as 15s or 1h30m; units are ns, us, ms, s, m and h"
	Duration *metav1.Duration `json:"duration,omitempty"`
	// Location is the time zone of the schedule, for example Europe/Berlin. Default: UTC.
	// +nullable
	Location string `json:"location,omitempty"`
	// Targets select the clusters that the schedule holds for.
	// +nullable
	Targets ScheduleTargets `json:"targets,omitempty,omitzero"`
}

// ScheduleTargets select the clusters that a schedule holds for.
type ScheduleTargets struct {
	// Clusters of which a schedule holds for those that match one of the targets.
	// +nullable
	Clusters []ScheduleTarget `json:"clusters,omitempty"`
}

// ScheduleTarget selects clusters. All criteria of one target must match.
type ScheduleTarget struct {
	// Name of the target.
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

// ScheduleStatus says whether changes are allowed now.
type ScheduleStatus struct {
	// Active says that a window is open.
	Active bool `json:"active,omitempty"`
	// NextStartTime is when the next window opens.
	// +nullable
	NextStartTime metav1.Time `json:"nextStartTime,omitempty,omitzero"`
	// Conditions of the schedule.
	Conditions []Condition `json:"conditions,omitempty"`
	// MatchingClusters lists the clusters that the schedule holds for.
	MatchingClusters []string `json:"matchingClusters,omitempty"`
}
