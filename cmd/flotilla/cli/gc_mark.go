package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// gcMarkFlags are the flags of the commands gc hold and gc release.
type gcMarkFlags struct {
	hub      hubFlags
	output   *outputFlag
	handOnly bool
}

func gcHoldCommand(hub hubFlags) *cobra.Command {
	f := gcMarkFlags{hub: hub}
	cmd := &cobra.Command{
		Use:   "hold gitrepo/NAME|bundle/NAME...",
		Short: "Hold removals: nothing goes because of an edit",
		Long: `Hold removals: nothing goes because targets were edited, because a cluster no longer matches, or because a folder is gone
from the repository. What somebody deletes by name goes all the same. The hold is an annotation of the object, and stays until
flotilla gc release.

The exit code is 0 if the hold is there, and 2 for any error.`,
		Example: `  # Before labels of clusters are rearranged
  flotilla gc hold -n fleet-default gitrepo/shop`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args, report.MarkHold) },
	}
	f.output = addOutputFlag(cmd)
	return cmd
}

func gcReleaseCommand(hub hubFlags) *cobra.Command {
	f := gcMarkFlags{hub: hub}
	cmd := &cobra.Command{
		Use:   "release gitrepo/NAME|bundle/NAME...",
		Short: "Let go what is held",
		Long: `Let go what is held: what the brake has stopped, and what a hold keeps. The hold is taken off. flotilla gc list says beforehand
what will go.

With --hold-only the hold is taken off, but nothing that the brake stops is let go.

The exit code is 0 if it goes, also where nothing was held, 1 if something else holds it, and 2 for any error.`,
		Example: `  # What would go?
  flotilla gc list -n fleet-default bundle/shop-web

  # Let it go
  flotilla gc release -n fleet-default bundle/shop-web`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			mark := report.MarkRelease
			if f.handOnly {
				mark = report.MarkUnhold
			}
			return f.run(cmd, args, mark)
		},
	}
	f.output = addOutputFlag(cmd)
	cmd.Flags().BoolVar(&f.handOnly, "hold-only", false, "take the hold off, and leave the brake to decide")
	return cmd
}

func (f *gcMarkFlags) run(cmd *cobra.Command, args []string, mark report.Mark) error {
	refs, err := parseReferences(args, kindGitRepo, kindBundle)
	if err != nil {
		return err
	}
	s, err := f.hub.open()
	if err != nil {
		return err
	}
	results := report.NewMarks()
	for _, ref := range refs {
		var marked report.Marked
		if ref.kind == kindGitRepo {
			marked, err = put(cmd.Context(), s, s.GitRepos, marking{ref, mark})
		} else {
			marked, err = put(cmd.Context(), s, s.Bundles, marking{ref, mark})
		}
		if err != nil {
			// What was done before is done, and said.
			if printed := f.print(cmd, results); printed != nil {
				return printed
			}
			return err
		}
		results.Objects = append(results.Objects, marked)
	}
	if err := f.print(cmd, results); err != nil {
		return err
	}
	return unless(results.Yes(), "")
}

func (f *gcMarkFlags) print(cmd *cobra.Command, results report.Marks) error {
	return f.output.print(cmd, results, func(out io.Writer, _ bool) error { return results.WriteText(out) })
}

// maxConflicts is how often a mark is put again because somebody else changed
// the object in between.
const maxConflicts = 10

// marking is a mark and what it is put on.
type marking struct {
	ref  reference
	mark report.Mark
}

// put puts the mark on an object, as it is now.
func put[T kube.Object, L runtime.Object](ctx context.Context, s *session, k *kube.Kind[T, L], m marking) (report.Marked, error) {
	for attempt := 1; ; attempt++ {
		before, err := k.Get(ctx, s.namespace, m.ref.name)
		if err != nil {
			return report.Marked{}, s.absent(err, m.ref)
		}
		after, ok := before.DeepCopyObject().(T)
		if !ok {
			return report.Marked{}, fmt.Errorf("a copy of %T is none", before)
		}
		on := report.Marking{Object: after, Conditions: conditionsOf(after), Now: time.Now()}
		if on.GitRepo, err = s.repoOf(ctx, after); err != nil {
			return report.Marked{}, err
		}
		marked := on.Put(m.mark)
		marked.Kind = k.Resource.GVK.Kind
		_, err = k.Patch(ctx, before, after)
		switch {
		case err == nil:
			return marked, nil
		case apierrors.IsConflict(err) && attempt < maxConflicts:
		default:
			return report.Marked{}, s.explain(fmt.Errorf("marking %s: %w", m.ref, err))
		}
	}
}

// repoOf returns the GitRepo of a bundle, nil if it has none.
func (s *session) repoOf(ctx context.Context, obj any) (*fleet.GitRepo, error) {
	b, ok := obj.(*fleet.Bundle)
	if !ok || b.Labels[names.LabelRepoName] == "" {
		return nil, nil
	}
	ref := reference{kindGitRepo, b.Labels[names.LabelRepoName]}
	repo, err := s.GitRepos.Get(ctx, b.Namespace, ref.name)
	switch {
	case kube.IsGone(err, ref.name):
		return nil, nil
	case err != nil:
		return nil, s.explain(fmt.Errorf("reading %s: %w", ref, err))
	}
	return repo, nil
}

func conditionsOf(obj any) []fleet.Condition {
	switch o := obj.(type) {
	case *fleet.GitRepo:
		return o.Status.Conditions
	case *fleet.Bundle:
		return o.Status.Conditions
	}
	return nil
}
