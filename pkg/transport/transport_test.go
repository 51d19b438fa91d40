package transport

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/pki"
)

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestTrust(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	stranger, err := pki.NewAuthority("stranger")
	if err != nil {
		t.Fatal(err)
	}
	p := NewPools(time.Minute)
	for name, tc := range map[string]struct {
		trust Trust
		works bool
	}{
		"the system's authorities": {Trust{}, false},
		"its own":                  {Trust{CA: ca}, true},
		"another one":              {Trust{CA: stranger.Certificate}, false},
		"several":                  {Trust{CA: append(stranger.Certificate, ca...)}, true},
		"everybody":                {Trust{Insecure: true}, true},
	} {
		pool, err := p.Get(tc.trust)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		res, err := (&http.Client{Transport: pool}).Get(server.URL)
		var unknown x509.UnknownAuthorityError
		if tc.works != (err == nil) || err != nil && !errors.As(err, &unknown) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			res.Body.Close()
		}
		if again, _ := p.Get(tc.trust); again != pool {
			t.Errorf("%s: there are two pools", name)
		}
	}
	if _, err := p.Get(Trust{CA: []byte("canary")}); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("no certificate: %v", err)
	}
}

func TestPoolsAreBounded(t *testing.T) {
	authority, err := pki.NewAuthority("authority")
	if err != nil {
		t.Fatal(err)
	}
	p := NewPools(time.Minute)
	for i := range 2 * maxPools {
		if _, err := p.Get(Trust{CA: append([]byte(strings.Repeat("\n", i)), authority.Certificate...)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.all) > maxPools {
		t.Errorf("there are %d pools", len(p.all))
	}
}

func TestLinkLocalAddressesAreRefused(t *testing.T) {
	pool, err := NewPools(time.Minute).Get(Trust{})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"http://169.254.169.254/latest", "http://[fe80::1%25lo]/", "http://[::ffff:169.254.169.254]/"} {
		res, err := (&http.Client{Transport: pool}).Get(at)
		var refused *LinkLocalError
		if err == nil || !errors.As(err, &refused) {
			t.Errorf("%s: %v, %v", at, res, err)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"https://h/a", "https://h/b", true},
		{"https://h", "https://H:443", true},
		{"http://h", "http://h:80", true},
		{"http://h", "https://h", true},
		{"http://h:80", "https://h:443", true},
		{"https://h", "http://h", false},
		{"http://h:8080", "https://h:8443", false},
		{"http://h", "https://h:8443", false},
		{"https://h", "https://h:8443", false},
		{"https://h", "https://i", false},
		{"https://h", "https://h.evil.test", false},
	} {
		if got := SameOrigin(mustParse(t, tc.a), mustParse(t, tc.b)); got != tc.want {
			t.Errorf("from %s to %s: %v", tc.a, tc.b, got)
		}
	}
}

func TestCheckRedirect(t *testing.T) {
	request := func(to string) *http.Request {
		return &http.Request{URL: mustParse(t, to), Header: http.Header{"Authorization": {"canary"}}}
	}
	for name, tc := range map[string]struct {
		hops  []string
		says  string
		shown bool
	}{
		"at home":               {hops: []string{"https://h/a", "https://h/b"}, shown: true},
		"into TLS":              {hops: []string{"http://h/a", "https://h/b"}, shown: true},
		"away":                  {hops: []string{"https://h/a", "https://u:p@i/b"}},
		"away and home again":   {hops: []string{"https://h/a", "https://i/b", "https://h/c"}},
		"out of TLS":            {hops: []string{"https://h/a", "http://h/b"}, says: "from https to http"},
		"to something else":     {hops: []string{"http://h/a", "file:///etc/passwd"}, says: "from http to file"},
		"without end":           {hops: []string{"https://h/1", "https://h/2", "https://h/3", "https://h/4", "https://h/5", "https://h/6"}, says: "too often"},
		"as often as it may be": {hops: []string{"https://h/1", "https://h/2", "https://h/3", "https://h/4", "https://h/5"}, shown: true},
	} {
		var via []*http.Request
		for _, hop := range tc.hops[:len(tc.hops)-1] {
			via = append(via, request(hop))
		}
		req := request(tc.hops[len(tc.hops)-1])
		err := CheckRedirect(via[0].URL, req, via)
		if tc.says == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
		if shown := req.Header.Get("Authorization") != ""; err == nil && (shown != tc.shown || !shown && req.URL.User != nil) {
			t.Errorf("%s: the credentials are sent: %v", name, shown)
		}
	}
}
