// The bench measures how fast Flotilla is and what it costs. It prints figures and judges none: machines differ, so figures are
// to be compared with others of the same run, first of all with what the API server alone can do. README.md says what each means.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/bench/measures"
	"github.com/flotilla-gitops/flotilla/dev/bench/playground"
	"github.com/flotilla-gitops/flotilla/dev/bench/releases"
	"github.com/flotilla-gitops/flotilla/dev/progress"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is deferred that the end of the process does not do
	}
}

// flags are the settings of all commands.
type flags struct {
	output   string
	ground   playground.Settings
	settings measures.Settings
}

func command() *cobra.Command {
	f := &flags{}
	root := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast Flotilla is and what it costs",
		Example: `  go run ./dev/bench fanout
  go run ./dev/bench edit --clusters 100,1000,5000 --bundles 5
  go run ./dev/bench restart --clusters 1000 --bundles 30 -o json

  make up
  go run ./dev/bench edit
  go run ./dev/bench commit --polling 1s
  go run ./dev/bench commit --webhook`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if f.output != "table" && f.output != "json" {
				return fmt.Errorf("--output: %q is neither table nor json", f.output)
			}
			if f.settings.ProfileDir == "" {
				return nil
			}
			return os.MkdirAll(f.settings.ProfileDir, 0o755)
		},
	}
	root.PersistentFlags().StringVarP(&f.output, "output", "o", "table", "table or json")
	root.AddCommand(f.onPlayground()...)
	root.AddCommand(f.onHub()...)
	root.AddCommand(f.onCluster())
	return root
}

// onPlayground returns what is measured on the playground; edit, with clusters, on a hub of its own.
func (f *flags) onPlayground() []*cobra.Command {
	var sizes []int
	edit := &cobra.Command{
		Use:   "edit",
		Short: "Edit targets: until deployments and counts follow, on the playground or in simulated fleets",
		Long: `Without --clusters: take one of the two clusters of the playground out of a GitRepo's targets, until the workload, the
deployment and the counts follow. With it: edits that touch ten clusters of simulated fleets, on a hub of their own.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if len(sizes) == 0 {
				return f.show(cmd)(playground.Edit(cmd.Context(), f.ground))
			}
			if f.settings.Sizes, err = measures.Sizes(sizes); err != nil {
				return fmt.Errorf("--clusters: %w", err)
			}
			f.settings.Rounds = f.ground.Rounds
			return f.measure(cmd, (*measures.Run).Edit)
		},
	}
	edit.Flags().IntSliceVar(&sizes, "clusters", nil, "measure simulated fleets of these sizes")
	edit.Flags().IntVar(&f.settings.Bundles, "bundles", 5, "bundles on all clusters of a simulated fleet")
	edit.Flags().BoolVar(&f.settings.Agents, "agents", false, "play the agents of a simulated fleet")
	f.common(edit)
	commit := &cobra.Command{
		Use:   "commit",
		Short: "Push a commit: until the workload on both clusters of the playground is the commit's",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.show(cmd)(playground.Commit(cmd.Context(), f.ground))
		},
	}
	commit.Flags().BoolVar(&f.ground.Webhook, "webhook", false, "deliver each push to the manager, and have it never poll")
	commit.Flags().DurationVar(&f.ground.Polling, "polling", time.Second, "pollingInterval of the GitRepo")
	drift := &cobra.Command{
		Use:   "drift",
		Short: "Edit and delete what was deployed to the playground: until the hub says so, and until it is put right",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.show(cmd)(playground.Drift(cmd.Context(), f.ground))
		},
	}
	away := &cobra.Command{
		Use:   "away",
		Short: "Untarget a cluster of the playground while its agent is away: until all is gone after it came back",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.ground.Progress = progress.New(cmd.ErrOrStderr())
			return f.show(cmd)(playground.Away(cmd.Context(), f.ground))
		},
	}
	away.Flags().IntVar(&f.ground.Bundles, "bundles", 50, "bundles on the cluster")
	for _, cmd := range []*cobra.Command{edit, commit, drift, away} {
		cmd.Flags().StringVar(&f.ground.Dir, "dir", ".dev", "folder of the playground")
		cmd.Flags().IntVar(&f.ground.Rounds, "rounds", 10, "how often each change is made")
	}
	return []*cobra.Command{edit, commit, drift, away}
}

// onHub returns what is measured on a hub of its own with one fleet.
func (f *flags) onHub() []*cobra.Command {
	var commands []*cobra.Command
	for _, c := range []struct {
		use, short        string
		clusters, bundles int
		measure           func(*measures.Run, context.Context) error
	}{
		{"fanout", "New bundles: how fast deployments are created, beside what the API server alone can do", 300, 10, (*measures.Run).Fanout},
		{"untarget", "Half of the clusters drop out: how fast deployments go, beside what the API server alone can do", 300, 10, (*measures.Run).Untarget},
		{"ready", "New bundles, then a change of all, with agents played: until everything is ready", 50, 50, (*measures.Run).Ready},
		{"restart", "The manager's memory, and its restart when nothing has changed", 300, 10, (*measures.Run).Restart},
		{"idle", "What is asked of the API server when nothing changes", 300, 10, (*measures.Run).Idle},
		{"hub", "fanout, restart, idle and untarget, one after the other on the same hub", 300, 10, (*measures.Run).Everything},
	} {
		settings := measures.Settings{Clusters: c.clusters, Bundles: c.bundles}
		cmd := &cobra.Command{
			Use: c.use, Short: c.short, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				f.settings.Clusters, f.settings.Bundles = settings.Clusters, settings.Bundles
				return f.measure(cmd, c.measure)
			},
		}
		cmd.Flags().IntVar(&settings.Clusters, "clusters", c.clusters, "simulated clusters")
		cmd.Flags().IntVar(&settings.Bundles, "bundles", c.bundles, "bundles, each on all clusters")
		cmd.Flags().IntVar(&f.settings.Rounds, "rounds", 2, "how often the ceiling is taken with each number of workers")
		cmd.Flags().DurationVar(&f.settings.IdleFor, "for", time.Minute, "how long idling is watched")
		f.common(cmd)
		commands = append(commands, cmd)
	}
	return commands
}

// onCluster returns what is measured with one real agent.
func (f *flags) onCluster() *cobra.Command {
	var settings releases.Settings
	cmd := &cobra.Command{
		Use:   "releases",
		Short: "Many small releases on one cluster: what they cost the real agent, until all are ready, at rest, at a restart",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings.ProfileDir = f.settings.ProfileDir
			return f.show(cmd)(releases.Measure(cmd.Context(), settings, progress.New(cmd.ErrOrStderr())))
		},
	}
	cmd.Flags().IntVar(&settings.Releases, "releases", 1000, "releases, of two objects each")
	cmd.Flags().DurationVar(&settings.IdleFor, "for", time.Minute, "how long idling is watched")
	cmd.Flags().StringVar(&f.settings.ProfileDir, "profile", "", "folder for profiles of the agent and the API server of its cluster")
	cmd.Flags().DurationVar(&settings.ProfileFor, "profile-for", 5*time.Second, "length of the CPU profile of each phase")
	cmd.Flags().StringVar(&settings.LogDir, "logs", "", "folder to keep the logs in")
	cmd.Flags().StringArrayVar(&settings.AgentArgs, "agent-arg", nil, "further argument for the agent; may be repeated")
	return cmd
}

// common adds the flags of everything that runs a hub of its own.
func (f *flags) common(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.settings.ProfileDir, "profile", "", "folder for profiles of the manager and the API server, which take a little of their time")
	cmd.Flags().DurationVar(&f.settings.ProfileFor, "profile-for", 5*time.Second, "length of the CPU profile of each phase")
	cmd.Flags().StringVar(&f.settings.LogDir, "logs", "", "folder to keep the logs in")
	cmd.Flags().StringArrayVar(&f.settings.ManagerArgs, "manager-arg", nil, "further argument for the manager; may be repeated")
}

// measure runs a hub and shows what was measured there.
func (f *flags) measure(cmd *cobra.Command, measure func(*measures.Run, context.Context) error) error {
	return f.show(cmd)(measures.Measure(cmd.Context(), f.settings, progress.New(cmd.ErrOrStderr()), measure))
}

// show returns what writes a report, also one that was cut short.
func (f *flags) show(cmd *cobra.Command) func(*figures.Report, error) error {
	return func(report *figures.Report, err error) error {
		if report == nil {
			return err
		}
		if writeErr := f.write(cmd.OutOrStdout(), report); err == nil {
			err = writeErr
		}
		return err
	}
}

func (f *flags) write(out io.Writer, report *figures.Report) error {
	if f.output == "json" {
		return report.JSON(out)
	}
	return report.Text(out)
}
