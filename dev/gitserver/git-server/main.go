// The git-server serves the bare repositories of a folder over smart HTTP, to this machine only.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "git-server:", err)
		os.Exit(1) //nolint:gocritic // nothing is deferred that the end of the process does not do
	}
}

func command() *cobra.Command {
	var options gitserver.Options
	cmd := &cobra.Command{
		Use:           "git-server",
		Short:         "Serve the bare repositories of a folder over smart HTTP, to this machine only",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.Log = cmd.ErrOrStderr()
			return serve(cmd.Context(), options)
		},
	}
	cmd.Flags().StringVar(&options.Dir, "dir", ".", "folder that holds NAME.git, served at /NAME.git")
	cmd.Flags().StringVar(&options.Address, "address", "127.0.0.1:0", "address to listen on")
	return cmd
}

func serve(ctx context.Context, options gitserver.Options) error {
	server, err := gitserver.Start(options)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	return server.Wait()
}
