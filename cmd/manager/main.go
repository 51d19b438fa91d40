// The manager turns GitRepos into Bundles and BundleDeployments on a hub
// cluster, and deletes those that have lost their reason to exist.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/flotilla-gitops/flotilla/pkg/manager"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
	build "github.com/flotilla-gitops/flotilla/pkg/version"
)

// version is set when a release is built: -ldflags "-X main.version=v1.2.3".
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1) //nolint:gocritic // nothing is deferred that the end of the process does not do
	}
}

type flags struct {
	manager.Config
	kubeconfig  string
	agentCAFile string
	logLevel    string
}

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Deliver what GitRepos say to the clusters of this hub",
		Example: `  # In a pod on the hub
  manager

  # Beside the hub, with a kubeconfig
  manager --kubeconfig hub.yaml --data-dir /tmp/flotilla --leader-elect=false`,
		Version:       build.Describe("manager", version),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), f) },
	}
	cmd.SetVersionTemplate("{{.Version}}\n")
	cmd.AddCommand(checkCommand())
	flagSet := cmd.Flags()
	flagSet.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the hub; empty uses the pod's service account")
	flagSet.StringVar(&f.DataDir, "data-dir", "/var/lib/flotilla", "folder for mirrors of repositories and charts; all of it can be lost")
	flagSet.StringVar(&f.AgentURL, "agent-api-server-url", "", "address under which agents reach the hub; empty takes that of the kubeconfig")
	flagSet.StringVar(&f.agentCAFile, "agent-api-server-ca", "", "file with the CA bundle (PEM) of that address; empty takes that of the kubeconfig")
	flagSet.StringVar(&f.AgentImage, "agent-image", "flotilla-agent:dev", "image of the agents that the manager installs, and that join")
	flagSet.DurationVar(&f.MaxRegistrationTokenTTL, "max-registration-token-ttl", 0, "how long join tokens are valid at most; 0 is no bound")
	flagSet.BoolVar(&f.IgnoreRegistrationLabels, "ignore-registration-labels", false, "ignore the labels that joining agents bring along")
	flagSet.StringVar(&f.MetricsAddress, "metrics-address", ":8080", "address that serves /metrics, /healthz and /readyz; empty serves nothing")
	flagSet.StringVar(&f.WebhookAddress, "webhook-address", ":8081", "address that receives the webhooks of Git hosts; empty receives none")
	flagSet.BoolVar(&f.UnsignedWebhooks, "unsigned-webhooks", false,
		"believe webhooks that nothing proves, where there is no Secret to verify them with")
	flagSet.BoolVar(&f.DebugEndpoints, "debug-endpoints", false, "serve /debug/pprof/ and /debug/ownership there, too")
	flagSet.BoolVar(&f.LeaderElection, "leader-elect", true, "work only while holding the lease flotilla-manager")
	flagSet.StringVar(&f.Namespace, "namespace", "cattle-fleet-system", "namespace of the lease, the Secret gitjob-webhook and the ConfigMap known-hosts")
	flagSet.DurationVar(&f.ContentGrace, "content-grace", manager.DefaultContentGrace, "how long a Content that nothing refers to is kept")
	flagSet.IntVar(&f.Brake.Deployments, "prune-brake-deployments", ownership.DefaultBrakeDeployments,
		"how many deployments of a bundle may go because of side effects, such as relabelled clusters, before the rest is held")
	flagSet.IntVar(&f.Brake.Percent, "prune-brake-percent", ownership.DefaultBrakePercent,
		"which share of a bundle's deployments may go because of side effects; both limits must be exceeded")
	flagSet.DurationVar(&f.Brake.Window, "prune-brake-window", ownership.DefaultBrakeWindow, "within which time they are counted")
	flagSet.DurationVar(&f.FetchTimeout, "fetch-timeout", manager.DefaultFetchTimeout, "how long a request to a git server may take")
	flagSet.Int64Var(&f.MaxRepositoryBytes, "max-repository-bytes", manager.DefaultMaxRepositoryBytes, "how much a fetch may receive")
	flagSet.DurationVar(&f.MirrorGrace, "mirror-grace", manager.DefaultMirrorGrace,
		"how long the mirror of a repository stays on disk after its last use once no GitRepo has it")
	flagSet.DurationVar(&f.AuditInterval, "audit-interval", manager.DefaultAuditInterval,
		"how often everything is counted anew and held against the API server's own lists; 0 is never")
	flagSet.StringVar(&f.logLevel, "log-level", "info", "debug, info, warning or error")
	return cmd
}

func run(ctx context.Context, f flags) error {
	level, err := logrus.ParseLevel(f.logLevel)
	if err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	log := logrus.New()
	log.SetLevel(level)
	log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: "2006-01-02T15:04:05.000Z07:00"})
	if f.Hub, err = restConfig(f.kubeconfig); err != nil {
		return err
	}
	if f.agentCAFile != "" {
		if f.AgentCA, err = os.ReadFile(f.agentCAFile); err != nil {
			return fmt.Errorf("--agent-api-server-ca: %w", err)
		}
	}
	return manager.Run(ctx, f.Config, log)
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	return config, nil
}
