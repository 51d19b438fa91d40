package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Condition is one observation about an object.
type Condition struct {
	// Type names what was observed, for example Ready.
	// +required
	Type string `json:"type"`
	// Status says whether the observation holds: True, False or Unknown.
	// +required
	Status metav1.ConditionStatus `json:"status"`
	// LastUpdateTime is when any field of this condition last changed, in RFC 3339.
	LastUpdateTime string `json:"lastUpdateTime,omitempty"`
	// LastTransitionTime is when the status last changed, in RFC 3339.
	LastTransitionTime string `json:"lastTransitionTime,omitempty"`
	// Reason is one CamelCase word for programs to act on.
	Reason string `json:"reason,omitempty"`
	// Message says what is the case and what to do next.
	Message string `json:"message,omitempty"`
	// ObservedGeneration is the generation of the object that the observation is about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// Types of conditions. A type is written by one program only.
const (
	// ConditionReady is True when everything the object asks for is so. It is computed, never a step of its own.
	ConditionReady = "Ready"
	// ConditionReconciling is True while work for the object's latest generation is under way, and absent otherwise.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when nothing goes on until a user changes something, and absent otherwise.
	ConditionStalled = "Stalled"

	// ConditionAccepted says on a GitRepo, HelmOp or Bundle whether it may and can be acted on.
	ConditionAccepted = "Accepted"
	// ConditionGitPolling says on a GitRepo whether the repository could be asked for its head.
	ConditionGitPolling = "GitPolling"
	// ConditionWebhookSecret is False on a GitRepo whose spec.webhookSecret can verify no delivery; else it is absent.
	ConditionWebhookSecret = "WebhookSecret"
	// ConditionPolled says on a HelmOp whether the chart repository could be asked for versions.
	ConditionPolled = "Polled"
	// ConditionImageSynced says on a GitRepo whether image updates could be committed back.
	ConditionImageSynced = "ImageSynced"
	// ConditionImageScanned says on an ImageScan whether the image repository could be read.
	ConditionImageScanned = "ImageScanned"
	// ConditionTargeted says on a Bundle whether all of its targets could be evaluated.
	ConditionTargeted = "Targeted"

	// ConditionRemoving is True while deployments of the object are marked for deletion and their agents have not yet
	// confirmed that everything of them is gone; absent otherwise.
	ConditionRemoving = "Removing"
	// ConditionPruneHeld is True while removals wait for a user's word; absent otherwise.
	ConditionPruneHeld = "PruneHeld"

	// ConditionDeployed says on a BundleDeployment whether the agent could install what is asked for.
	ConditionDeployed = "Deployed"
	// ConditionInstalled says on a BundleDeployment whether a Helm release of it exists.
	ConditionInstalled = "Installed"
	// ConditionMonitored says on a BundleDeployment whether the agent can watch the objects of its release.
	ConditionMonitored = "Monitored"
	// ConditionRemoved is True on a BundleDeployment with a deletionTimestamp once the agent has seen that every object
	// of its release that is not to be kept is gone. Before, it is False and says what the removal waits for, with
	// ReasonUninstalling once it has begun.
	ConditionRemoved = "Removed"

	// ConditionProcessed says on a Cluster or ClusterGroup whether the manager could act on its latest generation.
	ConditionProcessed = "Processed"
	// ConditionImported says on a Cluster whether the agent's credentials and manifests have been delivered to it.
	ConditionImported = "Imported"
	// ConditionClusterReachable is False on a Cluster whose agent's heartbeat is overdue.
	ConditionClusterReachable = "ClusterReachable"
	// ConditionAgentDeployed says on a Cluster whether its agent is what the settings of the Cluster ask for; an agent that the
	// manager installs by a kubeconfig has none.
	ConditionAgentDeployed = "AgentDeployed"
)

// Reasons of conditions that more than one package reads or writes.
const (
	// ReasonNotImplemented stands on objects of a kind, or with a field, that this version does not act on.
	ReasonNotImplemented = "NotImplemented"
	// ReasonWaitingForAgents stands on Removing.
	ReasonWaitingForAgents = "WaitingForAgents"
	// ReasonSideEffects stands on PruneHeld: many clusters stopped matching although nobody edited the targets.
	ReasonSideEffects = "SideEffects"
	// ReasonFoldersGone stands on PruneHeld: a commit takes more than half of the repository's bundles away.
	ReasonFoldersGone = "FoldersGone"
	// ReasonHeldByUser stands on PruneHeld: a person asked that nothing be removed.
	ReasonHeldByUser = "HeldByUser"
	// ReasonKindLeaving stands on PruneHeld: the definition of the kind is being deleted, not the object.
	ReasonKindLeaving = "KindLeaving"
	// ReasonUninstalling stands on Removed=False from the moment at which the agent begins to remove the deployment until
	// nothing of it is left: from then on the deployment is not taken back. With any other reason nothing was touched.
	ReasonUninstalling = "Uninstalling"
	// ReasonClusterUnreachable stands where a state is unknown because the cluster's agent is silent.
	ReasonClusterUnreachable = "ClusterUnreachable"
	// ReasonClustersOffline stands where all is well but for clusters whose agents are silent.
	ReasonClustersOffline = "ClustersOffline"
)
