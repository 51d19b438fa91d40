package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
)

// statusFlags are the flags of the command status.
type statusFlags struct {
	hub     hubFlags
	output  *outputFlag
	ready   report.StatusOptions
	wait    bool
	timeout time.Duration
}

// defaultPatience is how long status waits where nothing else is said.
const defaultPatience = 5 * time.Minute

func statusCommand() *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:   "status [gitrepo/NAME|bundle/NAME|cluster/NAME]...",
		Short: "Show what is ready and what is not, or wait until it is",
		Long: `Show what is ready and what is not: GitRepos with their bundles, and the clusters on which a bundle is not ready, with the reason.
Without a name, that is all of a workspace, but for Clusters that are ready.

Ready is what is as its newest generation asks for. A GitRepo is ready when, besides, every bundle of its commit is.

With --wait, the command ends as soon as all of it is ready, or after --timeout. It watches: nothing is polled. With --commit, a
GitRepo is not ready before that commit is deployed, even if the manager has yet to hear of it.

A cluster whose agent is silent counts as not ready. With --ignore-offline, what is missing there is not waited for.

The exit code is 0 if all of it is ready, 1 if it is not (in time), and 2 if there is no answer.`,
		Example: `  # A workspace
  flotilla status -n fleet-default

  # After a push: wait until the commit runs everywhere
  flotilla status -n fleet-default gitrepo/shop --wait --timeout 10m --commit "$(git rev-parse HEAD)"

  # What is wrong on a cluster?
  flotilla status -n fleet-default cluster/prod-1

  # For programs
  flotilla status gitrepo/shop -o json | jq -r '.items[].bundles[] | select(.ready | not) | .name'`,
		RunE: f.run,
	}
	f.hub = addHubFlags(cmd)
	f.output = addOutputFlag(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.wait, "wait", false, "wait until all of it is ready")
	flags.DurationVar(&f.timeout, "timeout", defaultPatience, "how long to wait, such as 90s or 10m; 0 is for ever")
	flags.StringVar(&f.ready.Commit, "commit", "", "commit that GitRepos have to have deployed; a prefix is enough")
	flags.BoolVar(&f.ready.IgnoreOffline, "ignore-offline", false, "do not count what is missing on clusters that are offline")
	return cmd
}

func (f *statusFlags) run(cmd *cobra.Command, args []string) error {
	if cmd.Flags().Changed("timeout") && !f.wait {
		return errors.New("--timeout says how long to wait: give --wait, too")
	}
	refs, err := parseReferences(args, kindGitRepo, kindBundle, kindCluster)
	if err != nil {
		return err
	}
	if f.ready.Commit != "" && len(refs) > 0 && !slices.ContainsFunc(refs, func(r reference) bool { return r.kind == kindGitRepo }) {
		return errors.New("--commit is about GitRepos: name one, as gitrepo/NAME")
	}
	f.ready.Brief = len(refs) == 0
	s, err := f.hub.open()
	if err != nil {
		return err
	}
	world, err := s.statusWorld(cmd.Context(), refs)
	if err != nil {
		return err
	}
	found := report.StatusOf(world, f.ready)
	reason := ""
	if f.wait && !found.Yes() {
		wait := waiting{session: s, refs: refs, options: f.ready, progress: cmd.ErrOrStderr()}
		if found, err = wait.until(cmd.Context(), f.timeout, found); err != nil {
			return err
		}
		if !found.Yes() {
			reason = fmt.Sprintf("not ready after %s: %s", f.timeout, found.WaitingFor())
		}
	}
	if err := f.output.print(cmd, found, found.WriteText); err != nil {
		return err
	}
	return unless(found.Yes(), reason)
}
