package charts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/repo"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
)

const (
	userAgent = "Flotilla"
	// maxIndexes is how many indexes are kept, for a moment, in memory.
	maxIndexes = 16
)

// index is what matters of a repository's index.yaml.
type index struct {
	Entries map[string][]entry `json:"entries"`
}

type entry struct {
	Version string   `json:"version"`
	URLs    []string `json:"urls"`
	Digest  string   `json:"digest"`
}

// parseIndex reads an index.yaml, which may be JSON.
func parseIndex(data []byte) (*index, error) {
	parsed := &index{}
	var err error
	if json.Valid(data) {
		err = json.Unmarshal(data, parsed)
	} else {
		err = yaml.Unmarshal(data, parsed)
	}
	if err != nil {
		return nil, errors.New("the file is not the index of a chart repository")
	}
	if parsed.Entries == nil {
		return nil, errors.New("the index of the chart repository lists no charts")
	}
	return parsed, nil
}

// published is an archive that an index lists.
type published struct {
	address string
	digest  string // SHA-256, hexadecimal; empty if the index gives none
}

// find chooses the version by Helm's rules: an exact match, else the newest
// that the constraint allows.
func (i *index) find(base, name, version string) (published, error) {
	listed := repo.IndexFile{Entries: map[string]repo.ChartVersions{}}
	for _, e := range i.Entries[name] {
		if len(e.URLs) == 0 {
			continue
		}
		listed.Entries[name] = append(listed.Entries[name], &repo.ChartVersion{
			Metadata: &chart.Metadata{Name: name, Version: e.Version}, URLs: e.URLs, Digest: e.Digest,
		})
	}
	if name == "" {
		return published{}, errors.New("helm.chart must be the name of a chart in the repository")
	}
	if len(listed.Entries[name]) == 0 {
		return published{}, fmt.Errorf("%s: the chart repository has no chart %q", redact(base), name)
	}
	listed.SortEntries()
	chosen, err := listed.Get(name, version)
	if err != nil {
		return published{}, fmt.Errorf("%s: the chart repository has no version %q of chart %q", redact(base), version, name)
	}
	address, err := repo.ResolveReferenceURL(base, chosen.URLs[0])
	if err != nil || !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://") {
		return published{}, fmt.Errorf("%s: the chart repository lists chart %q at an address that cannot be used", redact(base), name)
	}
	digest := strings.TrimPrefix(chosen.Digest, "sha256:")
	return published{address: address, digest: digest}, nil
}

// indexes keeps indexes for a moment, so that several charts of one repository
// cost one download.
type indexes struct {
	now     func() time.Time
	flights flights[*index]

	mu    sync.Mutex
	known map[string]knownIndex
}

type knownIndex struct {
	index   *index
	expires time.Time
}

func newIndexes(now func() time.Time) *indexes {
	return &indexes{now: now, known: map[string]knownIndex{}}
}

func (i *indexes) get(address string) (*index, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	known, ok := i.known[address]
	return known.index, ok && i.now().Before(known.expires)
}

func (i *indexes) put(address string, fresh *index) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	for other, known := range i.known {
		if len(i.known) >= maxIndexes || !now.Before(known.expires) {
			delete(i.known, other)
		}
	}
	i.known[address] = knownIndex{index: fresh, expires: now.Add(indexLifetime)}
}

// index returns the index of a repository.
func (s *Source) index(ctx context.Context, base string, who identity) (*index, error) {
	address, err := repo.ResolveReferenceURL(base, "index.yaml")
	if err != nil {
		return nil, fmt.Errorf("the address %q cannot be parsed", redact(base))
	}
	key := scopeOf(who.at(address)) + address
	if known, ok := s.indexes.get(key); ok {
		return known, nil
	}
	return s.indexes.flights.do(ctx, key, func(ctx context.Context) (*index, error) {
		file, err := s.get(ctx, request{address: address, who: who, limit: maxIndexBytes})
		if err != nil {
			return nil, err
		}
		parsed, err := parseIndex(file.data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", redact(address), err)
		}
		s.indexes.put(key, parsed)
		return parsed, nil
	})
}

// exact says whether a version is one version, not a constraint.
func exact(version string) bool {
	_, err := semver.StrictNewVersion(strings.TrimPrefix(version, "v"))
	return err == nil
}

func exactKey(ref bundlereader.ChartRef) string {
	return strings.Join([]string{"exact", identityOf(ref).scope(), ref.Repo, ref.Chart, ref.Version}, "\x00")
}
