// The bench measures how long a change takes on the playground, from the write
// to what it changes. It prints figures and judges none: machines differ, so
// figures of one run are to be compared with each other.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is deferred that the end of the process does not do
	}
}

func command() *cobra.Command {
	var s settings
	root := &cobra.Command{
		Use:   "bench",
		Short: "Measure changes on the playground that `make up` started",
		Example: `  make up
  go run ./dev/bench edit --rounds 10
  go run ./dev/bench commit --rounds 10 --polling 1s`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&s.dir, "dir", ".dev", "folder of the playground")
	root.PersistentFlags().IntVar(&s.rounds, "rounds", 10, "how often each change is made")
	root.AddCommand(&cobra.Command{
		Use:   "edit",
		Short: "Take one of two clusters out of a GitRepo's targets: until the workload, the deployment and the counts follow",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.run(cmd.Context(), cmd.OutOrStdout(), measureEdit)
		},
	})
	commit := &cobra.Command{
		Use:   "commit",
		Short: "Push a commit: until the workload on both clusters is the commit's",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.run(cmd.Context(), cmd.OutOrStdout(), measureCommit)
		},
	}
	commit.Flags().DurationVar(&s.polling, "polling", defaultPolling, "pollingInterval of the GitRepo")
	root.AddCommand(commit)
	return root
}
