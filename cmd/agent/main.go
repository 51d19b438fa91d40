// The agent runs in a downstream cluster: it installs what the deployments of
// that cluster on the hub ask for, and reports back.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"helm.sh/helm/v3/pkg/kube"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/flotilla-gitops/flotilla/pkg/agent"
	build "github.com/flotilla-gitops/flotilla/pkg/version"
)

// version is set when a release is built: -ldflags "-X main.version=v1.2.3".
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1) //nolint:gocritic // nothing is deferred that the end of the process does not do
	}
}

type flags struct {
	agent.Config
	kubeconfig string
	logLevel   string
}

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run in a cluster what its hub asks for",
		Long: `Run in a cluster what its hub asks for.

The agent learns how to reach the hub from the Secret fleet-agent in its namespace (keys kubeconfig,
deploymentNamespace, clusterNamespace and clusterName). It waits for the Secret, and follows its changes.

Every flag can be given as an environment variable, too, as agentEnvVars of a Cluster do: --retry-max as
FLOTILLA_RETRY_MAX. What is given as a flag counts.`,
		Example: `  # In a pod of the cluster
  agent

  # Where tenants deploy: nothing is ever installed with the agent's own rights
  agent --require-service-account

  # Where many deployments start at once, and what fails is to be tried again at least every minute
  agent --concurrency 32 --retry-max 1m

  # On a bad line: at most a minute between two attempts to reach the hub
  agent --reconnect-max 1m --heartbeat-interval 30s

  # Beside the cluster, with a kubeconfig
  agent --kubeconfig downstream-1.yaml --metrics-address 127.0.0.1:9090 --log-level debug`,
		Version:       build.Describe("agent", version),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		PreRunE:       func(cmd *cobra.Command, _ []string) error { return fromEnvironment(cmd.Flags(), os.LookupEnv) },
		RunE:          func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), f) },
	}
	cmd.SetVersionTemplate("{{.Version}}\n")
	cmd.AddCommand(checkCommand())
	flagSet := cmd.Flags()
	flagSet.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the agent's own cluster; empty uses the pod's service account")
	flagSet.StringVar(&f.Namespace, "namespace", agent.DefaultNamespace, "namespace of the agent: of its Secret, and of the service accounts that it acts as")
	flagSet.BoolVar(&f.LeaderElection, "leader-elect", false, "work only while holding the lease fleet-agent of the namespace, downstream")
	flagSet.StringVar(&f.Identity, "identity", "", "name of this process in leases; empty takes that of the host")
	flagSet.BoolVar(&f.Managed, "managed", false, "take what the Deployment of this agent is from its Cluster on the hub")
	flagSet.StringVar(&f.MetricsAddress, "metrics-address", ":8080", "address that serves /metrics, /healthz and /readyz; empty serves nothing")
	flagSet.BoolVar(&f.DebugEndpoints, "debug-endpoints", false, "serve /debug/pprof/ there, too")
	flagSet.IntVar(&f.AtOnce, "concurrency", agent.DefaultAtOnce, "how many deployments are worked on at once, 1 to 256; those that only wait for others do not count")
	flagSet.BoolVar(&f.RequireServiceAccount, "require-service-account", false,
		"refuse deployments that name no service account, where there is no default one, instead of acting as the agent itself")
	flagSet.DurationVar(&f.Heartbeat, "heartbeat-interval", agent.DefaultHeartbeat, "time between two heartbeats, 5s to 1m; the hub takes an agent for away that is silent for 3m")
	flagSet.DurationVar(&f.LongestRetry, "retry-max", agent.DefaultLongestRetry,
		"longest wait between two attempts at a deployment that fails; the first is 1s, then they double, each up to a tenth longer")
	flagSet.DurationVar(&f.LongestReconnect, "reconnect-max", agent.DefaultLongestReconnect,
		"longest wait between two attempts to begin with a hub, or to watch it, that does not answer; waits double from 500ms or less, each up to half as long again")
	flagSet.DurationVar(&f.RenderTimeout, "render-timeout", agent.DefaultRenderTimeout, "how long the templates of a chart may take")
	flagSet.StringVar(&f.logLevel, "log-level", "info", "debug, info, warning or error")
	return cmd
}

// fromEnvironment sets the flags that were not given from environment
// variables: FLOTILLA_ and the name of the flag, in capitals.
func fromEnvironment(flagSet *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var wrong []error
	flagSet.VisitAll(func(f *pflag.Flag) {
		variable := "FLOTILLA_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := lookup(variable)
		if !ok || f.Changed || f.Name == "version" || f.Name == "help" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			wrong = append(wrong, fmt.Errorf("environment variable %s: %w", variable, err))
		}
	})
	return errors.Join(wrong...)
}

func run(ctx context.Context, f flags) error {
	level, err := logrus.ParseLevel(f.logLevel)
	if err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	log := logrus.New()
	log.SetLevel(level)
	log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: "2006-01-02T15:04:05.000Z07:00"})
	// Helm takes the name of the program otherwise, which says too little in the managed fields of objects.
	kube.ManagedFieldsManager = "flotilla-agent" //nolint:reassign // Helm has no other way to say this
	if f.Local, err = clientcmd.BuildConfigFromFlags("", f.kubeconfig); err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	return agent.Run(ctx, f.Config, log)
}
