package charts

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"
	helmregistry "helm.sh/helm/v3/pkg/registry"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
)

// privateRegistry is a registry with one user, and the chart "web" in charts/web.
func privateRegistry(t *testing.T, start func(http.Handler) *httptest.Server, versions ...string) *httptest.Server {
	t.Helper()
	logrus.SetOutput(io.Discard)
	t.Cleanup(func() { logrus.SetOutput(os.Stderr) })
	hash, err := bcrypt.GenerateFromPassword([]byte("canary-password"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(users, []byte("canary-user:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := &configuration.Configuration{
		Storage: configuration.Storage{"inmemory": {}, "maintenance": {"uploadpurging": map[any]any{"enabled": false}}},
		Auth:    configuration.Auth{"htpasswd": {"realm": "test", "path": users}},
	}
	config.Catalog.MaxEntries = 100
	server := start(handlers.NewApp(context.Background(), config))
	t.Cleanup(server.Close)

	host := server.Listener.Addr().String()
	options := []helmregistry.ClientOption{
		helmregistry.ClientOptWriter(io.Discard), helmregistry.ClientOptBasicAuth("canary-user", "canary-password"),
		helmregistry.ClientOptCredentialsFile(filepath.Join(t.TempDir(), "none.json")), helmregistry.ClientOptHTTPClient(server.Client()),
	}
	if server.TLS == nil {
		options = append(options, helmregistry.ClientOptPlainHTTP())
	}
	client, err := helmregistry.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		tag := strings.ReplaceAll(v, "+", "_")
		if _, err := client.Push(web(t, v), host+"/charts/web:"+tag, helmregistry.PushOptStrictMode(!strings.Contains(v, "+"))); err != nil {
			t.Fatalf("pushing %s: %v", v, err)
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
	server := privateRegistry(t, startTLS, "1.0.0", "1.10.0", "2.0.0-rc.1", "1.2.0+b5")
	address := "oci://" + server.Listener.Addr().String() + "/charts"
	all := ".*"
	trust := func(a *bundlereader.ChartAuth) { a.CACerts = caOf(server) }

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
		"no credentials, no trust": {web, "certificate"},
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
	trusting.client.Transport = server.Client().Transport
	wantError(t, trusting, web, "it wants credentials; name a Secret")
	wantError(t, trusting, with(authFor(t, "oci://example\\.test", nil)), "which were not sent, because spec.helmRepoURLRegex")
	if got := version(t, newSource(t), with(authFor(t, all, func(a *bundlereader.ChartAuth) { a.InsecureSkipVerify = true }))); got != "1.0.0" {
		t.Errorf("without checking certificates: %s", got)
	}
}

// TestRegistryWithoutTLS is for those who say that they want one.
func TestRegistryWithoutTLS(t *testing.T) {
	server := privateRegistry(t, httptest.NewServer, "1.0.0")
	r := ref{Repo: "oci://" + server.Listener.Addr().String() + "/charts/web", Version: "1.0.0"}
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
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
