package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader/charts"
)

// bundleFlags say what a GitRepo would say.
type bundleFlags struct {
	name, namespace, commit string
	paths, bundles          []string
	targetsFile             string
	targetNamespace         string
	serviceAccount          string
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
	flags.StringArrayVar(&f.paths, "path", nil, "folder or pattern to look for bundles in; may be repeated (default: the whole of DIR)")
	flags.StringArrayVar(&f.bundles, "bundles", nil, "folder of exactly one bundle, as BASE[:OPTIONS], where OPTIONS is a file used as fleet.yaml; may be repeated")
	flags.StringVar(&f.targetsFile, "targets-file", "", `YAML file with the targets, as a list or under the key "targets"; "-" is the standard input (default: the ClusterGroup "default")`)
	flags.StringVar(&f.targetNamespace, "target-namespace", "", "namespace that every object is forced into")
	flags.StringVar(&f.serviceAccount, "service-account", "", "service account that the agent acts as")
	if err := cmd.MarkFlagRequired("name"); err != nil {
		panic(err) // the flag is defined above
	}
	cmd.MarkFlagsMutuallyExclusive("path", "bundles")
	return cmd
}

func (f *bundleFlags) run(cmd *cobra.Command, dir string) error {
	options, err := f.options(cmd)
	if err != nil {
		return err
	}
	// A root keeps links from leading out of the folder.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening the folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	result, err := bundlereader.Read(cmd.Context(), root.FS(), options)
	if err != nil {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	if err := printBundles(cmd.OutOrStdout(), result.Bundles); err != nil {
		return err
	}
	return reportFindings(cmd.ErrOrStderr(), result)
}

func (f *bundleFlags) options(cmd *cobra.Command) (bundlereader.Options, error) {
	options := bundlereader.Options{
		GitRepo: f.name, Namespace: f.namespace, Commit: f.commit,
		Paths: f.paths, TargetNamespace: f.targetNamespace, ServiceAccount: f.serviceAccount,
	}
	for _, entry := range f.bundles {
		base, file, _ := strings.Cut(entry, ":")
		options.Bundles = append(options.Bundles, fleet.BundlePath{Base: base, Options: file})
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return options, fmt.Errorf("finding a folder for charts: %w", err)
	}
	if options.Charts, err = charts.New(filepath.Join(cache, "flotilla", "charts")); err != nil {
		return options, err
	}
	if f.targetsFile != "" {
		options.Targets, err = f.targets(cmd)
	}
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

// printBundles writes bundles as YAML documents, without what only an API server fills in.
func printBundles(out io.Writer, bundles []*fleet.Bundle) error {
	for _, b := range bundles {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(b)
		if err != nil {
			return fmt.Errorf("encoding bundle %s: %w", b.Name, err)
		}
		delete(fields, "status")
		if metadata, ok := fields["metadata"].(map[string]any); ok {
			delete(metadata, "creationTimestamp")
		}
		fields["apiVersion"], fields["kind"] = fleet.SchemeGroupVersion.String(), "Bundle"
		if err := printDocument(out, fields); err != nil {
			return err
		}
	}
	return nil
}

func printDocument(out io.Writer, value any) error {
	data, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding as YAML: %w", err)
	}
	_, err = fmt.Fprintf(out, "---\n%s", data)
	return err
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
