package cli

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
)

func gcCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Show what is being removed, hold it, or let it go",
		Long: `Show what is being removed, hold it, or let it go.

The garbage collector removes what has lost its reason to exist. A target that somebody edits acts at once. Side effects, such
as a label edit that takes many clusters out of a bundle, are stopped by a brake when they would take too much: what is left is
held until a person says what is to happen.`,
		Example: `  flotilla gc list -n fleet-default
  flotilla gc hold -n fleet-default bundle/shop-web
  flotilla gc release -n fleet-default bundle/shop-web`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	hub := addHubFlags(cmd)
	cmd.AddCommand(gcListCommand(hub), gcHoldCommand(hub), gcReleaseCommand(hub))
	return cmd
}

// gcListFlags are the flags of the command gc list.
type gcListFlags struct {
	hub           hubFlags
	output        *outputFlag
	allNamespaces bool
}

func gcListCommand(hub hubFlags) *cobra.Command {
	f := gcListFlags{hub: hub}
	cmd := &cobra.Command{
		Use:   "list [gitrepo/NAME|bundle/NAME|cluster/NAME]...",
		Short: "List what is held or being removed: where, why, since when, and what it waits for",
		Long: `List what is held or being removed: where, why, since when, and what it waits for. Why is computed from the objects of the hub by
the code that the manager decides with.

  Held       a person has to say whether it goes: see flotilla gc release
  Orphaned   nothing owns it, and nothing proves that its owner was deleted: it is kept until a person decides
  Due        it goes as soon as the garbage collector comes to it
  Removing   it is marked deleted; of a deployment, its agent has yet to confirm that everything of it is gone

The exit code is 0 if nothing waits for a person, 1 if something does, and 2 if there is no answer.`,
		Example: `  # Everything of a workspace
  flotilla gc list -n fleet-default

  # What a cluster has yet to remove
  flotilla gc list -n fleet-default cluster/prod-1

  # Of all workspaces, what waits for a person
  flotilla gc list -A -o json | jq '.removals[] | select(.state == "Held")'`,
		RunE: f.run,
	}
	f.output = addOutputFlag(cmd)
	cmd.Flags().BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "of all workspaces")
	return cmd
}

func (f *gcListFlags) run(cmd *cobra.Command, args []string) error {
	refs, err := parseReferences(args, kindGitRepo, kindBundle, kindCluster)
	if err != nil {
		return err
	}
	s, err := f.hub.open()
	if err != nil {
		return err
	}
	var about []string
	for _, r := range refs {
		about = append(about, r.in(s.namespace))
	}
	if f.allNamespaces {
		s.namespace = ""
	}
	now := time.Now()
	world, err := s.gcWorld(cmd.Context(), now)
	if err != nil {
		return err
	}
	found := report.GarbageCollectionOf(world).About(about)
	err = f.output.print(cmd, found, func(out io.Writer, colour bool) error { return found.WriteText(out, now, colour) })
	if err != nil {
		return err
	}
	return unless(found.Yes(), "")
}
