package charts

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/transport"
)

const (
	// downloadTimeout bounds one download, fetchTimeout all that one chart takes.
	downloadTimeout = 30 * time.Second
	fetchTimeout    = 50 * time.Second
	headerTimeout   = 20 * time.Second

	maxArchiveBytes = 20 << 20
	maxIndexBytes   = 50 << 20
	maxCacheBytes   = 1 << 30
	indexLifetime   = 30 * time.Second
)

// Source fetches charts. It is safe for concurrent use; a chart that is asked
// for several times at once is fetched once.
type Source struct {
	pools        *transport.Pools
	repositories Repositories
	cache        *cache
	indexes      *indexes
	flights      flights[archive]
}

var _ bundlereader.ChartSource = (*Source)(nil)

// New keeps archives below dir, which it creates if need be. repositories are
// for charts in Git; without them these are errors.
func New(dir string, repositories Repositories) (*Source, error) {
	c, err := newCache(dir, maxCacheBytes)
	if err != nil {
		return nil, err
	}
	return &Source{pools: transport.NewPools(headerTimeout), repositories: repositories, cache: c, indexes: newIndexes(time.Now)}, nil
}

// Fetch returns the files of a chart; paths begin with the chart's name.
func (s *Source) Fetch(ctx context.Context, ref bundlereader.ChartRef) (map[string][]byte, error) {
	files, err := s.fetch(ctx, ref)
	if err != nil {
		return nil, err
	}
	return files, nil
}

func (s *Source) fetch(ctx context.Context, ref bundlereader.ChartRef) (map[string][]byte, error) {
	folder := "."
	if ref.Repo == "" {
		o, err := parseOrigin(ref.Chart)
		if err != nil {
			return nil, fmt.Errorf("fetching the chart: %s: %w", redact(ref.Chart), err)
		}
		if o.way == byGit {
			files, err := s.clone(ctx, o, identityOf(ref))
			if err != nil {
				return nil, fmt.Errorf("fetching the chart: %s: %w", redact(ref.Chart), err)
			}
			return files, nil
		}
		folder = o.folder
	}
	a, err := s.archive(ctx, ref)
	if err != nil {
		return nil, err
	}
	files, err := unpackChart(a.data, folder)
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %s: %w", label(ref), redact(address(ref)), err)
	}
	return files, nil
}

// Archive returns a chart as it is published, and its usual file name.
func (s *Source) Archive(ctx context.Context, ref bundlereader.ChartRef) (string, []byte, error) {
	a, err := s.archive(ctx, ref)
	if err != nil {
		return "", nil, err
	}
	name, err := archiveName(bytes.NewReader(a.data))
	if err != nil {
		return "", nil, fmt.Errorf("unpacking %s: %s: %w", label(ref), redact(address(ref)), err)
	}
	return name, a.data, nil
}

// archive fetches a chart's archive, or waits for whoever is fetching it.
func (s *Source) archive(ctx context.Context, ref bundlereader.ChartRef) (archive, error) {
	key := strings.Join([]string{identityOf(ref).scope(), ref.Chart, ref.Repo, ref.Version}, "\x00")
	a, err := s.flights.do(ctx, key, func(ctx context.Context) (archive, error) {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		return s.find(ctx, ref)
	})
	if err != nil {
		return archive{}, fmt.Errorf("fetching %s: %w", label(ref), err)
	}
	return a, nil
}

// archive is a chart as it is published.
type archive struct {
	data []byte
	// etag and modified are what the server says to recognise it by.
	etag, modified string
}

// find goes where the reference points to.
func (s *Source) find(ctx context.Context, ref bundlereader.ChartRef) (archive, error) {
	if exact(ref.Version) && ref.Repo != "" {
		if a, ok := s.cache.get(exactKey(ref)); ok {
			return a, nil
		}
	}
	a, err := s.download(ctx, ref)
	if err == nil && exact(ref.Version) && ref.Repo != "" {
		s.cache.put(exactKey(ref), a)
	}
	return a, err
}

func (s *Source) download(ctx context.Context, ref bundlereader.ChartRef) (archive, error) {
	o, err := parseOrigin(address(ref))
	switch {
	case err != nil:
		return archive{}, fmt.Errorf("%s: %w", redact(address(ref)), err)
	case o.way == byRegistry:
		return s.pull(ctx, ref)
	case o.way == byGit:
		return archive{}, fmt.Errorf("%s: a Git repository is no repository of charts: name it in helm.chart, without helm.repo", redact(address(ref)))
	case ref.Repo == "":
		return s.downloadAddress(ctx, o, identityOf(ref))
	default:
		return s.downloadFromRepository(ctx, ref)
	}
}

// address is where a reference points to: a repository, or a chart.
func address(ref bundlereader.ChartRef) string {
	if ref.Repo != "" {
		return ref.Repo
	}
	return ref.Chart
}

// downloadAddress fetches an archive from a plain address. What was fetched
// before is used if the server says that it still holds, or says nothing.
func (s *Source) downloadAddress(ctx context.Context, o origin, who identity) (archive, error) {
	key := strings.Join([]string{"address", scopeOf(who.at(o.url)), o.url}, "\x00")
	known, have := s.cache.get(key)
	if have && o.sum != nil && o.sum.check(known.data) == nil {
		return known, nil
	}
	a, err := s.get(ctx, request{address: o.url, who: who, limit: maxArchiveBytes, known: known})
	var unreachable *unreachableError
	if have && asUnreachable(err, &unreachable) {
		a, err = known, nil
	}
	if err != nil {
		return archive{}, err
	}
	if err := o.sum.check(a.data); err != nil {
		return archive{}, fmt.Errorf("%s: %w", redact(o.url), err)
	}
	s.cache.put(key, a)
	return a, nil
}

// downloadFromRepository looks a chart up in the repository's index.
func (s *Source) downloadFromRepository(ctx context.Context, ref bundlereader.ChartRef) (archive, error) {
	who := identityOf(ref)
	index, err := s.index(ctx, ref.Repo, who)
	if err != nil {
		return archive{}, err
	}
	found, err := index.find(ref.Repo, ref.Chart, ref.Version)
	if err != nil {
		return archive{}, err
	}
	if found.digest != "" {
		if a, ok := s.cache.get(digestKey(who.at(found.address), found.digest)); ok {
			return a, nil
		}
	}
	a, err := s.get(ctx, request{address: found.address, who: who, limit: maxArchiveBytes})
	if err != nil {
		return archive{}, err
	}
	if found.digest == "" {
		return a, nil
	}
	if got := hexDigest(a.data); got != found.digest {
		return archive{}, fmt.Errorf("%s: the archive is not what the repository's index says: its digest is %s, not %s", redact(found.address), got, found.digest)
	}
	s.cache.put(digestKey(who.at(found.address), found.digest), a)
	return a, nil
}

// digestKey names an archive by its digest. Who knows a digest need not have
// been let in where it is from.
func digestKey(shown *bundlereader.ChartAuth, digest string) string {
	return strings.Join([]string{"digest", scopeOf(shown), digest}, "\x00")
}

// label names a chart for users, without the address that errors name anyway.
func label(ref bundlereader.ChartRef) string {
	if ref.Repo == "" || ref.Chart == "" {
		return "the chart"
	}
	return strings.TrimSpace("chart " + ref.Chart + " " + ref.Version)
}

// redact returns an address without what may be a credential: user, password,
// query and fragment.
func redact(address string) string {
	way := ""
	if m := forced.FindStringSubmatch(address); m != nil {
		way, address = m[1]+"::", m[2]
	}
	u, err := url.Parse(address)
	if err == nil && u.Opaque == "" && u.Scheme != "" {
		u.User, u.RawQuery, u.Fragment, u.ForceQuery = nil, "", "", false
		return way + u.String()
	}
	// It is no URL; what looks like credentials goes all the same.
	address, _, _ = strings.Cut(address, "?")
	address, _, _ = strings.Cut(address, "#")
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		scheme, rest = "", address
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = rest[at+1:]
	}
	if found {
		scheme += "://"
	}
	return way + scheme + rest
}
