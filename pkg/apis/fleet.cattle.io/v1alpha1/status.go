package v1alpha1

// BundleState is the state of a deployment, or the worst state of several.
type BundleState string

// States of a deployment. A BundleRef may also name states of later versions: they are kept as they are.
const (
	// Ready: the agent runs what it should, and every object is ready and unchanged.
	Ready BundleState = "Ready"
	// NotReady: installed, but some objects are not ready.
	NotReady BundleState = "NotReady"
	// WaitApplied: the agent has not yet installed what it should run.
	WaitApplied BundleState = "WaitApplied"
	// ErrApplied: the agent could not install what it should run.
	ErrApplied BundleState = "ErrApplied"
	// OutOfSync: something newer is staged, but held back.
	OutOfSync BundleState = "OutOfSync"
	// Pending: there is no deployment yet.
	Pending BundleState = "Pending"
	// Modified: objects were changed in the cluster.
	Modified BundleState = "Modified"
	// Unknown: the agent is away, so that nothing it said before counts. It is worse than Ready, and better than the rest.
	Unknown BundleState = "Unknown"
	// WaitingForDependency: bundles that this one depends on are not ready yet.
	WaitingForDependency BundleState = "WaitingForDependency"
)

// StatusBase is the part of the status that GitRepo and HelmOp have in common.
type StatusBase struct {
	// ReadyClusters is the number of clusters on which everything is ready.
	ReadyClusters int `json:"readyClusters"`
	// DesiredReadyClusters is the number of clusters that are targeted.
	DesiredReadyClusters int `json:"desiredReadyClusters"`
	// Summary counts the deployments by state.
	Summary BundleSummary `json:"summary,omitempty"`
	// Display holds what kubectl get shows.
	Display StatusDisplay `json:"display,omitempty"`
	// Conditions of the object.
	Conditions []Condition `json:"conditions,omitempty"`
	// Resources lists the deployed objects, with the clusters on which they are not ready.
	Resources []Resource `json:"resources,omitempty"`
	// ResourceCounts counts the deployed objects by state, over all clusters.
	ResourceCounts ResourceCounts `json:"resourceCounts,omitempty"`
	// PerClusterResourceCounts counts the deployed objects by state for each cluster ("namespace/name"), at most 50.
	PerClusterResourceCounts map[string]ResourceCounts `json:"perClusterResourceCounts,omitempty"`
}

// StatusDisplay holds what kubectl get shows of a GitRepo or HelmOp.
type StatusDisplay struct {
	// ReadyBundleDeployments is the number of ready deployments and of all, as "n/m".
	ReadyBundleDeployments string `json:"readyBundleDeployments,omitempty"`
	// State is the worst state of the deployments, or GitUpdating while a commit is being read.
	State string `json:"state,omitempty"`
	// Message says what is wrong.
	Message string `json:"message,omitempty"`
	// Error says that something is wrong.
	Error bool `json:"error,omitempty"`
}

// BundleSummary counts deployments by state.
type BundleSummary struct {
	// NotReady deployments are installed, but some of their objects are not ready.
	NotReady int `json:"notReady,omitempty"`
	// WaitApplied deployments wait for their agent.
	WaitApplied int `json:"waitApplied,omitempty"`
	// ErrApplied deployments could not be installed.
	ErrApplied int `json:"errApplied,omitempty"`
	// OutOfSync deployments are held back from something newer.
	OutOfSync int `json:"outOfSync,omitempty"`
	// Modified deployments have objects that were changed in the cluster.
	Modified int `json:"modified,omitempty"`
	// Ready deployments are as they should be.
	Ready int `json:"ready"`
	// Pending deployments do not exist yet.
	Pending int `json:"pending,omitempty"`
	// Unknown deployments are on clusters whose agent is silent.
	Unknown int `json:"unknown,omitempty"`
	// DesiredReady is the number of deployments that should be ready.
	DesiredReady int `json:"desiredReady"`
	// NonReadyResources lists what is not ready, the worst first, at most 10.
	NonReadyResources []NonReadyResource `json:"nonReadyResources,omitempty"`
}

// NonReadyResource is a bundle, deployment or cluster that is not ready.
type NonReadyResource struct {
	// Name of the bundle, deployment or cluster.
	Name string `json:"name,omitempty"`
	// State it is in.
	State BundleState `json:"bundleState,omitempty"`
	// Message says what is wrong.
	Message string `json:"message,omitempty"`
	// ModifiedStatus lists objects that differ from what was applied.
	ModifiedStatus []ModifiedStatus `json:"modifiedStatus,omitempty"`
	// NonReadyStatus lists objects that are not ready.
	NonReadyStatus []NonReadyStatus `json:"nonReadyStatus,omitempty"`
}

// ResourceCounts counts objects by state.
type ResourceCounts struct {
	// Ready objects are there and work.
	Ready int `json:"ready"`
	// DesiredReady is the number of objects that should be ready.
	DesiredReady int `json:"desiredReady"`
	// WaitApplied objects wait for their agent.
	WaitApplied int `json:"waitApplied"`
	// Modified objects were changed in the cluster.
	Modified int `json:"modified"`
	// Orphaned objects should not be there.
	Orphaned int `json:"orphaned"`
	// Missing objects are not in the cluster.
	Missing int `json:"missing"`
	// Unknown objects are in a state that is not known.
	Unknown int `json:"unknown"`
	// NotReady objects are there, but do not work yet.
	NotReady int `json:"notReady"`
}

// Resource is a deployed object, summed up over all clusters.
type Resource struct {
	// APIVersion of the object.
	APIVersion string `json:"apiVersion,omitempty"`
	// Kind of the object.
	Kind string `json:"kind,omitempty"`
	// Type is the kind with its group, in lower case, for example "apps.deployment".
	Type string `json:"type,omitempty"`
	// ID is "namespace/name", or the name of a cluster-scoped object.
	ID string `json:"id,omitempty"`
	// Namespace of the object.
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	Name string `json:"name,omitempty"`
	// IncompleteState says that not all states are known.
	IncompleteState bool `json:"incompleteState,omitempty"`
	// State is the worst state of the object on any cluster.
	State string `json:"state,omitempty"`
	// Error says that the object is in error on a cluster.
	Error bool `json:"error,omitempty"`
	// Transitioning says that the object is on its way on a cluster.
	Transitioning bool `json:"transitioning,omitempty"`
	// Message explains the state.
	Message string `json:"message,omitempty"`
	// PerClusterState lists the clusters by the state of the object there.
	// +required
	PerClusterState PerClusterState `json:"perClusterState"`
}

// PerClusterState lists clusters ("namespace/name") by the state of an object there.
type PerClusterState struct {
	// Ready lists the clusters on which the object works.
	Ready []string `json:"ready,omitempty"`
	// WaitApplied lists the clusters whose agent has yet to install the object.
	WaitApplied []string `json:"waitApplied,omitempty"`
	// Pending lists the clusters that have no deployment yet.
	Pending []string `json:"pending,omitempty"`
	// Modified lists the clusters on which the object was changed.
	Modified []string `json:"modified,omitempty"`
	// Orphaned lists the clusters on which the object should not be.
	Orphaned []string `json:"orphaned,omitempty"`
	// Missing lists the clusters on which the object is missing.
	Missing []string `json:"missing,omitempty"`
	// Unknown lists the clusters on which the state of the object is not known.
	Unknown []string `json:"unknown,omitempty"`
	// NotReady lists the clusters on which the object does not work yet.
	NotReady []string `json:"notReady,omitempty"`
}
