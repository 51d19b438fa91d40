package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
	"github.com/flotilla-gitops/flotilla/pkg/render"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// renderFlags say which cluster bundles are rendered for.
type renderFlags struct {
	bundleFile    string
	clusterName   string
	labels        map[string]string
	clusterGroups []string
	kubeVersion   string
	apiVersions   []string
}

func renderCommand() *cobra.Command {
	var f renderFlags
	cmd := &cobra.Command{
		Use:   "render --bundle FILE [flags]",
		Short: "Print the objects that an agent makes of a bundle",
		Long: `Print the objects that an agent makes of a bundle, as YAML sorted by apiVersion, kind, namespace and name.

With --cluster-name or --label, the bundle is rendered for that cluster: its targets decide whether it is deployed
there at all, its customizations and templates are applied. Without, it is rendered with its own options alone,
whatever its targets say.

No cluster is asked: lookups of templates find nothing, and values that come from objects of the cluster (valuesFrom)
are missing. So is what downstreamResources copies: that is on the hub.

The exit code is 0 if every bundle could be rendered, 1 if one could not or is not deployed to the cluster, and 2 for any
other error.`,
		Example: `  # With the bundle's own options
  flotilla render --bundle bundle.yaml

  # For a cluster
  flotilla render --bundle bundle.yaml --cluster-name prod-1 --label env=prod --label region=eu

  # Straight from a folder
  flotilla bundle --name shop . | flotilla render --bundle -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.bundleFile, "bundle", "", `file with one or more Bundles; "-" is the standard input (required)`)
	flags.StringVar(&f.clusterName, "cluster-name", "", "name of the cluster")
	flags.StringToStringVar(&f.labels, "label", nil, "label of the cluster, as KEY=VALUE; may be repeated")
	flags.StringArrayVar(&f.clusterGroups, "cluster-group", []string{"default"}, "ClusterGroup that the cluster is in; may be repeated")
	flags.StringVar(&f.kubeVersion, "kube-version", "", "version of Kubernetes that charts are told (default: the one this program was built with)")
	flags.StringArrayVar(&f.apiVersions, "api-version", nil, "version of an API that charts are told the cluster has, such as monitoring.coreos.com/v1; may be repeated")
	if err := cmd.MarkFlagRequired("bundle"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

func (f *renderFlags) run(cmd *cobra.Command) error {
	bundles, err := readBundles(cmd, f.bundleFile)
	if err != nil {
		return err
	}
	var failed []error
	for _, b := range bundles {
		objects, err := f.render(cmd.ErrOrStderr(), b)
		if err != nil {
			failed = append(failed, fmt.Errorf("bundle %s: %w", b.Name, err))
			continue
		}
		for _, object := range objects {
			if err := printDocument(cmd.OutOrStdout(), "", object); err != nil {
				return err
			}
		}
	}
	if len(failed) > 0 {
		return &noError{errors.Join(failed...).Error()}
	}
	return nil
}

// render does what the manager and then the agent would do with a bundle.
func (f *renderFlags) render(warnings io.Writer, b *fleet.Bundle) ([]*unstructured.Unstructured, error) {
	options, err := f.optionsOf(b)
	if err != nil {
		return nil, err
	}
	warnOfValues(warnings, b, &options)
	return objectsOf(b, options, clusterAPI{kubeVersion: f.kubeVersion, apiVersions: f.apiVersions})
}

// clusterAPI is what charts are told of a cluster.
type clusterAPI struct {
	kubeVersion string
	apiVersions []string
}

// objectsOf does what the agent does with a bundle and the options that hold
// for its cluster.
func objectsOf(b *fleet.Bundle, options fleet.BundleDeploymentOptions, api clusterAPI) ([]*unstructured.Unstructured, error) {
	content, err := bundle.Encode(b.Spec.Resources)
	if err != nil {
		return nil, err
	}
	id, err := bundle.DeploymentID(content.Name, options)
	if err != nil {
		return nil, err
	}
	set := release.ObjectSet(b.Name, names.NamespaceSystem)
	return render.Objects(render.Input{
		BundleName: b.Name, Resources: b.Spec.Resources, Options: options, DeploymentID: id,
		Commit:      b.Labels[names.LabelCommit],
		Labels:      map[string]string{names.LabelObjectSetHash: names.ObjectSetHash(set)},
		Annotations: map[string]string{names.AnnotationObjectSetID: set},
		KubeVersion: api.kubeVersion, APIVersions: api.apiVersions,
	})
}

// warnOfValues says which values and copies are somewhere that is not looked at.
func warnOfValues(out io.Writer, b *fleet.Bundle, options *fleet.BundleDeploymentOptions) {
	if options.Helm != nil && len(options.Helm.ValuesFrom) > 0 {
		fmt.Fprintf(out, "warning: bundle %s: the values of helm.valuesFrom are in the cluster, and so are missing here\n", b.Name)
	}
	if len(options.DownstreamResources) > 0 {
		fmt.Fprintf(out, "warning: bundle %s: what downstreamResources copies is on the hub, and so is missing here\n", b.Name)
	}
}

// optionsOf returns the options that hold for the cluster that the flags name,
// else those of the bundle itself.
func (f *renderFlags) optionsOf(b *fleet.Bundle) (fleet.BundleDeploymentOptions, error) {
	var customizations []fleet.BundleDeploymentOptions
	cluster := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: f.clusterName, Labels: f.labels}}
	if f.clusterName != "" || len(f.labels) > 0 {
		decision := targeting.Compile(b.Namespace, &b.Spec, f.groups(b)).Match(cluster)
		if decision.Outcome != targeting.Matched {
			return fleet.BundleDeploymentOptions{}, fmt.Errorf("not deployed to the cluster: %s", decision.Message)
		}
		for _, custom := range decision.Customizations {
			customizations = append(customizations, custom.BundleDeploymentOptions)
		}
	}
	return bundle.Template(bundle.Merge(b.Spec.BundleDeploymentOptions, customizations...), bundle.FactsOf(cluster))
}

// groups returns the ClusterGroups that the cluster is in, which select every
// cluster, as there is only this one; and those that the bundle names beside
// them, which select none.
func (f *renderFlags) groups(b *fleet.Bundle) []*fleet.ClusterGroup {
	var groups []*fleet.ClusterGroup
	add := func(name string, selector *metav1.LabelSelector) {
		groups = append(groups, &fleet.ClusterGroup{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: name},
			Spec:       fleet.ClusterGroupSpec{Selector: selector},
		})
	}
	for _, name := range f.clusterGroups {
		add(name, &metav1.LabelSelector{})
	}
	for _, name := range targeting.Compile(b.Namespace, &b.Spec, nil).Groups() {
		if !slices.Contains(f.clusterGroups, name) {
			add(name, nil)
		}
	}
	return groups
}
