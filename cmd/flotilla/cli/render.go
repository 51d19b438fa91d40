package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

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
are missing.

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
	data, err := readInput(cmd, f.bundleFile)
	if err != nil {
		return err
	}
	bundles, err := parseBundles(data)
	if err != nil {
		return fmt.Errorf("reading the bundles in %s: %w", f.bundleFile, err)
	}
	var failed []error
	for _, b := range bundles {
		objects, err := f.render(cmd.ErrOrStderr(), b)
		if err != nil {
			failed = append(failed, fmt.Errorf("bundle %s: %w", b.Name, err))
			continue
		}
		for _, object := range objects {
			if err := printDocument(cmd.OutOrStdout(), object); err != nil {
				return err
			}
		}
	}
	if len(failed) > 0 {
		return &noError{errors.Join(failed...).Error()}
	}
	return nil
}

// parseBundles reads the Bundles of a YAML stream.
func parseBundles(data []byte) ([]*fleet.Bundle, error) {
	var bundles []*fleet.Bundle
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			return nil, err
		}
		if kind == (metav1.TypeMeta{}) {
			continue // a document of comments
		}
		if kind.Kind != "Bundle" || kind.APIVersion != fleet.SchemeGroupVersion.String() {
			return nil, fmt.Errorf("found %s %s where a Bundle of %s is expected", kind.APIVersion, kind.Kind, fleet.SchemeGroupVersion)
		}
		b := &fleet.Bundle{}
		if err := yaml.UnmarshalStrict(document, b); err != nil {
			return nil, err
		}
		bundles = append(bundles, b)
	}
	if len(bundles) == 0 {
		return nil, errors.New("there is no Bundle")
	}
	return bundles, nil
}

// render does what the manager and then the agent would do with a bundle.
func (f *renderFlags) render(warnings io.Writer, b *fleet.Bundle) ([]*unstructured.Unstructured, error) {
	options, err := f.optionsOf(b)
	if err != nil {
		return nil, err
	}
	content, err := bundle.Encode(b.Spec.Resources)
	if err != nil {
		return nil, err
	}
	id, err := bundle.DeploymentID(content.Name, options)
	if err != nil {
		return nil, err
	}
	warnOfValues(warnings, b, &options)
	set := release.ObjectSet(b.Name, names.NamespaceSystem)
	return render.Objects(render.Input{
		BundleName: b.Name, Resources: b.Spec.Resources, Options: options, DeploymentID: id,
		Commit:      b.Labels[names.LabelCommit],
		Labels:      map[string]string{names.LabelObjectSetHash: names.ObjectSetHash(set)},
		Annotations: map[string]string{names.AnnotationObjectSetID: set},
		KubeVersion: f.kubeVersion, APIVersions: f.apiVersions,
	})
}

// warnOfValues says which values are somewhere that is not looked at.
func warnOfValues(out io.Writer, b *fleet.Bundle, options *fleet.BundleDeploymentOptions) {
	if options.Helm != nil && len(options.Helm.ValuesFrom) > 0 {
		fmt.Fprintf(out, "warning: bundle %s: the values of helm.valuesFrom are in the cluster, and so are missing here\n", b.Name)
	}
	if b.Spec.ValuesHash != "" {
		fmt.Fprintf(out, "warning: bundle %s: its values are in a Secret of the hub, and so are missing here\n", b.Name)
	}
}

// optionsOf returns the options that hold for the cluster that the flags name,
// else those of the bundle itself.
func (f *renderFlags) optionsOf(b *fleet.Bundle) (fleet.BundleDeploymentOptions, error) {
	var customizations []fleet.BundleDeploymentOptions
	facts := bundle.ClusterFacts{ClusterNamespace: b.Namespace, ClusterName: f.clusterName, Labels: f.labels}
	if f.clusterName != "" || len(f.labels) > 0 {
		cluster := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: f.clusterName, Labels: f.labels}}
		decision := targeting.Compile(b.Namespace, &b.Spec, f.groups(b)).Match(cluster)
		if decision.Outcome != targeting.Matched {
			return fleet.BundleDeploymentOptions{}, fmt.Errorf("not deployed to the cluster: %s", decision.Message)
		}
		for _, custom := range decision.Customizations {
			customizations = append(customizations, custom.BundleDeploymentOptions)
		}
	}
	return bundle.Template(bundle.Merge(b.Spec.BundleDeploymentOptions, customizations...), facts)
}

// groups returns the ClusterGroups that the cluster is in: they select every
// cluster, and there is only this one.
func (f *renderFlags) groups(b *fleet.Bundle) []*fleet.ClusterGroup {
	groups := make([]*fleet.ClusterGroup, 0, len(f.clusterGroups))
	for _, name := range f.clusterGroups {
		groups = append(groups, &fleet.ClusterGroup{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: name},
			Spec:       fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{}},
		})
	}
	return groups
}
