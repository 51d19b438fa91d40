// The agent runs in a downstream cluster: it installs what the deployments of
// that cluster on the hub ask for, and reports back.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"helm.sh/helm/v3/pkg/kube"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/flotilla-gitops/flotilla/pkg/agent"
)

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
deploymentNamespace, clusterNamespace and clusterName). It waits for the Secret, and follows its changes.`,
		Example: `  # In a pod of the cluster
  agent

  # Beside the cluster, with a kubeconfig
  agent --kubeconfig downstream-1.yaml --metrics-address 127.0.0.1:9090 --log-level debug`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), f) },
	}
	flagSet := cmd.Flags()
	flagSet.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the agent's own cluster; empty uses the pod's service account")
	flagSet.StringVar(&f.Namespace, "namespace", agent.DefaultNamespace, "namespace of the agent: of its Secret, and of the service accounts that it acts as")
	flagSet.StringVar(&f.MetricsAddress, "metrics-address", ":8080", "address that serves /metrics, /healthz and /readyz; empty serves nothing")
	flagSet.BoolVar(&f.DebugEndpoints, "debug-endpoints", false, "serve /debug/pprof/ there, too")
	flagSet.IntVar(&f.AtOnce, "concurrency", agent.DefaultAtOnce, "how many deployments are worked on at once")
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
	// Helm takes the name of the program otherwise, which says too little in the managed fields of objects.
	kube.ManagedFieldsManager = "flotilla-agent" //nolint:reassign // Helm has no other way to say this
	if f.Local, err = clientcmd.BuildConfigFromFlags("", f.kubeconfig); err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	return agent.Run(ctx, f.Config, log)
}
