package charts

import (
	"bytes"
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

// unpackChart returns the files of the chart in a folder of an archive. Archives
// as Helm packs them are Helm's own business.
func unpackChart(data []byte, folder string) (map[string][]byte, error) {
	if folder == "." && bytes.HasPrefix(data, []byte("\x1f\x8b")) {
		return unpack(bytes.NewReader(data))
	}
	u, err := unpackAny(data, maxUnpackedBytes)
	if err != nil {
		return nil, fmt.Errorf("it is not a chart archive: %w", err)
	}
	return u.chartIn(folder)
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
		return files, metadata, checkName(metadata)
	}
	return nil, nil, errors.New("it holds no Chart.yaml")
}

// checkName refuses a chart whose name or version cannot be part of a path.
func checkName(metadata *chart.Metadata) error {
	if !chartName.MatchString(metadata.Name) || !chartName.MatchString(metadata.Version) && !exact(metadata.Version) {
		return errors.New("its Chart.yaml has no valid name and version")
	}
	return nil
}
