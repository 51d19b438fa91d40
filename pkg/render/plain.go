package render

import (
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
)

// readPlain puts the templates of a bundle of plain manifests into its generated
// chart and returns the objects of all its other manifests.
func readPlain(files *tree, generated *chart.Chart) ([]object, error) {
	nested := nestedBundles(files)
	var literals []object
	var others []*chart.File
	for _, name := range files.paths {
		data := files.content[name]
		if _, template := below(chartutil.TemplatesDir, name); template {
			generated.Templates = append(generated.Templates, &chart.File{Name: name, Data: data})
			continue
		}
		if isFleetFile(path.Base(name)) || nested.contain(name) {
			continue
		}
		if !isManifest(name) {
			others = append(others, &chart.File{Name: name, Data: data})
			continue
		}
		found, err := objectsOf(name, data, strict)
		if err != nil {
			return nil, err
		}
		literals = append(literals, found...)
	}
	if len(generated.Templates) > 0 {
		// Templates can read them with .Files; without templates they would only fill the release's record.
		generated.Files = others
	}
	return literals, nil
}

// folders is a set of folders.
type folders map[string]bool

// nestedBundles returns the folders below the root that are deployed on their
// own or are charts, and so are no part of the bundle.
func nestedBundles(files *tree) folders {
	nested := folders{}
	for _, name := range files.paths {
		dir, file := path.Dir(name), path.Base(name)
		if dir != "." && (isFleetFile(file) || file == chartutil.ChartfileName) {
			nested[dir] = true
		}
	}
	return nested
}

// contain says whether a file is in one of the folders, at any depth, or in a
// hidden one, where downloaded charts are.
func (f folders) contain(name string) bool {
	if strings.HasPrefix(name, downloadedCharts+"/") {
		return true
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if f[dir] {
			return true
		}
	}
	return false
}

func isFleetFile(base string) bool {
	return slices.Contains([]string{"fleet.yaml", "fleet.yml"}, base)
}
