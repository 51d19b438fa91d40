package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// targetsFlags are the flags of the command targets.
type targetsFlags struct {
	hub    hubFlags
	output *outputFlag
	only   string
}

func targetsCommand() *cobra.Command {
	var f targetsFlags
	cmd := &cobra.Command{
		Use:   "targets gitrepo/NAME|bundle/NAME [CLUSTER]",
		Short: "Say which clusters match, and why the others do not",
		Long: `Say which clusters a GitRepo's bundles or one bundle are deployed to, and why the others are not: which target decides, which
of its criteria, which restriction. The answers are computed from the objects of the hub by the code that the manager decides with.

Of all clusters, a table is printed: whether the cluster is targeted, whether there is a deployment, and what that rests on.
Bundles of which the same is to be said share a row. Of one CLUSTER, as NAME or NAMESPACE/NAME, every target and restriction is
shown, criterion by criterion; what the answer rests on is marked with a star.

"unknown" is an answer of its own: a selector does not parse or a group is missing, so that the cluster keeps what it has.

The exit code is 0 for yes: the CLUSTER is targeted by every bundle that was asked about or, of all clusters, nothing is in doubt
and nothing is wrong with the targets. It is 1 for no, and 2 if there is no answer.`,
		Example: `  # Why is the GitRepo shop not on prod-1?
  flotilla targets -n fleet-default gitrepo/shop prod-1

  # Where is the bundle shop-web, and where should it be?
  flotilla targets -n fleet-default bundle/shop-web

  # Which clusters are in doubt?
  flotilla targets -n fleet-default gitrepo/shop --only unknown

  # The names of all clusters that are targeted
  flotilla targets gitrepo/shop -o json | jq -r '.bundles[].clusters[] | select(.answer == "yes") | .cluster'`,
		Args: cobra.RangeArgs(1, 2),
		RunE: f.run,
	}
	f.hub = addHubFlags(cmd)
	f.output = addOutputFlag(cmd)
	cmd.Flags().StringVar(&f.only, "only", "", "leave out clusters with another answer than this: yes, no or unknown")
	return cmd
}

func (f *targetsFlags) run(cmd *cobra.Command, args []string) error {
	ref, err := parseReference(args[0], kindGitRepo, kindBundle)
	if err != nil {
		return err
	}
	answers := []string{"", string(targeting.AnswerYes), string(targeting.AnswerNo), string(targeting.AnswerUnknown)}
	if !slices.Contains(answers, f.only) {
		return fmt.Errorf("--only is %q: write yes, no or unknown", f.only)
	}
	s, err := f.hub.open()
	if err != nil {
		return err
	}
	var only *kube.Key
	if len(args) > 1 {
		only = s.clusterKey(args[1])
	}
	world, err := s.targetsWorld(cmd.Context(), ref, only)
	if err != nil {
		return err
	}
	found := report.TargetsOf(world, only)
	yes := found.Yes(only != nil)
	if f.only != "" {
		found = found.Only(targeting.Answer(f.only))
	}
	err = f.output.print(cmd, found, func(out io.Writer, colour bool) error { return found.WriteText(out, only != nil, colour) })
	if err != nil {
		return err
	}
	return unless(yes, "")
}

// clusterKey reads NAME, NAMESPACE/NAME or cluster/NAME.
func (s *session) clusterKey(arg string) *kube.Key {
	namespace, name, ok := strings.Cut(arg, "/")
	if !ok {
		return &kube.Key{Namespace: s.namespace, Name: arg}
	}
	if _, err := parseReference(arg, kindCluster); err == nil {
		namespace = s.namespace
	}
	return &kube.Key{Namespace: namespace, Name: name}
}
