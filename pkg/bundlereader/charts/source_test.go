package charts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flotilla-gitops/flotilla/dev/chartserver"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/transport"
)

type ref = bundlereader.ChartRef

// pack makes an archive with the given files.
func pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	archive, err := chartserver.Archive(files)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// web is an archive of the chart "web".
func web(t testing.TB, version string) []byte {
	t.Helper()
	return pack(t, map[string]string{
		"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: " + version + "\n", "web/values.yaml": "version: " + version + "\n",
		"web/templates/web.yaml": "kind: ConfigMap\n", "web/charts/db/Chart.yaml": "name: db\nversion: 1.0.0\n",
	})
}

// server serves files and counts how often each is asked for.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked map[string]int
	next  http.HandlerFunc // if set, answers instead
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{files: map[string][]byte{}, asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked[r.URL.Path]++
		content, ok := s.files[r.URL.Path]
		next := s.next
		s.mu.Unlock()
		switch {
		case next != nil:
			next(w, r)
		case !ok:
			http.NotFound(w, r)
		default:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(path string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = content
}

func (s *server) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

// publish adds charts and an index that lists them.
func (s *server) publish(t testing.TB, versions ...string) {
	t.Helper()
	var listed []map[string]any
	for _, version := range versions {
		archive := web(t, version)
		s.serve("/web-"+version+".tgz", archive)
		listed = append(listed, map[string]any{"name": "web", "version": version, "urls": []string{"web-" + version + ".tgz"}, "digest": hexDigest(archive)})
	}
	s.index(t, listed)
}

func (s *server) index(t testing.TB, listed []map[string]any) {
	t.Helper()
	index, err := json.Marshal(map[string]any{"apiVersion": "v1", "entries": map[string]any{"web": listed}})
	if err != nil {
		t.Fatal(err)
	}
	s.serve("/index.yaml", index)
}

func newSource(t testing.TB) *Source {
	t.Helper()
	s, err := New(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// version fetches a chart and tells which version came.
func version(t testing.TB, s *Source, r ref) string {
	t.Helper()
	files, err := s.Fetch(context.Background(), r)
	if err != nil {
		t.Fatalf("Fetch(%+v): %v", r, err)
	}
	return strings.TrimSpace(strings.TrimPrefix(string(files["web/values.yaml"]), "version: "))
}

// wantError wants an error that says every part, and never a credential.
func wantError(t testing.TB, s *Source, r ref, parts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := s.Fetch(ctx, r)
	if err == nil {
		t.Fatalf("Fetch(%+v) succeeded", r)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the error %q holds a credential", err)
	}
	if len(err.Error()) > 1000 {
		t.Errorf("the error is %d bytes long", len(err.Error()))
	}
}

func TestFetchFiles(t *testing.T) {
	s := newServer(t)
	s.publish(t, "1.0.0")
	source := newSource(t)
	for _, r := range []ref{{Chart: "web", Repo: s.URL}, {Chart: s.URL + "/web-1.0.0.tgz"}} {
		files, err := source.Fetch(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"web/Chart.yaml", "web/charts/db/Chart.yaml", "web/templates/web.yaml", "web/values.yaml"}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(files))); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		name, archive, err := source.Archive(context.Background(), r)
		if err != nil || name != "web-1.0.0.tgz" || !bytes.Equal(archive, web(t, "1.0.0")) {
			t.Errorf("Archive = %q, %d bytes, %v", name, len(archive), err)
		}
	}
}

func TestVersions(t *testing.T) {
	s := newServer(t)
	s.publish(t, "1.0.0", "1.10.0", "1.9.3", "2.0.0-rc.1", "0.1.0", "1.2.0+build.5")
	for constraint, want := range map[string]string{
		"": "1.10.0", "1.0.0": "1.0.0", "~1.9": "1.9.3", "^1.0.0": "1.10.0", "<1.0.0": "0.1.0", ">=2.0.0-0": "2.0.0-rc.1", "*": "1.10.0", "1.2.0+build.5": "1.2.0+build.5", "1.x": "1.10.0",
	} {
		if got := version(t, newSource(t), ref{Chart: "web", Repo: s.URL + "/", Version: constraint}); got != want {
			t.Errorf("version %q gives %s, want %s", constraint, got, want)
		}
	}
}

func TestAddressesInTheIndex(t *testing.T) {
	other := newServer(t)
	other.serve("/elsewhere/web.tgz", web(t, "3.0.0"))
	for _, tc := range []struct{ address, want string }{
		{"charts/web.tgz", "1.0.0"}, {"/top/web.tgz", "2.0.0"}, {other.URL + "/elsewhere/web.tgz", "3.0.0"},
	} {
		s := newServer(t)
		s.serve("/sub/charts/web.tgz", web(t, "1.0.0"))
		s.serve("/top/web.tgz", web(t, "2.0.0"))
		s.serve("/sub/index.yaml", []byte("apiVersion: v1\nentries:\n  web:\n  - version: "+tc.want+"\n    urls: ["+tc.address+"]\n"))
		if got := version(t, newSource(t), ref{Chart: "web", Repo: s.URL + "/sub"}); got != tc.want {
			t.Errorf("%s gives %s, want %s", tc.address, got, tc.want)
		}
	}
}

func TestWhatCannotBeFetched(t *testing.T) {
	s := newServer(t)
	s.publish(t, "1.0.0")
	s.serve("/page/index.yaml", []byte("<html>hello</html>"))
	s.serve("/list/index.yaml", []byte("- a\n"))
	s.serve("/none/index.yaml", []byte("apiVersion: v1\n"))
	s.serve("/file/index.yaml", []byte("apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: ['file:///etc/passwd']}]}\n"))
	s.serve("/empty/index.yaml", []byte("apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: []}, null]}\n"))
	s.serve("/digest/index.yaml", []byte("apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: ['/web-1.0.0.tgz'], digest: 'sha256:00'}]}\n"))
	s.serve("/gone/index.yaml", []byte("apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: [web.tgz]}]}\n"))
	s.serve("/text.tgz", []byte("not an archive"))
	gone := httptest.NewServer(nil)
	gone.Close()
	withUser := strings.Replace(s.URL, "://", "://canary:canary-password@", 1)

	for _, tc := range []struct {
		name string
		ref  ref
		says []string
	}{
		{"no such chart", ref{Chart: "db", Repo: s.URL}, []string{s.URL, `no chart "db"`}},
		{"no such version", ref{Chart: "web", Repo: s.URL, Version: "9.9.9"}, []string{s.URL, `no version "9.9.9"`}},
		{"no constraint", ref{Chart: "web", Repo: s.URL, Version: "not a version"}, []string{`no version "not a version"`}},
		{"no name", ref{Repo: s.URL}, []string{"helm.chart"}},
		{"no index", ref{Chart: "web", Repo: s.URL + "/nothing"}, []string{s.URL + "/nothing/index.yaml", "404"}},
		{"a page for an index", ref{Chart: "web", Repo: s.URL + "/page"}, []string{"/page/index.yaml", "not the index"}},
		{"a list for an index", ref{Chart: "web", Repo: s.URL + "/list"}, []string{"not the index"}},
		{"an empty index", ref{Chart: "web", Repo: s.URL + "/none"}, []string{"lists no charts"}},
		{"a file in the index", ref{Chart: "web", Repo: s.URL + "/file"}, []string{"cannot be used"}},
		{"an entry without addresses", ref{Chart: "web", Repo: s.URL + "/empty"}, []string{`no chart "web"`}},
		{"another archive than listed", ref{Chart: "web", Repo: s.URL + "/digest"}, []string{"/web-1.0.0.tgz", "its digest is"}},
		{"an archive that is not there", ref{Chart: "web", Repo: s.URL + "/gone"}, []string{s.URL + "/gone/web.tgz", "404"}},
		{"an address that is not there", ref{Chart: s.URL + "/none.tgz"}, []string{s.URL + "/none.tgz", "404"}},
		{"not an archive", ref{Chart: s.URL + "/text.tgz"}, []string{s.URL + "/text.tgz", "not a chart archive"}},
		{"nobody listens", ref{Chart: "web", Repo: gone.URL}, []string{gone.URL + "/index.yaml", "connection refused"}},
		{"no such host", ref{Chart: "http://no-such-host.invalid/web.tgz"}, []string{"http://no-such-host.invalid/web.tgz", "no-such-host.invalid"}},
		{"another protocol", ref{Chart: "web", Repo: "ftp://example.test"}, []string{"ftp://example.test", "must be https"}},
		{"a file", ref{Chart: "file:///etc/passwd"}, []string{"must be https"}},
		{"no address", ref{Chart: "://"}, []string{"cannot be parsed"}},
		{"link-local", ref{Chart: "http://169.254.169.254/latest/web.tgz"}, []string{"169.254.169.254", "link-local"}},
		{"link-local in disguise", ref{Chart: "http://[::ffff:169.254.169.254]/web.tgz"}, []string{"link-local"}},
		{"a password, and no chart", ref{Chart: "db", Repo: withUser}, []string{`no chart "db"`}},
		{"a password, and no index", ref{Chart: "web", Repo: withUser + "/nothing"}, []string{"404"}},
		{"a password, and no address", ref{Chart: "http://canary:canary%zz@h/web.tgz"}, []string{"cannot be parsed"}},
		{"a token in the query", ref{Chart: s.URL + "/none.tgz?token=canary"}, []string{"404"}},
		{"a registry that is not there", ref{Repo: "oci://" + strings.TrimPrefix(gone.URL, "http://") + "/web"}, []string{"oci://", "connection refused"}},
		{"a registry without chart", ref{Repo: "oci://example.test"}, []string{"oci://example.test"}},
	} {
		t.Run(tc.name, func(t *testing.T) { wantError(t, newSource(t), tc.ref, tc.says...) })
	}
}

func TestServerThatMisbehaves(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for _, tc := range []struct {
		name string
		next http.HandlerFunc
		says string
	}{
		{"an error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }, "502"},
		{"credentials wanted", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "wants credentials"},
		{"a loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "too often"},
		{"a redirect to a file", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, "redirects from http to file"},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "half")
		}, "unexpected EOF"},
		{"an endless answer", func(w http.ResponseWriter, _ *http.Request) {
			for block := bytes.Repeat([]byte("x"), 1<<20); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, "more than"},
		{"silence", func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}, "deadline exceeded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newServer(t)
			s.next = tc.next
			source := newSource(t)
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			if tc.name == "silence" {
				ctx, cancel = context.WithTimeout(context.Background(), 100*time.Millisecond)
			}
			defer cancel()
			_, err := source.Fetch(ctx, ref{Chart: s.URL + "/web.tgz"})
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want an error that says %q", err, tc.says)
			}
		})
	}
}

// trust has a source trust a certificate as if the system did.
func trust(t *testing.T, s *Source, certificate *x509.Certificate) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	trustIn(t, s, roots)
}

func trustIn(t *testing.T, s *Source, roots *x509.CertPool) {
	t.Helper()
	pool, err := s.pools.Get(transport.Trust{})
	if err != nil {
		t.Fatal(err)
	}
	pool.TLSClientConfig.RootCAs = roots
}

func TestRedirectOutOfTLS(t *testing.T) {
	plain := newServer(t)
	plain.serve("/web.tgz", web(t, "1.0.0"))
	secure := httptest.NewUnstartedServer(http.RedirectHandler(plain.URL+"/web.tgz", http.StatusFound))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	source := newSource(t)
	wantError(t, source, ref{Chart: secure.URL + "/web.tgz"}, "certificate")
	trust(t, source, secure.Certificate())
	wantError(t, source, ref{Chart: secure.URL + "/web.tgz"}, "redirects from https to http")
}

func TestHostileArchives(t *testing.T) {
	chart := "apiVersion: v2\nname: web\nversion: 1.0.0\n"
	for name, tc := range map[string]struct {
		files map[string]string
		says  string
	}{
		"no Chart.yaml":            {map[string]string{"web/values.yaml": "a: 1"}, "no Chart.yaml"},
		"a Chart.yaml that is not": {map[string]string{"web/Chart.yaml": "{"}, "cannot be parsed"},
		"a name that climbs":       {map[string]string{"web/Chart.yaml": "name: ../../etc\nversion: 1.0.0\n"}, "no valid name"},
		"a hidden name":            {map[string]string{"web/Chart.yaml": "name: .git\nversion: 1.0.0\n"}, "no valid name"},
		"no version":               {map[string]string{"web/Chart.yaml": "name: web\n"}, "no valid name and version"},
		"a path that climbs":       {map[string]string{"web/Chart.yaml": chart, "web/../../x": "x"}, "not a chart archive"},
		"an absolute path":         {map[string]string{"web/Chart.yaml": chart, "web//etc/passwd": "x"}, "not a chart archive"},
		"a file too large":         {map[string]string{"web/Chart.yaml": chart, "web/x": strings.Repeat("0", 6<<20)}, "not a chart archive"},
		"nothing":                  {nil, "not a chart archive"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.serve("/web.tgz", pack(t, tc.files))
			wantError(t, newSource(t), ref{Chart: s.URL + "/web.tgz"}, tc.says)
		})
	}
}

func TestExactVersionsAreFetchedOnce(t *testing.T) {
	s := newServer(t)
	s.publish(t, "1.0.0", "1.1.0")
	dir := t.TempDir()
	source, err := New(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	exactly := ref{Chart: "web", Repo: s.URL, Version: "1.0.0"}
	for range 3 {
		version(t, source, exactly)
	}
	if n := s.count("/web-1.0.0.tgz"); n != 1 {
		t.Errorf("the archive was fetched %d times", n)
	}
	s.Close()
	again, err := New(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := version(t, again, exactly); got != "1.0.0" {
		t.Errorf("without server: %s", got)
	}
	wantError(t, again, ref{Chart: "web", Repo: s.URL, Version: "1.1.0"}, "connection refused")
}

// A constraint is resolved anew; an archive that is known is not fetched again.
func TestConstraintsFollowTheIndex(t *testing.T) {
	s := newServer(t)
	s.publish(t, "1.0.0")
	source := newSource(t)
	now := time.Now()
	source.indexes.now = func() time.Time { return now }
	latest := ref{Chart: "web", Repo: s.URL, Version: "1.x"}
	for range 2 {
		version(t, source, latest)
	}
	if n := s.count("/index.yaml"); n != 1 {
		t.Errorf("the index was fetched %d times within a moment", n)
	}
	now = now.Add(2 * indexLifetime)
	version(t, source, latest)
	if index, archive := s.count("/index.yaml"), s.count("/web-1.0.0.tgz"); index != 2 || archive != 1 {
		t.Errorf("later, the index was fetched %d times and the archive %d times", index, archive)
	}
	s.publish(t, "1.0.0", "1.1.0")
	now = now.Add(2 * indexLifetime)
	if got := version(t, source, latest); got != "1.1.0" {
		t.Errorf("a new version is not seen: %s", got)
	}
}

// A plain address may come to hold something else; as long as it does not
// answer, it holds what it held.
func TestPlainAddressesAreAskedAgain(t *testing.T) {
	s := newServer(t)
	archive := atomic.Pointer[[]byte]{}
	full := atomic.Int64{}
	set := func(version string) {
		content := web(t, version)
		archive.Store(&content)
	}
	set("1.0.0")
	s.next = func(w http.ResponseWriter, r *http.Request) {
		content := *archive.Load()
		tag := `"` + hexDigest(content) + `"`
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		full.Add(1)
		_, _ = w.Write(content)
	}
	source := newSource(t)
	plain := ref{Chart: s.URL + "/web.tgz"}
	for range 3 {
		version(t, source, plain)
	}
	if n := full.Load(); n != 1 {
		t.Errorf("the archive came %d times", n)
	}
	set("2.0.0")
	if got := version(t, source, plain); got != "2.0.0" {
		t.Errorf("a new archive is not seen: %s", got)
	}
	answer := func(status int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.next = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	answer(http.StatusServiceUnavailable)
	if got := version(t, source, plain); got != "2.0.0" {
		t.Errorf("a server that does not answer: %s", got)
	}
	answer(http.StatusNotFound)
	wantError(t, source, plain, "404")
}

func TestConcurrentFetchesDownloadOnce(t *testing.T) {
	s := newServer(t)
	s.publish(t, "1.0.0", "1.1.0")
	source := newSource(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			want := []string{"1.0.0", "1.1.0"}[i%2]
			if got := version(t, source, ref{Chart: "web", Repo: s.URL, Version: want}); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
	wg.Wait()
	for _, path := range []string{"/index.yaml", "/web-1.0.0.tgz", "/web-1.1.0.tgz"} {
		if n := s.count(path); n != 1 {
			t.Errorf("%s was fetched %d times", path, n)
		}
	}
}

// One caller that goes away takes nothing from the others; when all are gone,
// the work ends, too.
func TestFlights(t *testing.T) {
	var g flights[int]
	release, ended := make(chan struct{}), make(chan struct{})
	work := func(ctx context.Context) (int, error) {
		select {
		case <-release:
			return 7, nil
		case <-ctx.Done():
			close(ended)
			return 0, ctx.Err()
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	first, second := make(chan error), make(chan int)
	go func() {
		_, err := g.do(ctx, "a", work)
		first <- err
	}()
	for g.waiting("a") < 1 {
		runtime.Gosched()
	}
	go func() {
		got, _ := g.do(context.Background(), "a", work)
		second <- got
	}()
	for g.waiting("a") < 2 {
		runtime.Gosched()
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that went away got %v", err)
	}
	close(release)
	if got := <-second; got != 7 {
		t.Errorf("the caller that stayed got %d", got)
	}

	release = make(chan struct{})
	ctx, cancel = context.WithCancel(context.Background())
	go func() {
		_, err := g.do(ctx, "b", work)
		first <- err
	}()
	for g.waiting("b") < 1 {
		runtime.Gosched()
	}
	cancel()
	<-first
	<-ended
	if n := g.waiting("b"); n != 0 {
		t.Errorf("%d are still waiting", n)
	}
}

func (g *flights[T]) waiting(key string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f, ok := g.all[key]; ok {
		return f.waiting
	}
	return 0
}

func TestCache(t *testing.T) {
	dir := t.TempDir()
	c, err := newCache(dir, 250)
	if err != nil {
		t.Fatal(err)
	}
	want := archive{data: bytes.Repeat([]byte("a"), 100), etag: "e", modified: "m"}
	c.put("a", want)
	if got, ok := c.get("a"); !ok || !bytes.Equal(got.data, want.data) || got.etag != "e" || got.modified != "m" {
		t.Errorf("get = %v, %v", got, ok)
	}
	if _, ok := c.get("b"); ok {
		t.Error("something that was never put is there")
	}
	for name, damage := range map[string]func(string) error{
		"wrong bits": func(f string) error { return os.WriteFile(f, bytes.Repeat([]byte("b"), 100), 0o600) },
		"cut off":    func(f string) error { return os.Truncate(f, 50) },
		"gone":       os.Remove,
	} {
		for _, suffix := range []string{dataSuffix, noteSuffix} {
			c.put("a", want)
			if err := damage(c.path("a", suffix)); err != nil {
				t.Fatal(err)
			}
			if _, ok := c.get("a"); ok {
				t.Errorf("%s %s: the archive is returned all the same", suffix, name)
			}
		}
	}
	old := time.Now().Add(-time.Hour)
	c.put("old", archive{data: bytes.Repeat([]byte("o"), 100)})
	if err := os.Chtimes(c.path("old", dataSuffix), old, old); err != nil {
		t.Fatal(err)
	}
	c.put("a", want)
	c.put("new", archive{data: bytes.Repeat([]byte("n"), 100)})
	if _, ok := c.get("old"); ok {
		t.Error("the cache grows beyond its limit")
	}
	if _, ok := c.get("new"); !ok {
		t.Error("the cache dropped what was used last")
	}
	if err := os.WriteFile(filepath.Join(dir, tempPrefix+"x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newCache(dir, 250); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, tempPrefix+"*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// registry is the part of an OCI registry that serves one chart.
type registry struct {
	tags  []string
	blobs map[string][]byte // by digest
	by    map[string]string // manifest digest by tag
	asked atomic.Int64
}

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	const base = "/v2/charts/web/"
	path, ok := strings.CutPrefix(req.URL.Path, base)
	switch kind, name, _ := strings.Cut(path, "/"); {
	case ok && kind == "tags":
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "charts/web", "tags": r.tags})
	case ok && (kind == "manifests" || kind == "blobs"):
		digest := name
		if known, isTag := r.by[name]; isTag {
			digest = known
		}
		content, known := r.blobs[digest]
		if !known {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)
			return
		}
		if kind == "blobs" {
			r.asked.Add(1)
		} else {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		}
		w.Header().Set("Docker-Content-Digest", digest)
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(content))
	default:
		http.NotFound(w, req)
	}
}

func (r *registry) blob(content []byte) string {
	sum := sha256.Sum256(content)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	r.blobs[digest] = content
	return digest
}

func (r *registry) push(t testing.TB, tag, mediaType string, archive []byte, size int) {
	t.Helper()
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": r.blob([]byte("{}")), "size": 2},
		"layers": []any{map[string]any{"mediaType": mediaType, "digest": r.blob(archive), "size": size}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.tags, r.by[tag] = append(r.tags, tag), r.blob(manifest)
}

func TestRegistry(t *testing.T) {
	const chartType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	r := &registry{blobs: map[string][]byte{}, by: map[string]string{}}
	for _, v := range []string{"1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1", "1.2.0+b5"} {
		r.push(t, strings.ReplaceAll(v, "+", "_"), chartType, web(t, v), len(web(t, v)))
	}
	r.push(t, "9.0.0", "application/vnd.oci.image.layer.v1.tar+gzip", []byte("an image"), 8)
	r.push(t, "8.0.0", chartType, []byte("small"), 1<<40)
	r.push(t, "7.0.0", chartType, []byte("other"), 3)
	r.tags = append(r.tags, "latest", "v1.11.0")
	server := httptest.NewTLSServer(r)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "https://")
	source := newSource(t)
	trust(t, source, server.Certificate())

	for _, tc := range []struct {
		ref  ref
		want string
	}{
		{ref{Repo: "oci://" + host + "/charts/web", Version: "1.0.0"}, "1.0.0"},
		{ref{Repo: "oci://" + host + "/charts", Chart: "web", Version: "1.9.0"}, "1.9.0"},
		{ref{Repo: "oci://" + host + "/charts/web", Chart: "web", Version: "<2.0.0"}, "1.10.0"},
		{ref{Chart: "oci://" + host + "/charts/web", Version: "~1.9.0"}, "1.9.0"},
		{ref{Chart: "oci://" + host + "/charts/web", Version: "1.2.0+b5"}, "1.2.0+b5"},
		{ref{Chart: "oci://" + host + "/charts/web:1.9.0"}, "1.9.0"},
		{ref{Chart: "oci://" + host + "/charts/web@" + r.by["1.10.0"]}, "1.10.0"},
		{ref{Repo: "oci://" + host + "/charts/web", Version: ">=2.0.0-0, <3.0.0"}, "2.0.0-rc.1"},
	} {
		if got := version(t, source, tc.ref); got != tc.want {
			t.Errorf("%+v gives %s, want %s", tc.ref, got, tc.want)
		}
	}
	before := r.asked.Load()
	version(t, source, ref{Repo: "oci://" + host + "/charts/web", Version: "<2.0.0"})
	if r.asked.Load() != before {
		t.Error("an archive that is known was fetched again")
	}
	for v, says := range map[string]string{
		"3.0.0": "not found", "^5.0.0": `no version "^5.0.0"`, "nonsense!": "neither a version nor a constraint",
		"9.0.0": "not a chart", "8.0.0": "the limit is", "7.0.0": "oci://",
	} {
		wantError(t, source, ref{Repo: "oci://" + host + "/charts/web", Version: v}, "oci://"+host+"/charts/web", says)
	}
}
