package bundlereader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"
)

const (
	chartFile = "Chart.yaml"
	chartsDir = "charts"
	fileRepo  = "file://"
	// maxLocalCharts bounds how far local charts depend on local charts.
	maxLocalCharts = 5
)

// dependency is a chart that another one is made of.
type dependency struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Repository string `json:"repository"`

	file string // where it is written
}

type dependencyList struct {
	Dependencies []dependency `json:"dependencies"`
}

// addDependencies completes the charts in the folder that are deployed: what
// they depend on, and do not bring along in their folder "charts", is fetched
// there. Nothing is written anywhere but into the bundle.
func (b *builder) addDependencies(ctx context.Context) error {
	if helm := b.bundle.Spec.Helm; helm != nil && helm.DisableDependencyUpdate != nil && *helm.DisableDependencyUpdate {
		return nil
	}
	for _, dir := range b.localCharts() {
		if err := b.complete(ctx, chartAt{dir: dir, source: path.Join(b.contents.root, dir)}); err != nil {
			return err
		}
	}
	return nil
}

// localCharts lists the folders of the bundle that are deployed as charts.
func (b *builder) localCharts() []string {
	var dirs []string
	add := func(dir string) {
		if _, ok := b.contents.files[path.Join(dir, chartFile)]; ok && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	named := b.namedCharts()
	if helm := b.bundle.Spec.Helm; helm == nil || helm.Chart == "" && helm.Repo == "" {
		add(".")
	}
	for _, chart := range named {
		if chart.helm.Repo == "" && !hasScheme(chart.helm.Chart) {
			add(path.Clean(strings.TrimPrefix(chart.helm.Chart, "/")))
		}
	}
	return dirs
}

// chartAt is a chart in the bundle, and the folder of the tree it came from.
type chartAt struct {
	dir, source string
	depth       int // how many charts of the repository it is a dependency of
}

func (b *builder) complete(ctx context.Context, chart chartAt) error {
	for _, list := range []struct{ file, lock string }{{chartFile, "Chart.lock"}, {"requirements.yaml", "requirements.lock"}} {
		wanted, err := b.dependencyList(chart, list.file)
		if err != nil {
			return err
		}
		locked, err := b.dependencyList(chart, list.lock)
		if err != nil {
			return err
		}
		for _, dep := range wanted {
			dep.pin(locked)
			dep.file = path.Join(chart.source, list.file)
			if err := b.addDependency(ctx, chart, dep); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) dependencyList(chart chartAt, file string) ([]dependency, error) {
	content, ok := b.contents.files[path.Join(chart.dir, file)]
	if !ok {
		return nil, nil
	}
	var list dependencyList
	if err := yaml.Unmarshal(content, &list); err != nil {
		return nil, &problem{Finding{Severity: Error, File: path.Join(chart.source, file), Line: lineOf(content, err), Message: parserText(err)}}
	}
	return list.Dependencies, nil
}

// pin takes the version of the lock file if it is one that is asked for.
func (d *dependency) pin(locked []dependency) {
	for _, l := range locked {
		if l.Name != d.Name || l.Repository != d.Repository {
			continue
		}
		constraint, err := semver.NewConstraint(d.Version)
		version, versionErr := semver.NewVersion(l.Version)
		if err == nil && versionErr == nil && constraint.Check(version) {
			d.Version = l.Version
		}
	}
}

// fail makes an error about the dependency.
func (d *dependency) fail(message string) error {
	return &problem{Finding{Severity: Error, File: d.file, Field: "dependencies." + d.Name, Message: message}}
}

func (b *builder) addDependency(ctx context.Context, chart chartAt, dep dependency) error {
	if b.vendored(chart.dir, dep.Name) {
		return nil
	}
	switch {
	case dep.Name == "" || strings.ContainsAny(dep.Name, `/\`) || isHidden(dep.Name):
		return dep.fail("it has no valid name")
	case strings.HasPrefix(dep.Repository, fileRepo):
		return b.addLocalDependency(ctx, chart, dep)
	case !isURL(dep.Repository):
		return dep.fail("it is not in the folder charts, and its repository is not an address that begins with https://, oci:// or file://")
	case b.options.Charts == nil:
		return dep.fail("charts from elsewhere cannot be fetched here")
	}
	name, archive, err := b.options.Charts.Archive(ctx, ChartRef{
		Chart: dep.Name, Repo: dep.Repository, Version: dep.Version, Auth: b.options.ChartCredentials.For(b.folder.path),
	})
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return dep.fail(err.Error())
	}
	if err := b.contents.add(path.Join(chart.dir, chartsDir, path.Base(name)), archive); err != nil {
		return dep.fail(err.Error())
	}
	return nil
}

// vendored reports whether a chart brings a dependency along, unpacked or not.
func (b *builder) vendored(dir, name string) bool {
	base := path.Join(dir, chartsDir)
	if _, ok := b.contents.files[path.Join(base, name, chartFile)]; ok {
		return true
	}
	for file := range b.contents.files {
		version, ok := strings.CutPrefix(file, path.Join(base, name)+"-")
		if !ok || !strings.HasSuffix(version, ".tgz") || strings.Contains(version, "/") {
			continue
		}
		if _, err := semver.NewVersion(strings.TrimSuffix(version, ".tgz")); err == nil {
			return true
		}
	}
	return false
}

// addLocalDependency copies a chart from elsewhere in the repository.
func (b *builder) addLocalDependency(ctx context.Context, chart chartAt, dep dependency) error {
	if chart.depth >= maxLocalCharts {
		return dep.fail(fmt.Sprintf("charts depend on each other more than %d deep", maxLocalCharts))
	}
	source := path.Join(chart.source, strings.TrimPrefix(dep.Repository, fileRepo))
	if !fs.ValidPath(source) {
		return dep.fail("the folder " + dep.Repository + " is outside of the repository")
	}
	if err := enterAll(ctx, b.tree, source); err != nil {
		return err
	}
	real, info, err := resolve(b.tree, ".", source)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !info.IsDir():
		return dep.fail("there is no folder " + dep.Repository)
	case errors.Is(err, errLink):
		return dep.fail(err.Error())
	case err != nil:
		return fmt.Errorf("looking for chart %s: %w", dep.Name, err)
	}
	local := &contents{tree: b.tree, root: real, limits: b.options.Limits, report: b.report}
	if err := local.load(ctx); err != nil {
		return err
	}
	if _, ok := local.files[chartFile]; !ok {
		return dep.fail("the folder " + dep.Repository + " has no " + chartFile)
	}
	dir := path.Join(chart.dir, chartsDir, dep.Name)
	for name, content := range local.files {
		if err := b.contents.add(path.Join(dir, name), content); err != nil {
			return dep.fail(err.Error())
		}
	}
	return b.complete(ctx, chartAt{dir: dir, source: real, depth: chart.depth + 1})
}
