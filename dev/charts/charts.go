// Package charts loads and renders the charts of Flotilla as Helm does, for tests and tools.
package charts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// The charts.
const (
	Manager = "flotilla"
	Agent   = "flotilla-agent"
	CRDs    = "flotilla-crd"
)

// Dir returns the folder of a chart. It must be called inside the source tree.
func Dir(name string) (string, error) {
	root, err := binaries.SourceRoot()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "charts", name), nil
}

// Load loads a chart.
func Load(name string) (*chart.Chart, error) {
	dir, err := Dir(name)
	if err != nil {
		return nil, err
	}
	loaded, err := loader.LoadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("loading chart %s: %w", name, err)
	}
	return loaded, nil
}

// Rendered is what a chart becomes.
type Rendered struct {
	Objects []*unstructured.Unstructured
	// Hooks are made at moments of their own, such as by `helm test`.
	Hooks []*unstructured.Unstructured
	Notes string
}

// Render renders a chart as `helm template` does, into the system namespace, with values checked by its schema.
func Render(name string, values map[string]any) (Rendered, error) {
	loaded, err := Load(name)
	if err != nil {
		return Rendered{}, err
	}
	return renderChart(loaded, values)
}

func renderChart(loaded *chart.Chart, values map[string]any) (Rendered, error) {
	name := loaded.Name()
	install := action.NewInstall(&action.Configuration{Log: func(string, ...any) {}})
	install.DryRun, install.ClientOnly, install.Replace, install.IncludeCRDs = true, true, true, true
	install.ReleaseName, install.Namespace = name, names.NamespaceSystem
	install.KubeVersion = &chartutil.KubeVersion{Version: "v1.36.3", Major: "1", Minor: "36"}
	release, err := install.Run(loaded, values)
	if err != nil {
		return Rendered{}, fmt.Errorf("rendering chart %s: %w", name, err)
	}
	rendered := Rendered{Notes: release.Info.Notes}
	manifests := releaseutil.SplitManifests(release.Manifest)
	keys := slices.Collect(maps.Keys(manifests))
	sort.Sort(releaseutil.BySplitManifestsOrder(keys)) // as Helm installs them
	for _, key := range keys {
		objects, err := decode(manifests[key])
		if err != nil {
			return Rendered{}, fmt.Errorf("reading chart %s: %w", name, err)
		}
		rendered.Objects = append(rendered.Objects, objects...)
	}
	for _, hook := range release.Hooks {
		objects, err := decode(hook.Manifest)
		if err != nil {
			return Rendered{}, fmt.Errorf("reading chart %s: %w", name, err)
		}
		rendered.Hooks = append(rendered.Hooks, objects...)
	}
	return rendered, nil
}

func decode(manifest string) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(manifest)), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(&object.Object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("%w in\n%s", err, strings.TrimSpace(manifest))
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}
