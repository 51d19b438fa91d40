package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-gitops/flotilla/pkg/manager"
)

// checkCommand is what `helm test` runs.
func checkCommand() *cobra.Command {
	var kubeconfig, namespace string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether the hub works: the definitions are served, and a manager holds the lease and renews it",
		Example: `  # In a pod on the hub, with the rights of its account
  manager check

  # Beside the hub, with a kubeconfig
  manager check --kubeconfig hub.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			hub, err := restConfig(kubeconfig)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := manager.Check(ctx, hub, namespace); err != nil {
				return err
			}
			cmd.Println("the hub works")
			return nil
		},
	}
	flagSet := cmd.Flags()
	flagSet.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the hub; empty uses the pod's service account")
	flagSet.StringVar(&namespace, "namespace", "cattle-fleet-system", "namespace of the manager")
	flagSet.DurationVar(&timeout, "timeout", time.Minute, "how long to wait for what is missing")
	return cmd
}
