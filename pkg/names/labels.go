package names

// Labels on the hub. Those of Fleet keep its prefix.
//
//nolint:gosec // names, not credentials
const (
	// LabelCommit, on a Bundle and its deployments, is the last commit that changed the bundle.
	LabelCommit = "fleet.cattle.io/commit"
	// LabelRepoName, on a Bundle and its deployments, is the GitRepo it was made from.
	LabelRepoName = "fleet.cattle.io/repo-name"
	// LabelHelmName, on a Bundle and its deployments, is the HelmOp it was made from.
	LabelHelmName = "fleet.cattle.io/fleet-helm-name"
	// LabelBundleName, on a deployment, is its Bundle.
	LabelBundleName = "fleet.cattle.io/bundle-name"
	// LabelBundleNamespace, on a deployment, is the workspace of its Bundle.
	LabelBundleNamespace = "fleet.cattle.io/bundle-namespace"
	// LabelCluster, on a deployment, is its Cluster.
	LabelCluster = "fleet.cattle.io/cluster"
	// LabelClusterNamespace, on a deployment, is the workspace of its Cluster.
	LabelClusterNamespace = "fleet.cattle.io/cluster-namespace"
	// LabelContentName, on a deployment, is the Content it uses.
	LabelContentName = "fleet.cattle.io/content-name"
	// LabelManaged, with the value "true", marks cluster namespaces and what the manager made to give agents access.
	LabelManaged = "fleet.cattle.io/managed"
	// LabelCreatedByUser, on a GitRepo, HelmOp, Bundle or deployment, is the user who created the first of them.
	LabelCreatedByUser = "fleet.cattle.io/created-by-user-id"
	// LabelClusterManagement, on a Cluster, says that something else takes care of its agent.
	LabelClusterManagement = "fleet.cattle.io/cluster-management"
	// LabelNonManagedAgent, on a Cluster, says that its agent is not delivered as a bundle.
	LabelNonManagedAgent = "fleet.cattle.io/non-managed-agent"
	// LabelBundleDeployment, on a Secret or ConfigMap copied downstream, is the deployment it was copied for, or one of them.
	LabelBundleDeployment = "fleet.cattle.io/bundledeployment"
	// LabelInternalSecret marks Secrets that the manager made for bundles.
	LabelInternalSecret = "fleet.cattle.io/bundle-internal-secret"
	// LabelRegistrationToken, on a Secret, is the ClusterRegistrationToken it belongs to.
	LabelRegistrationToken = "fleet.cattle.io/registration-token"
	// LabelCreatedByAgentPod, on a ClusterRegistration, is the pod that asked.
	LabelCreatedByAgentPod = "fleet.cattle.io/created-by-agent-pod"
	// LabelShardRef assigns an object to a shard of the manager. Flotilla has one; objects of all shards are its.
	LabelShardRef = "fleet.cattle.io/shard-ref"
	// LabelAgentOf, on a deployment that belongs to no bundle, says that it delivers the agent of its cluster.
	LabelAgentOf = "fleet.cattle.io/agent-of-cluster"
	// LabelAgent, on nodes downstream, attracts the agent.
	LabelAgent = "fleet.cattle.io/agent"

	// LabelClusterDisplayName, on a Cluster, is a second name of it that targets may use.
	LabelClusterDisplayName = "management.cattle.io/cluster-display-name"
	// LabelClusterName, on a Cluster, is the name of the cluster in Rancher.
	LabelClusterName = "management.cattle.io/cluster-name"
)

// Prefixes of labels that an agent may not bring along when it registers.
const (
	PrefixFleet      = "fleet.cattle.io/"
	PrefixManagement = "management.cattle.io/"
)

// Labels downstream.
const (
	// LabelObjectSetHash, on every object of a release, is the digest of the identity in AnnotationObjectSetID.
	LabelObjectSetHash = "objectset.rio.cattle.io/hash"
	// LabelHub, on a Helm release record, is the identity of the hub that asked for the release.
	LabelHub = "flotilla-gitops.github.io/hub"
	// LabelDeployment, on a Helm release record, is the name of the deployment that it belongs to.
	LabelDeployment = "flotilla-gitops.github.io/deployment"
	// LabelDeploymentUID, on a Helm release record, is the UID of the deployment that it belongs to.
	LabelDeploymentUID = "flotilla-gitops.github.io/deployment-uid"
	// LabelCopiedBy, on a Secret or ConfigMap that deployments have in their cluster as a copy, is the namespace of the agent
	// that put it there.
	LabelCopiedBy = "flotilla-gitops.github.io/copied-by"
)

// Annotations on the hub.
const (
	// AnnotationCluster, on a cluster namespace, is the Cluster it was made for.
	AnnotationCluster = "fleet.cattle.io/cluster"
	// AnnotationClusterNamespace, on a cluster namespace, is the workspace of the Cluster it was made for.
	AnnotationClusterNamespace = "fleet.cattle.io/cluster-namespace"
	// AnnotationClusterRegistration, on a ServiceAccount, is the ClusterRegistration it was made for.
	AnnotationClusterRegistration = "fleet.cattle.io/cluster-registration"
	// AnnotationClusterRegistrationNamespace is the namespace of that ClusterRegistration.
	AnnotationClusterRegistrationNamespace = "fleet.cattle.io/cluster-registration-namespace"
	// AnnotationGone, on a Bundle, is the commit of its GitRepo at which its folder is no longer there.
	AnnotationGone = "flotilla-gitops.github.io/gone-at-commit"
	// AnnotationGoneShare, on a Bundle with AnnotationGone, is how many of the GitRepo's bundles that commit takes away, of
	// how many there were: "6/10".
	AnnotationGoneShare = "flotilla-gitops.github.io/gone-share"
	// AnnotationSettledTargets, on a Bundle, is the digest of the targets whose removals are complete. A Bundle whose
	// targets have another digest was edited since: what they no longer match goes at once, however much it is.
	AnnotationSettledTargets = "flotilla-gitops.github.io/settled-targets"
	// AnnotationHold, with the value "true" on a Bundle or GitRepo, is a person's word: nothing is removed because a target
	// was edited, because a cluster no longer matches, or because a folder is gone. What is deleted by name goes.
	AnnotationHold = "flotilla-gitops.github.io/hold"
	// AnnotationReleaseHeld, with any value on a Bundle or GitRepo, is a person's word: what is held now goes. The garbage
	// collector takes it off when that is done.
	AnnotationReleaseHeld = "flotilla-gitops.github.io/release-held"
	// AnnotationSucceeds, on a BundleDeployment, are the UIDs of those of the same Bundle and Cluster, separated by commas
	// and the newest first, that were let go before their agent had begun to remove them: their releases belong to this
	// one.
	AnnotationSucceeds = "flotilla-gitops.github.io/succeeds"
	// AnnotationDownstreamResources, on a BundleDeployment, is the digest of the Secrets and ConfigMaps that it has copied to
	// its cluster, as its Secret holds them.
	AnnotationDownstreamResources = "flotilla-gitops.github.io/downstream-resources"
	// AnnotationInputs, on the Secret of a BundleDeployment, tells the digests of the values and of the copies in it.
	AnnotationInputs = "flotilla-gitops.github.io/inputs"
	// AnnotationPath, on a Bundle, is the folder it was read from, relative to the root of the repository.
	AnnotationPath = "flotilla-gitops.github.io/path"
	// AnnotationOverrideTargets, with the value "true" on a Bundle, says that its targets are its own and not those of
	// its GitRepo.
	AnnotationOverrideTargets = "flotilla-gitops.github.io/override-targets"
	// AnnotationUnused, on a Content, is the time (RFC 3339) since when nothing uses it.
	AnnotationUnused = "flotilla-gitops.github.io/unused-since"
	// AnnotationExpires, on the Secret with an agent's token, is the time (RFC 3339) at which the token expires.
	AnnotationExpires = "flotilla-gitops.github.io/expires-at"
	// AnnotationRenew, on the Secret with an agent's token, is the time (RFC 3339) from which on it is renewed.
	AnnotationRenew = "flotilla-gitops.github.io/renew-at"
	// AnnotationDelivered, on the Secret with an agent's token, is the digest of what was last installed downstream.
	AnnotationDelivered = "flotilla-gitops.github.io/delivered"
	// AnnotationAccess, on a cluster namespace, is the digest of the access that the cluster's agent was given.
	AnnotationAccess = "flotilla-gitops.github.io/access"
)

// Annotations of registrations.
//
//nolint:gosec // names, not credentials
const (
	// AnnotationCredential, on a ClusterRegistration, is the id of the join token that it was made with, as the API server
	// vouches for; on the Secret of a ClusterRegistrationToken, the ids of its tokens, separated by commas, the newest first.
	AnnotationCredential = "flotilla-gitops.github.io/credential-id"
	// AnnotationRegistered, on a Cluster whose agent registered itself, is the digest of what that agent shows to be known. An
	// agent that cannot show it is another one. Downstream, on the Secret of the agent, it is the digest of what it
	// registered with.
	AnnotationRegistered = "flotilla-gitops.github.io/registered"
	// AnnotationSeenBefore, on the answer to a registration, is the time (RFC 3339) at which the agent of the Cluster had
	// reported last when it was granted. The answer goes as soon as it has reported again.
	AnnotationSeenBefore = "flotilla-gitops.github.io/seen-before"
	// AnnotationOnlyClient, on a ClusterRegistrationToken, is the only clientID that it lets register.
	AnnotationOnlyClient = "flotilla-gitops.github.io/only-client-id"
)

// Annotations on what the manager applies, on the hub and downstream.
const (
	// AnnotationApplied is the digest of what was applied.
	AnnotationApplied = "flotilla-gitops.github.io/applied"
	// AnnotationRedeploy, on the agent's pods, is the redeployAgentGeneration of the Cluster that they were made for.
	AnnotationRedeploy = "flotilla-gitops.github.io/redeploy-agent-generation"
)

// Annotations downstream, and in the metadata of the charts of releases.
const (
	// AnnotationObjectSetID, on every object of a release, is the identity of the objects of a bundle.
	AnnotationObjectSetID = "objectset.rio.cattle.io/id"
	// AnnotationBundleID, of a release's chart, is the deployment it belongs to.
	AnnotationBundleID = "fleet.cattle.io/bundle-id"
	// AnnotationAgentNamespace, of a release's chart, is the namespace of the agent that installed it.
	AnnotationAgentNamespace = "fleet.cattle.io/agent-namespace"
	// AnnotationServiceAccount, of a release's chart, is the service account it was installed as.
	AnnotationServiceAccount = "fleet.cattle.io/service-account"
	// AnnotationCommit, of a release's chart, is the commit it was read at.
	AnnotationCommit = "fleet.cattle.io/commit"
	// AnnotationKeepResources, of a release's chart, says that its objects stay when it goes.
	AnnotationKeepResources = "fleet.cattle.io/keep-resources"
	// AnnotationResourcePolicy, with the value ResourcePolicyKeep, keeps an object when its release goes.
	AnnotationResourcePolicy = "helm.sh/resource-policy"
	// ResourcePolicyKeep is the value of AnnotationResourcePolicy.
	ResourcePolicyKeep = "keep"
	// AnnotationUnclaimed, on the newest record of a release whose deployment is not on the hub, is a person's word about
	// it: UnclaimedRemove or UnclaimedForget.
	AnnotationUnclaimed = "flotilla-gitops.github.io/unclaimed"
	// AnnotationCopiedFrom, on a copy, is the object of the workspace that it is a copy of: "namespace/name".
	AnnotationCopiedFrom = "flotilla-gitops.github.io/copied-from"
	// AnnotationCopied, on a copy, is the digest of what the agent wrote there last.
	AnnotationCopied = "flotilla-gitops.github.io/copied"
	// PrefixCopiedFor, with the label form of the name of a deployment, is an annotation of the copies that it has: the digest
	// of what is to be there for it.
	PrefixCopiedFor = "copied-for.flotilla-gitops.github.io/"
	// UnclaimedRemove has the release uninstalled, without its hooks.
	UnclaimedRemove = "remove"
	// UnclaimedForget has the agent take its labels off the records: what is left is a plain Helm release.
	UnclaimedForget = "forget"
)

// Finalizers. Those of parents are taken off once every child is marked deleted; that of a deployment once its agent
// has confirmed that everything is gone.
const (
	FinalizerGitRepo    = "fleet.cattle.io/gitrepo-finalizer"
	FinalizerHelmOp     = "fleet.cattle.io/helmop-finalizer"
	FinalizerBundle     = "fleet.cattle.io/bundle-finalizer"
	FinalizerDeployment = "fleet.cattle.io/bundle-deployment-finalizer"
	FinalizerCluster    = "fleet.cattle.io/cluster-finalizer"
	FinalizerSchedule   = "fleet.cattle.io/schedule-finalizer"
)
