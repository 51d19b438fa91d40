package charts

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
)

// guarded serves what a server has to those who know the password, and notes who
// asked for what with which.
type guarded struct {
	*httptest.Server
	mu    sync.Mutex
	shown map[string]string // Authorization by path
}

func newGuarded(t *testing.T, next http.Handler, tls bool) *guarded {
	t.Helper()
	g := &guarded{shown: map[string]string{}}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		g.mu.Lock()
		g.shown[r.URL.Path] = user + ":" + password
		g.mu.Unlock()
		if user != "canary-user" || password != "canary-password" {
			w.Header().Set("WWW-Authenticate", `Basic realm="charts"`)
			http.Error(w, "canary: who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	if tls {
		g.Server = startTLS(handler)
	} else {
		g.Server = httptest.NewServer(handler)
	}
	t.Cleanup(g.Close)
	return g
}

func (g *guarded) saw(path string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shown[path]
}

const letIn = "canary-user:canary-password"

// TestPrivateRepository: a chart repository that wants credentials, and what is
// said to those who have none, or others.
func TestPrivateRepository(t *testing.T) {
	files := newServer(t)
	files.publish(t, "1.0.0", "1.1.0")
	g := newGuarded(t, files.Config.Handler, true)
	trust := func(a *bundlereader.ChartAuth) { a.CACerts = caOf(g.Server) }
	at := ref{Chart: "web", Repo: g.URL, Version: "1.0.0"}
	with := func(r ref, pattern string, change func(*bundlereader.ChartAuth)) ref {
		r.Auth = authFor(t, pattern, change)
		return r
	}
	own := "https://127\\.0\\.0\\.1:[0-9]+/"
	for name, r := range map[string]ref{
		"the repository":           at,
		"a constraint":             {Chart: "web", Repo: g.URL + "/", Version: "~1.0"},
		"the address of a chart":   {Chart: g.URL + "/web-1.0.0.tgz"},
		"the same, by git's forms": {Chart: "https::" + g.URL + "/web-1.0.0.tgz"},
	} {
		if got := version(t, newSource(t), with(r, own, trust)); got != "1.0.0" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := version(t, newSource(t), with(at, g.URL+"$", trust)); got != "1.0.0" {
		t.Errorf("a pattern for the repository as it is named: %s", got)
	}
	for name, tc := range map[string]struct {
		ref  ref
		says []string
	}{
		"another password": {with(at, own, func(a *bundlereader.ChartAuth) {
			trust(a)
			a.Password = "canary-wrong"
		}), []string{g.URL + "/index.yaml", "401", "refuses the credentials of the GitRepo's Secret"}},
		"no trust": {with(at, own, nil), []string{"certificate", "under the key cacerts"}},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, newSource(t), tc.ref, tc.says...) })
	}
	plain := newGuarded(t, files.Config.Handler, false)
	at.Repo = plain.URL
	wantError(t, newSource(t), at, "401", "name a Secret with them in spec.helmSecretName")
	for _, pattern := range []string{"", "https://", "http://example\\.test", "http://127.0.0", "http://127\\.0\\.0\\.1", "x" + plain.URL} {
		wantError(t, newSource(t), with(at, pattern, nil), "401", "were not sent, because spec.helmRepoURLRegex")
	}
	if saw := plain.saw("/index.yaml"); saw != ":" {
		t.Errorf("the server was shown %q", saw)
	}
}

// TestCredentialsStayAtHome: neither a redirect nor an index takes credentials
// to a server that they are not for.
func TestCredentialsStayAtHome(t *testing.T) {
	files := newServer(t)
	files.publish(t, "1.0.0")
	away := newGuarded(t, files.Config.Handler, false)
	files.serve("/away/index.yaml", []byte("apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: ['"+away.URL+"/web-1.0.0.tgz']}]}\n"))
	home := newGuarded(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/sends"):
			http.Redirect(w, r, away.URL+r.URL.Path, http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/round"):
			http.Redirect(w, r, "/web-1.0.0.tgz", http.StatusFound)
		default:
			files.Config.Handler.ServeHTTP(w, r)
		}
	}), false)
	atHome := authFor(t, home.URL, nil)

	wantError(t, newSource(t), ref{Chart: "web", Repo: home.URL + "/sends", Version: "1.0.0", Auth: atHome}, "401")
	wantError(t, newSource(t), ref{Chart: home.URL + "/sends.tgz", Auth: atHome}, "401")
	wantError(t, newSource(t), ref{Chart: "web", Repo: home.URL + "/away", Version: "1.0.0", Auth: atHome}, "401", "were not sent")
	if diff := cmp.Diff(map[string]string{"/sends/index.yaml": ":", "/sends.tgz": ":", "/web-1.0.0.tgz": ":"}, away.shown); diff != "" {
		t.Errorf("what the other server was shown (-want +got)\n%s", diff)
	}
	if got := version(t, newSource(t), ref{Chart: home.URL + "/round", Auth: atHome}); got != "1.0.0" || home.saw("/web-1.0.0.tgz") != letIn {
		t.Errorf("a redirect within the server: %s, shown %s", got, home.saw("/web-1.0.0.tgz"))
	}
	both := authFor(t, "http://127\\.0\\.0\\.1:[0-9]+", nil)
	if got := version(t, newSource(t), ref{Chart: "web", Repo: home.URL + "/away", Version: "1.0.0", Auth: both}); got != "1.0.0" {
		t.Errorf("an archive elsewhere that the pattern names: %s", got)
	}
}

// TestCacheKeepsIdentitiesApart: what somebody was let in for is not given from
// the cache to those who were not.
func TestCacheKeepsIdentitiesApart(t *testing.T) {
	files := newServer(t)
	files.publish(t, "1.0.0")
	g := newGuarded(t, files.Config.Handler, false)
	public := newServer(t)
	archive := web(t, "1.0.0")
	public.index(t, []map[string]any{{"name": "web", "version": "1.0.0", "urls": []string{"gone.tgz"}, "digest": hexDigest(archive)}})
	source := newSource(t)
	knows := authFor(t, g.URL, nil)
	for _, r := range []ref{{Chart: "web", Repo: g.URL, Version: "1.0.0"}, {Chart: g.URL + "/web-1.0.0.tgz"}} {
		stranger := r
		r.Auth = knows
		version(t, source, r)
		wantError(t, source, stranger, "401")
		stranger.Auth = authFor(t, g.URL, func(a *bundlereader.ChartAuth) { a.Password = "canary-other" })
		wantError(t, source, stranger, "401")
	}
	// Somebody lists the digest of the archive in an index of their own.
	wantError(t, source, ref{Chart: "web", Repo: public.URL, Version: "1.0.0"}, "404")
	before := files.count("/web-1.0.0.tgz")
	version(t, source, ref{Chart: "web", Repo: g.URL, Version: "1.0.0", Auth: authFor(t, g.URL, nil)})
	if got := files.count("/web-1.0.0.tgz"); got != before {
		t.Error("the same credentials, read again, do not share what they are let in for")
	}
}
