package names

// Namespaces.
const (
	// NamespaceSystem is where the manager runs on the hub and, by default, the agent downstream.
	NamespaceSystem = "cattle-fleet-system"
	// NamespaceRegistrations, on the hub, holds the credentials of agents that register.
	NamespaceRegistrations = "cattle-fleet-clusters-system"
	// WorkspaceLocal is the workspace of the hub's own Cluster.
	WorkspaceLocal = "fleet-local"
	// WorkspaceDefault is the workspace for all other clusters.
	WorkspaceDefault = "fleet-default"
	// NamespaceRelease is where objects go that no option gives a namespace.
	NamespaceRelease = "default"
)

// Clusters and groups.
const (
	// ClusterLocal is the name of the hub's own Cluster.
	ClusterLocal = "local"
	// ClusterGroupDefault is the group that is targeted where nothing else is.
	ClusterGroupDefault = "default"
)

// ConfigMaps.
const (
	// ConfigMapManager, in NamespaceSystem, is the configuration of the manager, as JSON under KeyConfig.
	ConfigMapManager = "fleet-controller"
	// KeyConfig is the key of ConfigMapManager.
	KeyConfig = "config"
	// ConfigMapKnownHosts, in NamespaceSystem, holds host keys of Git servers.
	ConfigMapKnownHosts = "known-hosts"
	// ConfigMapAgentSettings, downstream beside the agent, holds environment variables of it, so that those who install an
	// agent can set flags that no Cluster changes.
	ConfigMapAgentSettings = "fleet-agent-settings"
	// ConfigMapHub, in every cluster namespace, holds the identity of the hub under KeyHubID.
	ConfigMapHub = "flotilla-hub"
	// KeyHubID is the key of ConfigMapHub. Its value is the UID of the hub's namespace kube-system.
	KeyHubID = "id"
)

// Secrets.
//
//nolint:gosec // names, not credentials
const (
	// SecretGitCredential holds the credentials of GitRepos that name none.
	SecretGitCredential = "gitcredential"
	// SecretOCIStorage names the OCI registry of GitRepos that name none.
	SecretOCIStorage = "ocistorage"
	// SecretWebhook holds what webhooks are verified with.
	SecretWebhook = "gitjob-webhook"
	// SecretAgent holds, downstream, what the agent needs to reach the hub and, in the cluster namespace, its token.
	SecretAgent = "fleet-agent"
	// SecretAgentBootstrap holds, downstream, what the agent registers with.
	SecretAgentBootstrap = "fleet-agent-bootstrap"
	// SecretAgentRegistration holds, downstream, what an agent that registered itself shows again to be known.
	SecretAgentRegistration = "fleet-agent-registration"
)

// Access of agents to the hub.
const (
	// Agent names an agent's ServiceAccount, Role and RoleBinding in its cluster namespace, and its objects downstream.
	Agent = "fleet-agent"
	// LeaseAgent, in the cluster namespace, is the heartbeat of the agent; downstream, beside the agent, it keeps two of them
	// from acting at once.
	LeaseAgent = "fleet-agent"
	// ClusterRoleDeployments lets an agent work on the deployments of its namespace.
	ClusterRoleDeployments = "fleet-bundle-deployment"
	// ClusterRoleContents lets an agent read contents by name, and see whether deployments are served at all.
	ClusterRoleContents = "fleet-content"
	// PolicyAgents is the admission policy that keeps agents to their part of their Cluster's status.
	PolicyAgents = "flotilla-agents"
	// PolicyReports is the admission policy that keeps what agents report in bounds.
	PolicyReports = "flotilla-agent-reports"
	// Join names, in a workspace, the ServiceAccount of join tokens, and its Role and RoleBinding.
	Join = "flotilla-join"
	// PolicyRegistrations is the admission policy that keeps registrations in bounds and true about their token.
	PolicyRegistrations = "flotilla-registrations"
	// AgentPriorityClass and AgentDisruptionBudget, downstream, are made where a Cluster asks for them.
	AgentPriorityClass    = "fleet-agent-priority-class"
	AgentDisruptionBudget = "fleet-agent-pod-disruption-budget"
	// ServiceAccountDefault is the service account downstream that agents act as, where it exists and none is named.
	ServiceAccountDefault = "fleet-default"
	// FieldManager is the manager's name in the managed fields of what it applies.
	FieldManager = "flotilla-manager"
)

// Types of Secrets.
//
//nolint:gosec // names, not credentials
const (
	SecretTypeBundleValues     = "fleet.cattle.io/bundle-values/v1alpha1"
	SecretTypeDeployment       = "fleet.cattle.io/bundle-deployment/v1alpha1"
	SecretTypeOCIStorage       = "fleet.cattle.io/bundle-oci-storage/v1alpha1"
	SecretTypeHelmOpAccess     = "fleet.cattle.io/bundle-helmops-access/v1alpha1"
	SecretTypeAgentCredential  = "fleet.cattle.io/agent-credential"
	SecretTypeClusterRegValues = "fleet.cattle.io/cluster-registration-values"
)

// Keys of Secrets.
const (
	// KeyValues and KeyStagedValues, of SecretTypeDeployment, hold the values of a deployment: now and next.
	KeyValues       = "values"
	KeyStagedValues = "stagedValues"
	// KeyDownstreamResources, of SecretTypeDeployment, holds what the deployment has copied to its cluster.
	KeyDownstreamResources = "downstreamResources"

	// Keys of SecretAgent downstream.
	KeyKubeconfig          = "kubeconfig"
	KeyDeploymentNamespace = "deploymentNamespace"
	KeyClusterNamespace    = "clusterNamespace"
	KeyClusterName         = "clusterName"

	// Keys of SecretAgent in the cluster namespace.
	KeyToken = "token"

	// Keys of SecretAgentBootstrap, and, but for KeyClientID, of the Helm values in the Secret of a ClusterRegistrationToken.
	KeyTokenName             = "tokenName"
	KeyRegistrationNamespace = "systemRegistrationNamespace"
	KeyClientID              = "clientID"
	KeyClusterLabels         = "clusterLabels"

	// Key of SecretAgentRegistration.
	KeyClientRandom = "clientRandom"

	// Key of the answer to a registration that was refused: why.
	KeyRefused = "refused"

	// Keys of the Secret that a Cluster names in kubeConfigSecret.
	KeyImportKubeconfig = "value"
	KeyAPIServerURL     = "apiServerURL"
	KeyAPIServerCA      = "apiServerCA"

	// Keys of Secrets with the credentials of a Git server.
	KeyUsername                = "username"
	KeyPassword                = "password"
	KeySSHPrivateKey           = "ssh-privatekey"
	KeyKnownHosts              = "known_hosts"
	KeyGitHubAppID             = "github_app_id"
	KeyGitHubAppInstallationID = "github_app_installation_id"
	KeyGitHubAppPrivateKey     = "github_app_private_key"
	KeyGitHubAppBaseURL        = "github_app_base_url"
	KeyBearerToken             = "bearerToken"

	// Further keys of Secrets with the credentials of a chart repository or OCI registry.
	KeyCACerts            = "cacerts"
	KeyBasicHTTP          = "basicHTTP"
	KeyInsecureSkipVerify = "insecureSkipVerify"
	KeyInsecureSkipTLS    = "insecureSkipTLS"
	KeyReference          = "reference"
	KeyAgentUsername      = "agentUsername"
	KeyAgentPassword      = "agentPassword"
	KeyPathCredentials    = "secrets-path.yaml"
)
