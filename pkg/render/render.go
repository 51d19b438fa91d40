package render

import (
	"maps"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/postrender"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// fallbackNamespace is where a bundle goes that names no namespace at all.
const fallbackNamespace = "default"

// Input is a bundle as it is to be deployed to one cluster.
type Input struct {
	// BundleName names the bundle; the name of the Helm release derives from it.
	BundleName string
	// Resources are the files of the bundle.
	Resources []fleet.BundleResource
	// Options hold for the cluster, with all values merged into helm.values.
	Options fleet.BundleDeploymentOptions
	// DeploymentID is the identity of content and options: "<content>:<digest of the options>".
	DeploymentID string
	// Commit the files come from; empty when they come from no Git repository.
	Commit string

	// Labels and Annotations are set on every object.
	Labels      map[string]string
	Annotations map[string]string
	// ChartAnnotations are set on the metadata of the chart, which Helm stores with the release.
	ChartAnnotations map[string]string

	// IsNamespaced says whether objects of a kind live in namespaces, and whether that is known. It may be nil:
	// then the kinds of Kubernetes and those that the bundle itself defines are known.
	IsNamespaced func(schema.GroupVersionKind) (namespaced, known bool)

	// KubeVersion and APIVersions are what Objects tells charts of the cluster. Default: what Helm assumes.
	KubeVersion string
	APIVersions []string

	// Limits on what the bundle may grow into.
	Limits Limits
}

// Limits keep one bundle from exhausting the memory of the process that renders
// it. A zero field means the default.
type Limits struct {
	// DecodedBytes is the size of all files together, after decompression. Default: 64 MiB.
	DecodedBytes int64
	// RenderedBytes is the size of all rendered manifests together. Default: 32 MiB.
	RenderedBytes int64
	// Objects is the number of rendered objects. Default: 10,000.
	Objects int
}

func (l Limits) withDefaults() Limits {
	if l.DecodedBytes == 0 {
		l.DecodedBytes = 64 << 20
	}
	if l.RenderedBytes == 0 {
		l.RenderedBytes = 32 << 20
	}
	if l.Objects == 0 {
		l.Objects = 10_000
	}
	return l
}

// Rendered is what a Helm action needs. It serves one action: Helm changes the
// chart while it works on it.
type Rendered struct {
	// Chart holds the templates of the bundle; it may have none.
	Chart *chart.Chart
	// Values of the chart.
	Values map[string]any
	// PostRenderer adds what is not a template, runs the kustomization and finishes the objects. Its errors are
	// *Error.
	PostRenderer postrender.PostRenderer
	// ReleaseName and Namespace of the Helm release.
	ReleaseName string
	Namespace   string

	paths  chartPaths
	finish finisher
}

// Release reads the files of a bundle and returns what to hand to Helm. Every
// error is an *Error.
func Release(in Input) (*Rendered, error) {
	limits := in.Limits.withDefaults()
	files, err := decodeTree(in.Resources, limits.DecodedBytes)
	if err != nil {
		return nil, err
	}
	found, err := findLayout(files, &in.Options)
	if err != nil {
		return nil, err
	}
	source, err := readSource(files, found, in)
	if err != nil {
		return nil, err
	}
	if len(in.ChartAnnotations) > 0 {
		annotations := maps.Clone(source.chart.Metadata.Annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		maps.Copy(annotations, in.ChartAnnotations)
		source.chart.Metadata.Annotations = annotations
	}
	namespace := releaseNamespace(&in.Options)
	paths := chartPaths{chart: source.chart.Name(), dir: found.chart}
	finish := newFinisher(in, namespace, limits)
	return &Rendered{
		Chart:  source.chart,
		Values: chartValues(&in.Options),
		PostRenderer: &postRenderer{
			paths:     paths,
			kustomize: source.kustomize,
			literals:  source.literals,
			finish:    finish,
			limits:    limits,
		},
		ReleaseName: releaseName(in),
		Namespace:   namespace,
		paths:       paths,
		finish:      finish,
	}, nil
}

// source is a bundle by what happens to its parts.
type source struct {
	// chart goes through the template engine.
	chart *chart.Chart
	// literals are objects that are deployed as they are.
	literals []object
	// kustomize works on what the chart renders; nil when there is none.
	kustomize *kustomization
}

func readSource(files *tree, found layout, in Input) (source, error) {
	limits := in.Limits.withDefaults()
	if found.chart != "" {
		loaded, err := loadChart(files, found.chart, &in.Options)
		if err != nil {
			return source{}, err
		}
		s := source{chart: loaded}
		if found.kustomization != "" {
			s.kustomize = &kustomization{files: files, path: found.kustomization, limits: limits}
		}
		return s, nil
	}
	generated, err := generatedChart(in)
	if err != nil {
		return source{}, err
	}
	if found.kustomization != "" {
		k := &kustomization{files: files, path: found.kustomization, limits: limits}
		literals, err := k.build(nil)
		return source{chart: generated, literals: literals}, err
	}
	overlaid, err := applyOverlays(files, overlayNames(&in.Options), limits)
	if err != nil {
		return source{}, err
	}
	literals, err := readPlain(overlaid, generated)
	return source{chart: generated, literals: literals}, err
}

func releaseName(in Input) string {
	if helm := in.Options.Helm; helm != nil && helm.ReleaseName != "" {
		return helm.ReleaseName
	}
	return names.HelmRelease(in.BundleName)
}

func releaseNamespace(o *fleet.BundleDeploymentOptions) string {
	switch {
	case o.TargetNamespace != "":
		return o.TargetNamespace
	case o.DefaultNamespace != "":
		return o.DefaultNamespace
	default:
		return fallbackNamespace
	}
}

// chartValues returns a copy: Helm merges the defaults of the chart into it.
func chartValues(o *fleet.BundleDeploymentOptions) map[string]any {
	if o.Helm == nil || o.Helm.Values == nil || o.Helm.Values.Data == nil {
		return map[string]any{}
	}
	return o.Helm.Values.DeepCopy().Data
}

func overlayNames(o *fleet.BundleDeploymentOptions) []string {
	if o.YAML == nil {
		return nil
	}
	return o.YAML.Overlays
}
