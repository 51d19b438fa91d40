package charts

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
)

const (
	// downloadTimeout bounds one download, fetchTimeout all that one chart takes.
	downloadTimeout = 30 * time.Second
	fetchTimeout    = 50 * time.Second
	dialTimeout     = 10 * time.Second
	headerTimeout   = 20 * time.Second

	maxArchiveBytes = 20 << 20
	maxIndexBytes   = 50 << 20
	maxCacheBytes   = 1 << 30
	indexLifetime   = 30 * time.Second
)

// Source fetches charts. It is safe for concurrent use; a chart that is asked
// for several times at once is fetched once.
type Source struct {
	client  *http.Client
	cache   *cache
	indexes *indexes
	flights flights[archive]
}

var _ bundlereader.ChartSource = (*Source)(nil)

// New keeps archives below dir, which it creates if need be.
func New(dir string) (*Source, error) {
	c, err := newCache(dir, maxCacheBytes)
	if err != nil {
		return nil, err
	}
	return &Source{client: newClient(), cache: c, indexes: newIndexes(time.Now)}, nil
}

func newClient() *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           dialer.DialContext,
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: headerTimeout,
			IdleConnTimeout:       90 * time.Second,
			ForceAttemptHTTP2:     true,
		},
		CheckRedirect: checkRedirect,
	}
}

// refuseLinkLocal keeps addresses written into repositories away from the
// metadata services of clouds. No chart is served there.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err == nil && at.Addr().Unmap().IsLinkLocalUnicast() {
		return fmt.Errorf("the address %s is link-local, which is refused", at.Addr())
	}
	return nil
}

// Fetch returns the files of a chart; paths begin with the chart's name.
func (s *Source) Fetch(ctx context.Context, ref bundlereader.ChartRef) (map[string][]byte, error) {
	a, err := s.archive(ctx, ref)
	if err != nil {
		return nil, err
	}
	files, err := unpack(bytes.NewReader(a.data))
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
	key := strings.Join([]string{ref.Chart, ref.Repo, ref.Version}, "\x00")
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
	u, err := url.Parse(address(ref))
	if err != nil {
		return archive{}, fmt.Errorf("the address %q cannot be parsed", redact(address(ref)))
	}
	switch {
	case u.Scheme == "oci":
		return s.pull(ctx, ref)
	case u.Scheme != "http" && u.Scheme != "https":
		return archive{}, fmt.Errorf("%s: the protocol must be https, http or oci", redact(address(ref)))
	case ref.Repo == "":
		return s.downloadAddress(ctx, ref.Chart)
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
func (s *Source) downloadAddress(ctx context.Context, address string) (archive, error) {
	key := "address\x00" + address
	known, have := s.cache.get(key)
	a, err := s.get(ctx, request{address: address, limit: maxArchiveBytes, known: known})
	var unreachable *unreachableError
	switch {
	case err == nil:
		s.cache.put(key, a)
		return a, nil
	case have && asUnreachable(err, &unreachable):
		return known, nil
	default:
		return archive{}, err
	}
}

// downloadFromRepository looks a chart up in the repository's index.
func (s *Source) downloadFromRepository(ctx context.Context, ref bundlereader.ChartRef) (archive, error) {
	index, err := s.index(ctx, ref.Repo)
	if err != nil {
		return archive{}, err
	}
	found, err := index.find(ref.Repo, ref.Chart, ref.Version)
	if err != nil {
		return archive{}, err
	}
	if found.digest != "" {
		if a, ok := s.cache.get("digest\x00" + found.digest); ok {
			return a, nil
		}
	}
	a, err := s.get(ctx, request{address: found.address, limit: maxArchiveBytes})
	if err != nil {
		return archive{}, err
	}
	if found.digest == "" {
		return a, nil
	}
	if got := hexDigest(a.data); got != found.digest {
		return archive{}, fmt.Errorf("%s: the archive is not what the repository's index says: its digest is %s, not %s", redact(found.address), got, found.digest)
	}
	s.cache.put("digest\x00"+found.digest, a)
	return a, nil
}

// label names a chart for users, without the address that errors name anyway.
func label(ref bundlereader.ChartRef) string {
	if ref.Repo == "" || ref.Chart == "" {
		return "the chart"
	}
	return strings.TrimSpace("chart " + ref.Chart + " " + ref.Version)
}

// redact returns an address without what may be a credential.
func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		if before, after, ok := strings.Cut(address, "@"); ok && strings.Contains(before, "://") {
			return before[:strings.Index(before, "://")+3] + after
		}
		return address
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
