package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// targetFlags are the flags of the command target.
type targetFlags struct {
	bundleFile, clustersFile, groupsFile string

	values bool
	output *outputFlag
}

func targetCommand() *cobra.Command {
	var f targetFlags
	cmd := &cobra.Command{
		Use:   "target --bundle FILE --clusters FILE [flags]",
		Short: "Print the BundleDeployments that the manager makes of bundles",
		Long: `Print the BundleDeployments that the manager makes of bundles, as YAML sorted by bundle and cluster.

No hub is asked: bundles, clusters and groups come from files, as kubectl or "flotilla bundle" write them. Every deployment
stands below a comment with the target that decides; where there is none, the comment stands alone and says why.

It is assumed that nothing is deployed yet and that every cluster's turn has come: roll-outs hold nothing back. With
BundleNamespaceMappings and Namespaces among the objects in --clusters or --cluster-groups, bundles reach the clusters of other
namespaces, too. The values of bundles that were read from a hub are in Secrets of their names: put these into the file of the bundles.
What downstreamResources names is not looked for.

The exit code is 0 if there is an answer for every bundle and cluster, 1 if something is in doubt or cannot be evaluated, and
2 for any other error.`,
		Example: `  # What will this folder come to on the clusters of a hub?
  kubectl get clusters,clustergroups -n fleet-default -o yaml > hub.yaml
  flotilla bundle --name shop --namespace fleet-default . | flotilla target --bundle - --clusters hub.yaml

  # With the values that go into Secrets
  flotilla target --bundle bundle.yaml --clusters clusters.yaml --cluster-groups groups.yaml --values`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.bundleFile, "bundle", "", `file with one or more Bundles; "-" is the standard input (required)`)
	flags.StringVar(&f.clustersFile, "clusters", "", `file with Clusters; "-" is the standard input (required)`)
	flags.StringVar(&f.groupsFile, "cluster-groups", "", `file with ClusterGroups; "-" is the standard input`)
	flags.BoolVar(&f.values, "values", false, "print the Secrets with the values of the deployments, too")
	f.output = addOutputFlag(cmd)
	for _, name := range []string{"bundle", "clusters"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return cmd
}

func (f *targetFlags) run(cmd *cobra.Command) error {
	if f.bundleFile == "-" && (f.clustersFile == "-" || f.groupsFile == "-") {
		return fmt.Errorf(`only one file can be the standard input ("-")`)
	}
	bundles, err := readBundles(cmd, f.bundleFile)
	if err != nil {
		return err
	}
	kinds := []string{"Cluster", "ClusterGroup", "BundleNamespaceMapping", "Namespace"}
	hub, err := readObjects(cmd, kinds, f.clustersFile, f.groupsFile)
	if err != nil {
		return err
	}
	if len(hub.clusters) == 0 {
		return fmt.Errorf("there is no Cluster in %s", f.clustersFile)
	}
	planned := report.PlannedOf(report.World{
		Bundles: bundles, Clusters: hub.clusters, Groups: hub.groups, Mappings: hub.mappings, Namespaces: hub.namespaces,
	})
	if !f.values {
		for i := range planned.Items {
			planned.Items[i].Values = nil
		}
	}
	for _, problem := range planned.Problems {
		fmt.Fprintln(cmd.ErrOrStderr(), "error:", problem)
	}
	if err := f.output.print(cmd, planned, func(out io.Writer, _ bool) error { return printPlanned(out, planned) }); err != nil {
		return err
	}
	return unless(planned.Yes(), "")
}

func printPlanned(out io.Writer, planned report.Planned) error {
	for i := range planned.Items {
		if err := printPlannedItem(out, &planned.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

func printPlannedItem(out io.Writer, item *report.PlannedDeployment) error {
	comment := fmt.Sprintf("bundle %s, cluster %s: %s", item.Bundle, item.Cluster, item.Message)
	comment = strings.Join(strings.Fields(comment), " ") // on one line
	if item.Deployment == nil {
		_, err := fmt.Fprintf(out, "---\n# %s\n# %s: no deployment\n", comment, item.Reason)
		return err
	}
	if item.Values != nil {
		if err := printObject(out, "values of "+comment, item.Values, corev1.SchemeGroupVersion.WithKind("Secret")); err != nil {
			return err
		}
	}
	return printObject(out, comment, item.Deployment, fleet.SchemeGroupVersion.WithKind("BundleDeployment"))
}
