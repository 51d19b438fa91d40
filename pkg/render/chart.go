package render

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

const (
	libraryChart    = "library"
	applicationType = "application"
	// commitLength is how much of a commit the version of a generated chart shows.
	commitLength = 12
)

// notInVersions matches what the build metadata of a semantic version cannot hold.
var notInVersions = regexp.MustCompile(`[^0-9A-Za-z-]+`)

// loadChart loads the chart in dir, for which the options are to hold, and
// refuses one that cannot be installed as it is.
func loadChart(files *tree, dir string, o *fleet.BundleDeploymentOptions) (*chart.Chart, error) {
	loaded, err := loadChartFiles(files, dir)
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(loaded.Metadata.Type, libraryChart) {
		return nil, fileErrorf(path.Join(dir, chartutil.ChartfileName), "a library chart cannot be deployed")
	}
	if o.Helm == nil || !isTrue(o.Helm.SkipSchemaValidation) {
		if err := checkSchemas(loaded, dir); err != nil {
			return nil, err
		}
	}
	if err := checkDependencies(files, dir, loaded, chartValues(o)); err != nil {
		return nil, err
	}
	return loaded, nil
}

func loadChartFiles(files *tree, dir string) (*chart.Chart, error) {
	var buffered []*loader.BufferedFile
	for _, name := range files.paths {
		rel, ok := below(dir, name)
		// Charts downloaded for other clusters are no part of a chart at the root.
		if !ok || strings.HasPrefix(rel, downloadedCharts+"/") {
			continue
		}
		buffered = append(buffered, &loader.BufferedFile{Name: rel, Data: files.content[name]})
	}
	loaded, err := loader.LoadFiles(buffered)
	if err != nil {
		return nil, chartError(dir, err)
	}
	return loaded, nil
}

// chartError explains why Helm cannot load a chart.
func chartError(dir string, err error) *Error {
	text := err.Error()
	file := chartutil.ChartfileName
	for _, name := range []string{
		chartutil.ValuesfileName, "Chart.lock", "requirements.yaml", "requirements.lock",
	} {
		if strings.Contains(text, name) {
			file = name
		}
	}
	line, message := describeYAML(err)
	return &Error{
		File: path.Join(dir, file), Line: line,
		Message: "loading the chart: " + message, Err: err,
	}
}

// below returns name relative to dir.
func below(dir, name string) (string, bool) {
	if dir == "." {
		return name, true
	}
	return strings.CutPrefix(name, dir+"/")
}

// checkDependencies refuses a chart that needs another one, with these values,
// which it does not bring along: Helm would leave it out without a word.
func checkDependencies(files *tree, dir string, c *chart.Chart, values map[string]any) error {
	missing := map[string]*chart.Dependency{}
	for _, dep := range c.Metadata.Dependencies {
		if dep != nil && !vendored(c, dep) {
			missing[enabledName(dep)] = dep
		}
	}
	if len(missing) == 0 {
		return nil
	}
	// Helm works out conditions and tags on the chart itself, and only once: ask it with a copy.
	probe, err := loadChartFiles(files, dir)
	if err != nil {
		return err
	}
	if err := chartutil.ProcessDependenciesWithMerge(probe, values); err != nil {
		return &Error{
			File:    path.Join(dir, chartutil.ChartfileName),
			Message: "the dependencies do not fit the values", Err: err,
		}
	}
	for _, enabled := range probe.Metadata.Dependencies {
		dep, ok := missing[enabled.Name]
		if !ok {
			continue
		}
		return fileErrorf(path.Join(dir, chartutil.ChartfileName),
			"the chart needs %s %s of %s, which is not in its charts/ folder",
			dep.Name, dep.Version, withoutCredentials(dep.Repository))
	}
	return nil
}

// enabledName is the name under which Helm keeps a dependency once it has
// worked out which are enabled.
func enabledName(dep *chart.Dependency) string {
	if dep.Alias != "" {
		return dep.Alias
	}
	return dep.Name
}

func vendored(c *chart.Chart, dep *chart.Dependency) bool {
	for _, sub := range c.Dependencies() {
		if sub.Name() == dep.Name && chartutil.IsCompatibleRange(dep.Version, sub.Metadata.Version) {
			return true
		}
	}
	return false
}

// generatedChart is the chart of a bundle that has none: it gives the release a
// name and a version.
func generatedChart(in Input) (*chart.Chart, error) {
	name := path.Base(in.BundleName)
	if in.BundleName == "" {
		return nil, &Error{Message: "the bundle has no name"}
	}
	return &chart.Chart{Metadata: &chart.Metadata{
		APIVersion: chart.APIVersionV2,
		Name:       name,
		Version:    generatedVersion(in),
		Type:       applicationType,
	}}, nil
}

// generatedVersion names the commit, else the content that the deployment has.
func generatedVersion(in Input) string {
	content, _, _ := strings.Cut(in.DeploymentID, ":")
	build := notInVersions.ReplaceAllString(content, "-")
	if in.Commit != "" {
		commit := notInVersions.ReplaceAllString(in.Commit, "-")
		build = "git-" + commit[:min(len(commit), commitLength)]
	}
	if build == "" {
		return "v0.0.0"
	}
	return fmt.Sprintf("v0.0.0+%s", build)
}

func isTrue(b *bool) bool { return b != nil && *b }
