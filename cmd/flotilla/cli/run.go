// Package cli holds the commands of flotilla.
//
// Some show what a folder of Git becomes, before it is pushed: they run the code
// of the manager and of the agent, and need no cluster. Others ask a hub: who is
// targeted and why, what is not ready, what the garbage collector holds. They
// read it as any client does, with the rights of whoever calls them, and decide
// with the manager's code. What a command is asked for goes to its standard
// output, everything else to its standard error; its exit code is the answer.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	build "github.com/flotilla-gitops/flotilla/pkg/version"
)

// Exit codes.
const (
	// ExitYes: what was asked for is so, or was done.
	ExitYes = 0
	// ExitNo: the question was answered, and not with yes.
	ExitNo = 1
	// ExitError: there is no answer. The command line is wrong, an object is
	// missing, or the hub could not be asked.
	ExitError = 2
)

// Options are what a command line runs with.
type Options struct {
	// Args is the command line without the name of the program.
	Args     []string
	In       io.Reader
	Out, Err io.Writer
	// Version is that of the release, empty for what was built otherwise.
	Version string
}

// Run runs a command line and returns its exit code.
func Run(ctx context.Context, o Options) int {
	cmd := command(o.Version) //nolint:contextcheck // commands take theirs from cobra
	cmd.SetArgs(o.Args)
	cmd.SetIn(o.In)
	cmd.SetOut(o.Out)
	cmd.SetErr(o.Err)
	return exitCode(o.Err, cmd.ExecuteContext(ctx))
}

// exitCode says what went wrong, if anything, and turns it into an exit code.
func exitCode(out io.Writer, err error) int {
	if err == nil {
		return ExitYes
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	if message := err.Error(); message != "" {
		fmt.Fprintln(out, "flotilla:", message)
	}
	var no *noError
	if errors.As(err, &no) {
		return ExitNo
	}
	return ExitError
}

// noError is an answer that is not yes. It is no failure.
type noError struct{ message string }

// Error returns what is still to be said about the answer; nothing where the
// output says it all.
func (e *noError) Error() string { return e.message }

// unless turns an answer into an exit code.
func unless(yes bool, message string) error {
	if yes {
		return nil
	}
	return &noError{message}
}

// command returns the root command.
func command(version string) *cobra.Command {
	root := &cobra.Command{
		Use:   "flotilla",
		Short: "Show what Flotilla deploys where, and why",
		Long: `Show what Flotilla deploys where, and why.

Without a cluster: bundle, target and render show what a folder of Git becomes, with the code of the manager and of the agents;
lint says what is wrong with it.
With a hub: targets, status and gc ask it, with your rights. They find it as kubectl does: by --kubeconfig, --context and
--namespace, KUBECONFIG, ~/.kube/config. join lets a cluster join it.

Results go to the standard output, everything else to the standard error. The exit code is 0 for yes (matches, ready,
nothing held, no errors), 1 for no, and 2 where there is no answer (wrong usage, no such object, hub not reached).`,
		Example: `  # What would the manager read from the folder apps of this repository?
  flotilla bundle --name shop --path apps .

  # What is wrong with it?
  flotilla lint .

  # Why is the GitRepo shop not on cluster prod-1?
  flotilla targets -n fleet-default gitrepo/shop prod-1

  # Wait until a commit is deployed everywhere
  flotilla status -n fleet-default gitrepo/shop --wait --commit "$(git rev-parse HEAD)"

  # What is held or being removed?
  flotilla gc list -n fleet-default

  # Let a cluster join
  flotilla join -n fleet-default prod-2 --label env=prod --wait`,
		Version:       build.Describe("flotilla", version),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(bundleCommand(), targetCommand(), renderCommand(), lintCommand(), versionCommand(version), targetsCommand(), statusCommand(), gcCommand(),
		joinCommand())
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
