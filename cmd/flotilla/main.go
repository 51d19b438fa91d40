// The command flotilla shows what a folder of Git becomes, before it is pushed:
// the bundles that the manager reads from it, and the objects that an agent
// makes of them. It runs their code, needs no cluster and changes nothing.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "flotilla:", err)
		os.Exit(1) //nolint:gocritic // nothing is deferred that the end of the process does not do
	}
}

// command returns the root command. What a command is asked for goes to its
// standard output, everything else to its standard error.
func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "flotilla",
		Short: "Show what a folder of Git becomes on the clusters of a hub",
		Long: `Show what a folder of Git becomes on the clusters of a hub.

Nothing is deployed, and no cluster is needed. The results are those of the manager and of the agents, because it is
their code that runs. Results go to the standard output, findings and warnings to the standard error; the exit code
is 0 only if there was no error.`,
		Example: `  # What would the manager read from the folder apps of this repository?
  flotilla bundle --name shop --path apps .

  # What would the agent of a production cluster apply?
  flotilla bundle --name shop --path apps . | flotilla render --bundle - --cluster-name prod-1 --label env=prod`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(bundleCommand(), renderCommand(), versionCommand())
	return root
}

// readInput reads a file, or the standard input if its name is "-".
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		data, err := io.ReadAll(cmd.InOrStdin())
		if err != nil {
			return nil, fmt.Errorf("reading the standard input: %w", err)
		}
		return data, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	return data, nil
}
