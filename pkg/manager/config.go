// Package manager wires the hub's controllers together.
package manager

import (
	"time"

	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// Config is what the manager is started with.
type Config struct {
	// Hub is how the manager reaches the hub's API server.
	Hub *rest.Config
	// DataDir holds the mirrors of git repositories and the chart cache. All
	// of it can be lost.
	DataDir string
	// AgentURL and AgentCA are the address and the CA bundle (PEM) under which
	// agents reach the hub's API server; those of Hub if empty.
	AgentURL string
	AgentCA  []byte
	// AgentImage is the image of the agents that the manager installs, and of those that join.
	AgentImage string
	// MaxRegistrationTokenTTL bounds how long join tokens are valid; 0 is no bound.
	MaxRegistrationTokenTTL time.Duration
	// IgnoreRegistrationLabels has the labels ignored that joining agents bring
	// along.
	IgnoreRegistrationLabels bool
	// MetricsAddress is where /metrics, /healthz and /readyz are served; empty
	// serves nothing.
	MetricsAddress string
	// DebugEndpoints serves, at MetricsAddress, also what tells of the manager's
	// inside: profiles below /debug/pprof/, the graph of owners at
	// /debug/ownership. Whoever reaches them can slow the manager down, and reads
	// the names of GitRepos, Bundles and Clusters.
	DebugEndpoints bool
	// WebhookAddress is where deliveries of Git hosts are received, whether this
	// replica leads or not; empty receives none.
	WebhookAddress string
	// UnsignedWebhooks believes every delivery where there is no secret to verify
	// it with: whoever reaches WebhookAddress can then have repositories asked.
	UnsignedWebhooks bool
	// LeaderElection makes the manager wait until it holds the lease, and stop
	// when it loses it.
	LeaderElection bool
	// Namespace is where the lease is, the Secret of webhooks, and the ConfigMap of known hosts.
	Namespace string
	// ContentGrace is how long a Content that nothing refers to is kept.
	ContentGrace time.Duration
	// Brake limits what side effects, such as the relabelling of a Cluster, may
	// take away from one bundle before the rest is held; defaults where zero.
	Brake ownership.Limits
	// FetchTimeout bounds every request to a git server.
	FetchTimeout time.Duration
	// MaxRepositoryBytes bounds what a fetch may receive.
	MaxRepositoryBytes int64
	// MirrorGrace is how long the mirror of a repository stays on disk after its
	// last use once no GitRepo has it; the default where zero.
	MirrorGrace time.Duration
	// AuditInterval is how often everything is counted anew and held against the
	// API server's own lists; 0 is never.
	AuditInterval time.Duration
}

// Defaults of Config.
const (
	DefaultContentGrace       = 15 * time.Minute
	DefaultFetchTimeout       = 50 * time.Second
	DefaultMaxRepositoryBytes = 1 << 30
	DefaultMirrorGrace        = 15 * time.Minute
	DefaultAuditInterval      = 30 * time.Minute
)
