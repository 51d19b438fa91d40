// Package charts downloads charts that a bundle names by address: from a chart
// repository, as an archive, or from an OCI registry.
//
// It uses Helm's own index, registry client and archive reader, no plugins and
// no configuration of a user's home. Every download is bounded in size and
// time. A download of an exact version is kept on disk and never repeated.
package charts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/registry"
	"helm.sh/helm/v3/pkg/repo"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
)

const (
	// timeout bounds one chart, its index included.
	timeout = 30 * time.Second
	// maxArchive and maxIndex bound what is downloaded; Helm's reader bounds
	// what comes out of an archive.
	maxArchive = 64 << 20
	maxIndex   = 64 << 20
	schemeOCI  = "oci"
)

// Source downloads charts and keeps them in a folder, all of which can be lost.
type Source struct {
	dir    string
	client *http.Client
}

// New returns a source that keeps its charts in dir.
func New(dir string) (*Source, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making folder for charts: %w", err)
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("making client for charts: unexpected transport")
	}
	return &Source{dir: dir, client: &http.Client{Transport: transport.Clone(), Timeout: timeout}}, nil
}

// Fetch returns the files of a chart by path, below a folder with the name of
// the chart. Errors name the address and the cause.
func (s *Source) Fetch(ctx context.Context, ref bundlereader.ChartRef) (map[string][]byte, error) {
	_, chart, _, err := s.chart(ctx, ref)
	return chart, err
}

// Archive returns the chart as it is published, and its usual file name.
func (s *Source) Archive(ctx context.Context, ref bundlereader.ChartRef) (string, []byte, error) {
	metadata, _, archive, err := s.chart(ctx, ref)
	if err != nil {
		return "", nil, err
	}
	return metadata.Name + "-" + metadata.Version + ".tgz", archive, nil
}

// chart downloads a chart and unpacks it.
func (s *Source) chart(ctx context.Context, ref bundlereader.ChartRef) (*chart.Metadata, map[string][]byte, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	archive, err := s.archive(ctx, ref)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("downloading chart %s: %w", describe(ref), err)
	}
	files, err := loader.LoadArchiveFiles(bytes.NewReader(archive))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("unpacking chart %s: %w", describe(ref), err)
	}
	metadata, err := metadataOf(files)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading chart %s: %w", describe(ref), err)
	}
	contents := make(map[string][]byte, len(files))
	for _, f := range files {
		contents[metadata.Name+"/"+f.Name] = f.Data
	}
	return metadata, contents, archive, nil
}

// metadataOf reads a chart's own description. Its name becomes part of paths,
// so a name that Helm would refuse ends here.
func metadataOf(files []*loader.BufferedFile) (*chart.Metadata, error) {
	for _, f := range files {
		if f.Name != chartutil.ChartfileName {
			continue
		}
		metadata := new(chart.Metadata)
		if err := yaml.Unmarshal(f.Data, metadata); err != nil {
			return nil, fmt.Errorf("Chart.yaml does not parse: %w", err)
		}
		if err := metadata.Validate(); err != nil {
			return nil, err
		}
		return metadata, nil
	}
	return nil, errors.New("it has no Chart.yaml")
}

func describe(ref bundlereader.ChartRef) string {
	text := ref.Chart
	if text == "" {
		text = redact(ref.Repo)
	} else {
		text = redact(text)
	}
	if ref.Version != "" {
		text += " " + ref.Version
	}
	if ref.Repo != "" && ref.Chart != "" {
		text += " from " + redact(ref.Repo)
	}
	return text
}

// redact takes user and password out of an address.
func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	u.User = nil
	return u.String()
}

// archive returns the chart's archive, from disk if it was downloaded before.
func (s *Source) archive(ctx context.Context, ref bundlereader.ChartRef) ([]byte, error) {
	path := ""
	if _, err := semver.StrictNewVersion(strings.TrimPrefix(ref.Version, "v")); err == nil {
		path = filepath.Join(s.dir, key(ref)+".tgz")
		if data, err := os.ReadFile(path); err == nil {
			return data, nil
		}
	}
	data, err := s.download(ctx, ref)
	if err != nil || path == "" {
		return data, err
	}
	return data, keep(path, data)
}

// keep writes the archive so that a reader never sees half of it.
func keep(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "download-*")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

func (s *Source) download(ctx context.Context, ref bundlereader.ChartRef) ([]byte, error) {
	switch {
	case strings.HasPrefix(ref.Repo, schemeOCI+"://"):
		address := strings.TrimSuffix(ref.Repo, "/")
		if ref.Chart != "" {
			address += "/" + ref.Chart
		}
		return s.pull(ctx, address, ref.Version)
	case strings.HasPrefix(ref.Chart, schemeOCI+"://"):
		return s.pull(ctx, ref.Chart, ref.Version)
	case ref.Repo != "":
		return s.fromRepo(ctx, ref)
	}
	return s.get(ctx, ref.Chart, maxArchive)
}

// fromRepo looks the chart up in the index of its repository.
func (s *Source) fromRepo(ctx context.Context, ref bundlereader.ChartRef) ([]byte, error) {
	base, err := url.Parse(strings.TrimSuffix(ref.Repo, "/") + "/")
	if err != nil {
		return nil, errors.New("helm.repo is not a URL")
	}
	raw, err := s.get(ctx, base.ResolveReference(&url.URL{Path: "index.yaml"}).String(), maxIndex)
	if err != nil {
		return nil, err
	}
	index, err := s.parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("reading %sindex.yaml: %w", redact(base.String()), err)
	}
	version, err := index.Get(ref.Chart, ref.Version)
	if err != nil {
		return nil, fmt.Errorf("%sindex.yaml has no chart %q of version %q", redact(base.String()), ref.Chart, ref.Version)
	}
	if len(version.URLs) == 0 {
		return nil, fmt.Errorf("%sindex.yaml gives no address for chart %q of version %q", redact(base.String()), ref.Chart, version.Version)
	}
	address, err := base.Parse(version.URLs[0])
	if err != nil {
		return nil, fmt.Errorf("%sindex.yaml gives an address for chart %q that is no URL", redact(base.String()), ref.Chart)
	}
	if address.Scheme == schemeOCI {
		return s.pull(ctx, address.String(), version.Version)
	}
	return s.get(ctx, address.String(), maxArchive)
}

// parseIndex hands the index to Helm, which reads files only.
func (s *Source) parseIndex(raw []byte) (*repo.IndexFile, error) {
	file, err := os.CreateTemp(s.dir, "index-*.yaml")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(raw)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return repo.LoadIndexFile(file.Name())
}

// get downloads an address over http(s).
func (s *Source) get(ctx context.Context, address string, limit int64) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%s is not an http, https or oci address", redact(address))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%s is not an address: %w", redact(address), err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, explain(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", redact(address), response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", redact(address), err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d MiB", redact(address), limit>>20)
	}
	return data, nil
}

// explain keeps the cause of a failed request and the address without its
// user.
func explain(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return fmt.Errorf("asking %s: %w", redact(failed.URL), failed.Err)
	}
	return err
}

// pull downloads a chart from an OCI registry, without credentials.
func (s *Source) pull(ctx context.Context, address, version string) ([]byte, error) {
	client, err := registry.NewClient(
		registry.ClientOptHTTPClient(&http.Client{Transport: bounded{ctx, s.client.Transport}, Timeout: timeout}),
		registry.ClientOptWriter(io.Discard),
		// A file that is never there: the credentials of whoever runs this are
		// nobody else's business.
		registry.ClientOptCredentialsFile(filepath.Join(s.dir, "no-credentials.json")),
	)
	if err != nil {
		return nil, fmt.Errorf("preparing registry client: %w", err)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%s is not an address", redact(address))
	}
	resolved, err := client.ValidateReference(address, version, u)
	if err != nil {
		return nil, fmt.Errorf("finding version %q at %s: %w", version, redact(address), explain(err))
	}
	result, err := client.Pull(strings.TrimPrefix(resolved.String(), schemeOCI+"://"))
	if err != nil {
		return nil, fmt.Errorf("pulling %s: %w", redact(resolved.String()), explain(err))
	}
	return result.Chart.Data, nil
}

// bounded ends every request with ctx, which Helm's client does not take, and
// cuts answers that are too large.
type bounded struct {
	ctx  context.Context //nolint:containedctx // the client's calls have no context of their own
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r.WithContext(b.ctx))
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxArchive), response.Body}
	return response, nil
}
