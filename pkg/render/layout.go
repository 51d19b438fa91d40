package render

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path"
	"strings"

	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/kustomize/api/konfig"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// downloadedCharts is the folder of charts that were downloaded into a bundle.
const downloadedCharts = ".chart"

// layout says where in a bundle lies what decides its style.
type layout struct {
	// chart is the folder of the chart; empty when there is none.
	chart string
	// kustomization is the path of the kustomization's file; empty when there is none.
	kustomization string
}

func findLayout(files *tree, o *fleet.BundleDeploymentOptions) (layout, error) {
	dir, err := findChart(files, o.Helm)
	if err != nil {
		return layout{}, err
	}
	kustomization, err := findKustomization(files, o.Kustomize)
	return layout{chart: dir, kustomization: kustomization}, err
}

// findChart returns the folder of the chart that the options name, else the
// root if that is a chart.
func findChart(files *tree, helm *fleet.HelmOptions) (string, error) {
	if helm == nil || helm.Chart == "" && helm.Repo == "" {
		if files.has(chartutil.ChartfileName) {
			return ".", nil
		}
		return "", nil
	}
	if helm.Repo == "" {
		dir := path.Clean(strings.TrimPrefix(helm.Chart, "/"))
		if files.has(path.Join(dir, chartutil.ChartfileName)) {
			return dir, nil
		}
	}
	return findDownloadedChart(files, helm)
}

// findDownloadedChart looks for the chart that reading the bundle has put under
// a digest of what names it: at once or, as archives have it, one folder deeper.
func findDownloadedChart(files *tree, helm *fleet.HelmOptions) (string, error) {
	sum := sha256.Sum256([]byte(helm.Chart + ":" + helm.Repo + ":" + helm.Version))
	base := path.Join(downloadedCharts, hex.EncodeToString(sum[:]))
	if files.has(path.Join(base, chartutil.ChartfileName)) {
		return base, nil
	}
	var dirs []string
	for _, name := range files.paths {
		dir, file := path.Split(name)
		if file == chartutil.ChartfileName && path.Dir(path.Clean(dir)) == base {
			dirs = append(dirs, path.Clean(dir))
		}
	}
	switch len(dirs) {
	case 1:
		return dirs[0], nil
	case 0:
		return "", &Error{Message: "the chart " + chartLabel(helm) +
			" is not in the bundle: helm.chart must name a folder of the bundle with a Chart.yaml, or a chart to download"}
	default:
		return "", &Error{Message: "the download of " + chartLabel(helm) + " holds several charts: " +
			path.Base(dirs[0]) + " and " + path.Base(dirs[1])}
	}
}

// chartLabel names a chart without the credentials that its URL may hold.
func chartLabel(helm *fleet.HelmOptions) string {
	label := withoutCredentials(helm.Chart)
	if helm.Repo != "" {
		label += " of " + withoutCredentials(helm.Repo)
	}
	return label
}

// withoutCredentials returns a URL without user, password and query, where
// tokens travel; what is no URL stays as it is.
func withoutCredentials(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" {
		return raw
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// findKustomization returns the file of the kustomization. A folder that the
// options name must have one: to go on without it would deploy its raw parts.
func findKustomization(files *tree, o *fleet.KustomizeOptions) (string, error) {
	if o == nil || o.Dir == "" {
		return kustomizationIn(files, ".")
	}
	dir := path.Clean(strings.TrimPrefix(o.Dir, "/"))
	if escapes(dir) {
		return "", &Error{Message: "kustomize.dir " + o.Dir + " leads out of the bundle"}
	}
	name, err := kustomizationIn(files, dir)
	if err != nil || name != "" {
		return name, err
	}
	return "", &Error{Message: "kustomize.dir " + o.Dir + " holds no " +
		strings.Join(konfig.RecognizedKustomizationFileNames(), ", ")}
}

// kustomizationIn returns the path of the kustomization's file in dir, or nothing.
func kustomizationIn(files *tree, dir string) (string, error) {
	var found string
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		file := path.Join(dir, name)
		if !files.has(file) {
			continue
		}
		if found != "" {
			return "", fileErrorf(file, "the folder has another kustomization: %s", path.Base(found))
		}
		found = file
	}
	return found, nil
}
