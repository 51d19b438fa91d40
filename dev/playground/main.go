// The playground is a whole Flotilla on this machine, to try things on: a hub, two downstream clusters, a git
// server, the manager and the agents. It lives in the folder .dev of the source tree.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/installation"
	"github.com/flotilla-gitops/flotilla/dev/playground/demo"
	"github.com/flotilla-gitops/flotilla/dev/progress"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "playground:", err)
		os.Exit(1) //nolint:gocritic // nothing is deferred that the end of the process does not do
	}
}

// playground is what the commands have in common.
type playground struct {
	dir string
}

func command() *cobra.Command {
	var p playground
	cmd := &cobra.Command{
		Use:   "playground",
		Short: "A whole Flotilla on this machine, to try things on",
		Long: `A whole Flotilla on this machine, to try things on: a hub, two downstream clusters, a git server, the
manager, and an agent for each cluster. Everything lives in the folder .dev of the source tree:

  .dev/clusters/{hub,downstream-1,downstream-2}/kubeconfig
  .dev/logs/
  .dev/git/NAME.git    any bare repository here is served at $(cat .dev/git/url)/NAME.git`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.PersistentFlags().StringVar(&p.dir, "dir", "", "folder of the playground (default: .dev in the source tree)")
	cmd.AddCommand(p.upCommand(), p.downCommand(), p.demoCommand(), p.statusCommand(), p.logsCommand(), p.buildCommand())
	cmd.AddCommand(
		p.partCommand("start", "Start a part that was stopped or killed", (*installation.Installation).Start),
		p.partCommand("stop", "Ask a part to end, and wait until it is gone", (*installation.Installation).Stop),
		p.partCommand("kill", "End a part in the middle of what it is doing (SIGKILL)", (*installation.Installation).Kill),
	)
	return cmd
}

// installation returns the playground itself, which outlives the command.
func (p *playground) installation(cmd *cobra.Command) (*installation.Installation, error) {
	dir := p.dir
	if dir == "" {
		root, err := binaries.SourceRoot()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(root, ".dev")
	}
	return installation.New(dir, installation.Options{Detached: true, Progress: cmd.OutOrStdout()})
}

func (p *playground) upCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Build and start everything that does not run yet",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := p.installation(cmd)
			if err != nil {
				return err
			}
			began := time.Now()
			if err := i.Up(cmd.Context()); err != nil {
				return fmt.Errorf("%w\n\nWhat runs was left as it is: see the logs in %s. `down` cleans up", err, shorten(i.LogDir()))
			}
			cmd.Printf(welcome, progress.Seconds(time.Since(began)), shorten(i.Kubeconfig(installation.HubName)), shorten(i.GitURLFile()), i.GitURL())
			return nil
		},
	}
}

const welcome = `
The playground is up (%[1]s). Try:

  export KUBECONFIG=%[2]s
  kubectl get clusters -A
  git clone $(cat %[3]s)/sample.git

and deploy the sample to both downstream clusters:

  kubectl apply -f - <<END
  apiVersion: fleet.cattle.io/v1alpha1
  kind: GitRepo
  metadata:
    name: sample
    namespace: fleet-default
  spec:
    repo: %[4]s/sample.git
    branch: main
    paths: [web, api, cache]
    targets:
    - clusterSelector: {}
  END
`

func (p *playground) downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop everything and remove it, but for repositories of your own",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := p.installation(cmd)
			if err != nil {
				return err
			}
			kept, err := i.Down(cmd.Context())
			for _, path := range kept {
				cmd.Println("kept", shorten(path))
			}
			return err
		},
	}
}

func (p *playground) demoCommand() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Tell the whole story once, with measured times, and remove everything",
		Long: `Tell the whole story once, with measured times: from a Git repository to workloads on two clusters, a
commit, an edit of the targets, a deletion. A playground that is up already is used and left up; otherwise
everything is removed in the end. If a step fails, the demo says why and fails; the logs stay.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := p.installation(cmd)
			if err != nil {
				return err
			}
			return demo.Run(cmd.Context(), i, demo.Options{Out: cmd.OutOrStdout(), Keep: keep})
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave everything running in the end")
	return cmd
}

func (p *playground) partCommand(verb, short string, do func(*installation.Installation, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " PART...",
		Short: short,
		Long: short + `.

PART is manager, git, agent/CLUSTER, or COMPONENT/CLUSTER with the cluster's component apiserver, etcd,
controller-manager, scheduler or kwok. "status" lists them.`,
		Example: fmt.Sprintf("  playground %[1]s manager\n  playground %[1]s agent/downstream-1\n  playground %[1]s apiserver/hub", verb),
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, parts []string) error {
			i, err := p.installation(cmd)
			if err != nil {
				return err
			}
			for _, part := range parts {
				if err := do(i, cmd.Context(), part); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (p *playground) buildCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "build",
		Short: "Build the programs of the control planes into the user's cache",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := binaries.Ensure(cmd.Context(), binaries.Options{Progress: cmd.OutOrStdout()})
			return err
		},
	}
}

// shorten writes a path the way one would type it here.
func shorten(path string) string {
	dir, err := os.Getwd()
	if err != nil {
		return path
	}
	if relative, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(relative) {
		return relative
	}
	return path
}
