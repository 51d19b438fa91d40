package charts

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/flotilla-gitops/flotilla/dev/chartserver"
	"github.com/flotilla-gitops/flotilla/dev/controlplane/pki"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
)

// privateRegistry is a registry with one user, and the chart "web" in charts/web.
func privateRegistry(t *testing.T, withTLS bool, versions ...string) *chartserver.Registry {
	t.Helper()
	logrus.SetOutput(io.Discard)
	t.Cleanup(func() { logrus.SetOutput(os.Stderr) })
	server, err := chartserver.StartRegistry(chartserver.Options{Username: "canary-user", Password: "canary-password", TLS: withTLS, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, v := range versions {
		if err := server.Push("charts/web", v, web(t, v)); err != nil {
			t.Fatal(err)
		}
	}
	return server
}

func authFor(t testing.TB, pattern string, change func(*bundlereader.ChartAuth)) *bundlereader.ChartAuth {
	t.Helper()
	allowed, err := bundlereader.NewAddresses(pattern)
	if err != nil {
		t.Fatal(err)
	}
	a := &bundlereader.ChartAuth{Username: "canary-user", Password: "canary-password", Allowed: allowed}
	if change != nil {
		change(a)
	}
	return a
}

func caOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// TestPrivateRegistry: a real registry that wants credentials, over TLS.
func TestPrivateRegistry(t *testing.T) {
	server := privateRegistry(t, true, "1.0.0", "1.10.0", "2.0.0-rc.1", "1.2.0+b5")
	address := "oci://" + server.Address() + "/charts"
	all := ".*"
	trust := func(a *bundlereader.ChartAuth) { a.CACerts = server.CA() }

	for _, tc := range []struct {
		ref  ref
		want string
	}{
		{ref{Repo: address + "/web", Version: "1.0.0"}, "1.0.0"},
		{ref{Repo: address, Chart: "web", Version: "^1.0.0"}, "1.10.0"},
		{ref{Repo: address + "/web"}, "1.10.0"},
		{ref{Chart: address + "/web", Version: "1.2.0+b5"}, "1.2.0+b5"},
		{ref{Chart: address + "/web", Version: ">=2.0.0-0"}, "2.0.0-rc.1"},
	} {
		tc.ref.Auth = authFor(t, "oci://127\\.0\\.0\\.1", trust)
		tc.ref.Auth.Allowed, _ = bundlereader.NewAddresses(address)
		if got := version(t, newSource(t), tc.ref); got != tc.want {
			t.Errorf("%+v gives %s, want %s", tc.ref, got, tc.want)
		}
	}

	web := ref{Repo: address + "/web", Version: "1.0.0"}
	with := func(a *bundlereader.ChartAuth) ref {
		r := web
		r.Auth = a
		return r
	}
	for name, tc := range map[string]struct {
		ref  ref
		says string
	}{
		"no credentials, no trust": {web, "under the key cacerts"},
		"another password": {with(authFor(t, all, func(a *bundlereader.ChartAuth) {
			trust(a)
			a.Password = "canary-wrong"
		})), "refuses the credentials of the GitRepo's Secret"},
		"trust alone": {with(authFor(t, all, func(a *bundlereader.ChartAuth) {
			trust(a)
			a.Username, a.Password = "", ""
		})), "it wants credentials"},
		"another authority":     {with(authFor(t, all, func(a *bundlereader.ChartAuth) { a.CACerts = strangerCA(t) })), "certificate"},
		"no certificate":        {with(authFor(t, all, func(a *bundlereader.ChartAuth) { a.CACerts = []byte("canary") })), "holds no certificate"},
		"not allowed there":     {with(authFor(t, "oci://example\\.test", trust)), "certificate"},
		"allowed for none":      {with(authFor(t, "", trust)), "certificate"},
		"without TLS, said so":  {with(authFor(t, all, func(a *bundlereader.ChartAuth) { a.BasicHTTP = true })), "400"},
		"a version that is not": {ref{Repo: address + "/web", Version: "9.9.9", Auth: authFor(t, all, trust)}, "not found"},
		"a chart that is not":   {ref{Repo: address + "/db", Version: "1.0.0", Auth: authFor(t, all, trust)}, "not found"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, newSource(t), tc.ref, "oci://", tc.says) })
	}
	trusting := newSource(t)
	trustIn(t, trusting, pki.Pool(server.CA()))
	wantError(t, trusting, web, "it wants credentials; name a Secret")
	wantError(t, trusting, with(authFor(t, "oci://example\\.test", nil)), "which were not sent, because spec.helmRepoURLRegex")
	if got := version(t, newSource(t), with(authFor(t, all, func(a *bundlereader.ChartAuth) { a.InsecureSkipVerify = true }))); got != "1.0.0" {
		t.Errorf("without checking certificates: %s", got)
	}
}

// TestRegistryWithoutTLS is for those who say that they want one.
func TestRegistryWithoutTLS(t *testing.T) {
	server := privateRegistry(t, false, "1.0.0")
	r := ref{Repo: "oci://" + server.Address() + "/charts/web", Version: "1.0.0"}
	r.Auth = authFor(t, ".*", nil)
	wantError(t, newSource(t), r, "HTTP response to HTTPS client")
	r.Auth = authFor(t, ".*", func(a *bundlereader.ChartAuth) { a.BasicHTTP = true })
	if got := version(t, newSource(t), r); got != "1.0.0" {
		t.Errorf("got %s", got)
	}
}

// TestRegistryThatSendsUsElsewhere: a registry may name a server for tokens, but
// none that would see the credentials without TLS.
func TestRegistryThatSendsUsElsewhere(t *testing.T) {
	var seen []string
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
	}))
	t.Cleanup(thief.Close)
	server := startTLS(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+thief.URL+`/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	r := ref{Repo: "oci://" + server.Listener.Addr().String() + "/charts/web", Version: "1.0.0"}
	r.Auth = authFor(t, ".*", func(a *bundlereader.ChartAuth) { a.CACerts = caOf(server) })
	wantError(t, newSource(t), r, "uses http but registry was contacted over https")
	if len(seen) > 0 {
		t.Errorf("the other server was asked, with %q", seen)
	}
}

func startTLS(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	return s
}

// strangerCA is the certificate of an authority that has signed nothing here.
func strangerCA(t *testing.T) []byte {
	t.Helper()
	authority, err := pki.NewAuthority("stranger")
	if err != nil {
		t.Fatal(err)
	}
	return authority.Certificate
}
