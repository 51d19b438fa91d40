package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/equality"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/render"
)

// lintFlags are the flags of the command lint.
type lintFlags struct {
	tree   treeFlags
	strict bool
}

func lintCommand() *cobra.Command {
	var f lintFlags
	cmd := &cobra.Command{
		Use:   "lint [flags] DIR",
		Short: "Say what is wrong with the folders of a repository",
		Long: `Say what is wrong with the folders of a repository, one finding a line: file:line:column: severity: message.

DIR is the root of the repository. Every folder is read as the manager reads it, and rendered as agents render it, with the options of
its fleet.yaml and with those of each of its customizations. What depends on the labels or values of a cluster is not evaluated here:
"flotilla target" does that for the clusters that there are. Line and column are left out where the whole of a file is meant.

The exit code is 0 if there are warnings at most, 1 if there are errors (with --strict also for warnings), and 2 for any other error.`,
		Example: `  # The whole repository
  flotilla lint .

  # In a pull request, two of its folders, warnings count
  flotilla lint --strict --path web --path 'apps/*' .`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.tree.add(cmd)
	cmd.Flags().StringVar(&f.tree.name, "name", "lint", "name of the GitRepo")
	cmd.Flags().BoolVar(&f.strict, "strict", false, "warnings are errors")
	return cmd
}

func (f *lintFlags) run(cmd *cobra.Command, dir string) error {
	result, err := readTree(cmd, dir, f.tree.options())
	if err != nil {
		return err
	}
	findings := result.Findings
	for _, empty := range result.EmptyPaths {
		findings = append(findings, bundlereader.Finding{Severity: bundlereader.Error, File: empty, Message: "no bundle is there"})
	}
	for _, b := range result.Bundles {
		findings = append(findings, lintBundle(b)...)
	}
	slices.SortStableFunc(findings, func(a, b bundlereader.Finding) int {
		return cmp.Or(cmp.Compare(placeOf(a), placeOf(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	bad := printFindings(cmd.OutOrStdout(), slices.Compact(findings), f.strict)
	return unless(!bad, "")
}

func placeOf(f bundlereader.Finding) string { return cmp.Or(f.File, f.Folder) }

// printFindings reports whether any of the findings is one too many.
func printFindings(out io.Writer, findings []bundlereader.Finding, strict bool) (bad bool) {
	for _, f := range findings {
		severity := strings.ToLower(string(f.Severity))
		bad = bad || strict || f.Severity == bundlereader.Error
		f.Message = severity + ": " + strings.Join(nonEmpty(f.Field, f.Message), ": ")
		f.Field = ""
		fmt.Fprintln(out, f)
	}
	return bad
}

func nonEmpty(parts ...string) []string {
	return slices.DeleteFunc(parts, func(s string) bool { return s == "" })
}

// lintBundle renders a bundle with every set of options that its file gives.
func lintBundle(b *fleet.Bundle) []bundlereader.Finding {
	own := lintOptions(b, bundle.Merge(b.Spec.BundleDeploymentOptions))
	var customs []bundlereader.Finding
	repaired := map[string]bool{} // what is wrong with the bundle's own options, and not with those of some target
	for i := range b.Spec.Targets {
		target := &b.Spec.Targets[i]
		if target.DoNotDeploy || equality.Semantic.DeepEqual(target.BundleDeploymentOptions, fleet.BundleDeploymentOptions{}) {
			continue
		}
		found := lintOptions(b, bundle.Merge(b.Spec.BundleDeploymentOptions, target.BundleDeploymentOptions))
		for _, f := range own {
			repaired[f.String()] = repaired[f.String()] || !slices.Contains(found, f)
		}
		for _, f := range found {
			if !slices.Contains(own, f) {
				f.Message = "target " + target.Name + ": " + f.Message
				customs = append(customs, f)
			}
		}
	}
	for i, f := range own {
		if repaired[f.String()] {
			// Perhaps every cluster is in one of the targets.
			own[i].Severity, own[i].Message = bundlereader.Warning, "where no customization matches: "+f.Message
		}
	}
	return append(own, customs...)
}

func lintOptions(b *fleet.Bundle, options fleet.BundleDeploymentOptions) []bundlereader.Finding {
	folder := b.Annotations[names.AnnotationPath]
	var findings []bundlereader.Finding
	for _, wrong := range bundle.CheckTemplates(options) {
		findings = append(findings, bundlereader.Finding{Severity: bundlereader.Error, Folder: folder, Field: wrong.Field, Message: wrong.Reason})
	}
	if len(findings) > 0 || bundle.Varies(options) {
		return findings
	}
	_, err := objectsOf(b, options, clusterAPI{})
	if err == nil {
		return nil
	}
	f := bundlereader.Finding{Severity: bundlereader.Error, Folder: folder, Message: err.Error()}
	var wrong *render.Error
	if errors.As(err, &wrong) {
		f.Line, f.Message = wrong.Line, strings.Join(nonEmpty(wrong.Object, wrong.Message), ": ")
		if wrong.File != "" {
			f.File = path.Join(folder, wrong.File)
		}
	}
	return []bundlereader.Finding{f}
}
