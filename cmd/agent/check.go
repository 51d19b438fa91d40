package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/flotilla-gitops/flotilla/pkg/agent"
)

// checkCommand is what `helm test` runs.
func checkCommand() *cobra.Command {
	var kubeconfig, namespace string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether the agent works: it has joined, and its hub accepts it",
		Example: `  # In a pod of the cluster, with the rights of its account
  agent check

  # Beside the cluster, with a kubeconfig
  agent check --kubeconfig downstream-1.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			local, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return fmt.Errorf("--kubeconfig: %w", err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := agent.Check(ctx, local, namespace); err != nil {
				return err
			}
			cmd.Println("the agent has joined, and its hub accepts it")
			return nil
		},
	}
	flagSet := cmd.Flags()
	flagSet.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the agent's own cluster; empty uses the pod's service account")
	flagSet.StringVar(&namespace, "namespace", agent.DefaultNamespace, "namespace of the agent")
	flagSet.DurationVar(&timeout, "timeout", time.Minute, "how long to wait for what is missing")
	return cmd
}
