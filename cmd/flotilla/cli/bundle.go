package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader/charts"
	"github.com/flotilla-gitops/flotilla/pkg/manager/gitrepos"
	"github.com/flotilla-gitops/flotilla/pkg/source"
)

// treeFlags say what of a repository is read.
type treeFlags struct {
	name           string
	paths, bundles []string
}

func (f *treeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.paths, "path", nil, "folder or pattern to look for bundles in; may be repeated (default: the whole of DIR)")
	flags.StringArrayVar(&f.bundles, "bundles", nil, "folder of exactly one bundle, as BASE[:OPTIONS], where OPTIONS is a file used as fleet.yaml; may be repeated")
	cmd.MarkFlagsMutuallyExclusive("path", "bundles")
}

// options returns what the flags say.
func (f *treeFlags) options() bundlereader.Options {
	options := bundlereader.Options{GitRepo: f.name, Paths: f.paths}
	for _, entry := range f.bundles {
		base, file, _ := strings.Cut(entry, ":")
		options.Bundles = append(options.Bundles, fleet.BundlePath{Base: base, Options: file})
	}
	return options
}

// readTree makes bundles of a folder. A root keeps links from leading out of it.
func readTree(cmd *cobra.Command, dir string, options bundlereader.Options) (bundlereader.Result, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return bundlereader.Result{}, fmt.Errorf("opening the folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	var done func()
	if options.Charts, done, err = chartSource(); err != nil {
		return bundlereader.Result{}, err
	}
	defer done()
	result, err := bundlereader.Read(cmd.Context(), root.FS(), options)
	if err != nil {
		return result, fmt.Errorf("reading %s: %w", dir, err)
	}
	return result, nil
}

// chartSource fetches charts as the manager does. Archives are kept for the
// next time; mirrors of repositories, which belong to one process, are not.
func chartSource() (bundlereader.ChartSource, func(), error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, nil, fmt.Errorf("finding a folder for charts: %w", err)
	}
	scratch, err := os.MkdirTemp("", "flotilla-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a folder for repositories: %w", err)
	}
	done := func() { _ = os.RemoveAll(scratch) }
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	mirrors, err := source.NewMirrors(scratch, source.Limits{}, quiet)
	if err == nil {
		var found *charts.Source
		if found, err = charts.New(filepath.Join(cache, "flotilla", "charts"), gitrepos.ChartRepositories{Mirrors: mirrors}); err == nil {
			return found, done, nil
		}
	}
	done()
	return nil, nil, err
}

// bundleFlags say what a GitRepo would say.
type bundleFlags struct {
	treeFlags
	namespace, commit               string
	targetsFile                     string
	targetNamespace, serviceAccount string
}

func bundleCommand() *cobra.Command {
	var f bundleFlags
	cmd := &cobra.Command{
		Use:   "bundle --name NAME [flags] DIR",
		Short: "Print the Bundles that a GitRepo makes of a folder",
		Long: `Print the Bundles that a GitRepo makes of a folder, as YAML sorted by name.

DIR is the root of the repository; the flags are fields of the GitRepo. Helm values are printed as they are, which the
manager keeps in Secrets. Charts that a fleet.yaml names by a URL are downloaded.

The exit code is 0 if all of the folder could be read, 1 if something is wrong with it, and 2 for any other error.`,
		Example: `  # The whole repository
  flotilla bundle --name shop .

  # Two of its folders, for the clusters that a file lists
  flotilla bundle --name shop --path web --path 'apps/*' --targets-file targets.yaml .

  # One folder, with its own file in the place of fleet.yaml
  flotilla bundle --name shop --bundles web:fleet-prod.yaml .`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "name of the GitRepo (required)")
	flags.StringVar(&f.namespace, "namespace", "fleet-local", "workspace: the namespace of the GitRepo")
	flags.StringVar(&f.commit, "commit", "", "commit that the bundles are labelled with")
	f.add(cmd)
	flags.StringVar(&f.targetsFile, "targets-file", "", `YAML file with the targets, as a list or under the key "targets"; "-" is the standard input (default: the ClusterGroup "default")`)
	flags.StringVar(&f.targetNamespace, "target-namespace", "", "namespace that every object is forced into")
	flags.StringVar(&f.serviceAccount, "service-account", "", "service account that the agent acts as")
	if err := cmd.MarkFlagRequired("name"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

func (f *bundleFlags) run(cmd *cobra.Command, dir string) error {
	options, err := f.options(cmd)
	if err != nil {
		return err
	}
	result, err := readTree(cmd, dir, options)
	if err != nil {
		return err
	}
	if err := printBundles(cmd.OutOrStdout(), result.Bundles); err != nil {
		return err
	}
	return reportFindings(cmd.ErrOrStderr(), result)
}

func (f *bundleFlags) options(cmd *cobra.Command) (bundlereader.Options, error) {
	options := f.treeFlags.options()
	options.Namespace, options.Commit = f.namespace, f.commit
	options.TargetNamespace, options.ServiceAccount = f.targetNamespace, f.serviceAccount
	if f.targetsFile == "" {
		return options, nil
	}
	var err error
	options.Targets, err = f.targets(cmd)
	return options, err
}

// targets reads the file with the targets.
func (f *bundleFlags) targets(cmd *cobra.Command) ([]fleet.GitTarget, error) {
	data, err := readInput(cmd, f.targetsFile)
	if err != nil {
		return nil, err
	}
	var list []fleet.GitTarget
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || yaml.Unmarshal(data, &[]any{}) == nil {
		err = yaml.UnmarshalStrict(data, &list)
	} else {
		var file struct {
			Targets []fleet.GitTarget `json:"targets"`
		}
		err = yaml.UnmarshalStrict(data, &file)
		list = file.Targets
	}
	if err != nil {
		return nil, fmt.Errorf("reading the targets in %s: %w", f.targetsFile, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s holds no targets", f.targetsFile)
	}
	return list, nil
}

// printBundles writes bundles as YAML documents.
func printBundles(out io.Writer, bundles []*fleet.Bundle) error {
	for _, b := range bundles {
		if err := printObject(out, "", b, fleet.SchemeGroupVersion.WithKind("Bundle")); err != nil {
			return err
		}
	}
	return nil
}

// reportFindings writes what was found, one finding a line, and answers no if
// something is missing from the result.
func reportFindings(out io.Writer, result bundlereader.Result) error {
	for _, finding := range result.Findings {
		fmt.Fprintf(out, "%s: %s\n", strings.ToLower(string(finding.Severity)), finding)
	}
	for _, empty := range result.EmptyPaths {
		fmt.Fprintf(out, "error: %s: no bundle is there\n", empty)
	}
	switch {
	case len(result.Failed) > 0:
		return &noError{fmt.Sprintf("%d folders could not be read: %s", len(result.Failed), strings.Join(result.Failed, ", "))}
	case len(result.EmptyPaths) > 0:
		return &noError{fmt.Sprintf("%d paths match nothing: %s", len(result.EmptyPaths), strings.Join(result.EmptyPaths, ", "))}
	case len(result.Bundles) == 0:
		return &noError{"no bundle was found"}
	default:
		return nil
	}
}
