package charts

import (
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"sigs.k8s.io/yaml"
)

const chartFile = "Chart.yaml"

// chartName is what a chart may be called: its name becomes part of a path.
var chartName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$`)

// unpack returns the files of an archive, below a folder of the chart's name.
// Helm's loader bounds what it unpacks to, and refuses paths that lead out.
func unpack(archive io.Reader) (map[string][]byte, error) {
	files, metadata, err := open(archive)
	if err != nil {
		return nil, err
	}
	unpacked := make(map[string][]byte, len(files))
	for _, file := range files {
		unpacked[path.Join(metadata.Name, file.Name)] = file.Data
	}
	return unpacked, nil
}

// archiveName returns the usual file name of an archive.
func archiveName(archive io.Reader) (string, error) {
	_, metadata, err := open(archive)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s-%s.tgz", metadata.Name, metadata.Version), nil
}

func open(archive io.Reader) ([]*loader.BufferedFile, *chart.Metadata, error) {
	files, err := loader.LoadArchiveFiles(archive)
	if err != nil {
		return nil, nil, fmt.Errorf("it is not a chart archive: %w", err)
	}
	for _, file := range files {
		if file.Name != chartFile {
			continue
		}
		metadata := &chart.Metadata{}
		if err := yaml.Unmarshal(file.Data, metadata); err != nil {
			return nil, nil, errors.New("its Chart.yaml cannot be parsed")
		}
		if !chartName.MatchString(metadata.Name) || !chartName.MatchString(metadata.Version) && !exact(metadata.Version) {
			return nil, nil, errors.New("its Chart.yaml has no valid name and version")
		}
		return files, metadata, nil
	}
	return nil, nil, errors.New("it holds no Chart.yaml")
}
