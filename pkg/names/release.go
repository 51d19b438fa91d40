package names

// More labels on Helm release records downstream.
const (
	// LabelReleaseAgent is the namespace of the agent that made the release: two agents in one cluster keep apart by it.
	LabelReleaseAgent = "flotilla-gitops.github.io/agent"
	// LabelReleaseDigest is a digest of what the revision was made from: see Fingerprint.
	LabelReleaseDigest = "flotilla-gitops.github.io/deployment-id"
)
