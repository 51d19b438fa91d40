package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GitRepo names folders of a Git repository and the clusters they are deployed to. Each folder becomes a Bundle.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:resource:path=gitrepos,categories=fleet
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Repo",type=string,JSONPath=`.spec.repo`
// +kubebuilder:printcolumn:name="Commit",type=string,JSONPath=`.status.commit`
// +kubebuilder:printcolumn:name="BundleDeployments-Ready",type=string,JSONPath=`.status.display.readyBundleDeployments`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,priority=1
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].message`,priority=1
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.display.state`,priority=1
// +kubebuilder:printcolumn:name="Removing",type=string,JSONPath=`.status.conditions[?(@.type=="Removing")].message`,priority=1
// +kubebuilder:printcolumn:name="Branch",type=string,JSONPath=`.spec.branch`,priority=1
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.spec.revision`,priority=1
// +kubebuilder:printcolumn:name="Paused",type=boolean,JSONPath=`.spec.paused`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,priority=1
type GitRepo struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what to deploy from where to where.
	Spec GitRepoSpec `json:"spec,omitempty"`
	// Status is what the manager knows about the repository and its deployments.
	Status GitRepoStatus `json:"status,omitempty"`
}

// GitRepoList is a list of GitRepos.
//
// +kubebuilder:object:root=true
type GitRepoList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GitRepo `json:"items"`
}

// GitRepoSpec is what to deploy from where to where.
type GitRepoSpec struct {
	// Repo is the URL to clone: "https://", "http://", "ssh://", or "user@host:path".
	// +required
	// +kubebuilder:validation:MinLength=1
	Repo string `json:"repo"`
	// Branch to follow. Default: master, where there is no revision either.
	// +nullable
	Branch string `json:"branch,omitempty"`
	// Revision is a tag or a commit. It wins over the branch.
	// +nullable
	Revision string `json:"revision,omitempty"`
	// Paths are the folders to deploy, relative to the root of the repository; they may hold wildcards. Default: the
	// whole repository.
	// +nullable
	Paths []string `json:"paths,omitempty"`
	// Bundles lists exactly the folders that become a bundle; folders below are not searched. Where it is set, paths is
	// not used.
	// +nullable
	Bundles []BundlePath `json:"bundles,omitempty"`
	// Targets select the clusters to deploy to. Default: the ClusterGroup "default".
	// +nullable
	Targets []GitTarget `json:"targets,omitempty"`
	// TargetNamespace forces every object into this namespace. Bundles with cluster-scoped objects are refused then.
	// +nullable
	TargetNamespace string `json:"targetNamespace,omitempty"`
	// ServiceAccount is the service account in the agent's namespace, downstream, that agents act as. Default: the
	// service account "fleet-default" where there is one, else the agent's own.
	// +nullable
	ServiceAccount string `json:"serviceAccount,omitempty"`
	// ClientSecretName is the Secret with the credentials of the repository: of type kubernetes.io/basic-auth or
	// kubernetes.io/ssh-auth, or with the keys of a GitHub App. Default: the Secret "gitcredential", where there is one.
	// +nullable
	ClientSecretName string `json:"clientSecretName,omitempty"`
	// HelmSecretName is the Secret with the credentials of chart repositories, for all bundles.
	// +nullable
	HelmSecretName string `json:"helmSecretName,omitempty"`
	// HelmSecretNameForPaths is the Secret with the credentials of chart repositories by path. It wins over
	// helmSecretName.
	// +nullable
	HelmSecretNameForPaths string `json:"helmSecretNameForPaths,omitempty"`
	// HelmRepoURLRegex limits the URLs of charts and chart repositories that credentials are sent to. Where it is empty,
	// credentials are never sent.
	// +nullable
	HelmRepoURLRegex string `json:"helmRepoURLRegex,omitempty"`
	// CABundle holds PEM certificates that the certificate of the Git server is checked against.
	// +nullable
	CABundle []byte `json:"caBundle,omitempty"`
	// InsecureSkipTLSVerify does not check the certificate of the Git server.
	InsecureSkipTLSVerify bool `json:"insecureSkipTLSVerify,omitempty"`
	// PollingInterval is how often to look for new commits, for example 30s or 5m. Default: 15s.
	// +nullable
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == '0' || (self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) <= duration('2562047h'))",message="must be 0 or a duration such as 15s or 1h30m; units are ns, us, ms, s, m and h"
	PollingInterval *metav1.Duration `json:"pollingInterval,omitempty"`
	// DisablePolling looks for new commits only when a webhook or a forced update says so.
	DisablePolling bool `json:"disablePolling,omitempty"`
	// WebhookSecret is the Secret that webhooks for this repository are verified with. Default: gitjob-webhook.
	// +nullable
	WebhookSecret string `json:"webhookSecret,omitempty"`
	// ForceSyncGeneration fetches and deploys again, although nothing else has changed, whenever it is raised.
	ForceSyncGeneration int64 `json:"forceSyncGeneration,omitempty"`
	// Paused goes on updating the bundles, but holds their deployments at what they run now.
	Paused bool `json:"paused,omitempty"`
	// KeepResources leaves everything that was deployed in place when the GitRepo goes.
	KeepResources bool `json:"keepResources,omitempty"`
	// DeleteNamespace removes the namespaces of the releases together with the deployments.
	DeleteNamespace bool `json:"deleteNamespace,omitempty"`
	// CorrectDrift says whether and how changes made in the clusters by others are undone.
	// +nullable
	CorrectDrift *CorrectDrift `json:"correctDrift,omitempty"`
	// OCIRegistrySecret is the Secret that names an OCI registry to keep resources in. Default: the Secret "ocistorage",
	// where there is one, else resources are kept in the cluster's own storage.
	// +nullable
	OCIRegistrySecret string `json:"ociRegistrySecret,omitempty"`
	// ImageScanInterval is how often collected image updates are committed back, for example 15m. Default: 15m.
	// +nullable
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == '0' || (self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) <= duration('2562047h'))",message="must be 0 or a duration such as 15s or 1h30m; units are ns, us, ms, s, m and h"
	ImageScanInterval *metav1.Duration `json:"imageScanInterval,omitempty"`
	// ImageScanCommit is the author and message of commits with image updates.
	// +nullable
	ImageScanCommit *CommitSpec `json:"imageScanCommit,omitempty"`
}

// BundlePath is one folder that becomes a bundle.
type BundlePath struct {
	// Base is the folder, relative to the root of the repository.
	// +nullable
	Base string `json:"base,omitempty"`
	// Options is the file used as fleet.yaml, relative to the folder. Default: fleet.yaml.
	// +nullable
	Options string `json:"options,omitempty"`
}

// GitTarget selects clusters. All criteria of one target must match; a target without any criterion matches no cluster.
type GitTarget struct {
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

// CommitSpec is the author and message of a commit.
type CommitSpec struct {
	// AuthorName is the name of the author.
	// +nullable
	AuthorName string `json:"authorName,omitempty"`
	// AuthorEmail is the address of the author.
	// +nullable
	AuthorEmail string `json:"authorEmail,omitempty"`
	// MessageTemplate is the template of the message.
	// +nullable
	MessageTemplate string `json:"messageTemplate,omitempty"`
}

// GitRepoStatus is what the manager knows about the repository and its deployments.
type GitRepoStatus struct {
	StatusBase `json:",inline"`

	// ObservedGeneration is the generation of the GitRepo that this status is about.
	ObservedGeneration int64 `json:"observedGeneration"`
	// UpdateGeneration is the forceSyncGeneration that was last honoured.
	UpdateGeneration int64 `json:"updateGeneration,omitempty"`
	// Commit is the commit that was last read with success.
	Commit string `json:"commit,omitempty"`
	// WebhookCommit is the commit that a webhook last announced.
	WebhookCommit string `json:"webhookCommit,omitempty"`
	// LastWebhookTime is when a webhook last announced a commit.
	// +nullable
	LastWebhookTime metav1.Time `json:"lastWebhookTime,omitempty,omitzero"`
	// PollingCommit is the commit that polling last found.
	PollingCommit string `json:"pollingCommit,omitempty"`
	// LastPollingTime is when polling last found a new commit.
	// +nullable
	LastPollingTime metav1.Time `json:"lastPollingTriggered,omitempty,omitzero"`
	// GitJobStatus says how reading the repository goes: InProgress, Current or Failed.
	GitJobStatus string `json:"gitJobStatus,omitempty"`
	// LastSyncedImageScanTime is when image updates were last committed back.
	// +nullable
	LastSyncedImageScanTime metav1.Time `json:"lastSyncedImageScanTime,omitempty,omitzero"`
}
