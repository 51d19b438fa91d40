package bundlereader

import (
	"context"
	"encoding/base64"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
)

func TestAddresses(t *testing.T) {
	for _, tc := range []struct {
		pattern, address string
		want             bool
	}{
		{"", "https://h/x", false},
		{"https://h", "https://h/x", true},
		{"https://h/", "https://h/x", true},
		{"https://h/charts", "https://h/charts/index.yaml", true},
		{"https://h/charts", "https://h/other/index.yaml", false},
		{".*", "https://h/x", true},
		{"https://.*", "http://h/x", false},
		// The beginning counts.
		{"h/x", "https://h/x", false},
		{"https://h|https://g", "https://g/x", true},
		{"a|b", "https://b/x", false},
		// A match that ends within the host is none.
		{"https://charts.example.com", "https://charts.example.com.evil.test/x", false},
		{"https://charts.example.com", "https://charts.example.com@evil.test/x", false},
		{"https://charts.example.com", "https://charts.example.com:8443/x", false},
		{"https://charts", "https://charts.example.com/x", false},
		{"https://", "https://h/x", false},
		// What can match more does.
		{"https://h(\\.test)?", "https://h.test/x", true},
		{"https://h.*?", "https://h.test/x", true},
		// User and password do not count, case does not in the host.
		{"https://h/", "https://user:password@h/x", true},
		{"https://h/", "https://H/x", true},
		{"oci://h/charts", "oci://h/charts/web", true},
		{"git::https://h/", "https://h/o/r", true},
		{"ssh://h/", "ssh://git@h/o/r", true},
		{".*", "h/x", false},
		{".*", "mailto:x", false},
		{".*", "%zz", false},
	} {
		allowed, err := NewAddresses(tc.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := allowed.Allow(tc.address); got != tc.want {
			t.Errorf("%q allows %s: %t, want %t", tc.pattern, tc.address, got, tc.want)
		}
	}
	if _, err := NewAddresses("("); err == nil || !strings.Contains(err.Error(), `"("`) {
		t.Errorf("got %v", err)
	}
}

const pemCA = "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n"

func secretWith(data map[string]string) *corev1.Secret {
	secret := &corev1.Secret{Data: map[string][]byte{}}
	secret.Namespace, secret.Name = "ws", "charts"
	for key, value := range data {
		secret.Data[key] = []byte(value)
	}
	return secret
}

func TestChartAuthFromSecret(t *testing.T) {
	got, err := ChartAuthFromSecret(secretWith(map[string]string{
		"username": "u", "password": "p", "cacerts": pemCA, "ssh-privatekey": "k", "known_hosts": "h", "insecureSkipVerify": "true\n", "basicHTTP": "false",
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &ChartAuth{Username: "u", Password: "p", CACerts: []byte(pemCA), SSHPrivateKey: []byte("k"), KnownHosts: []byte("h"), InsecureSkipVerify: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, data := range map[string]map[string]string{
		`the key "insecureSkipVerify"`: {"insecureSkipVerify": "canary"}, `the key "basicHTTP"`: {"basicHTTP": "canary"}, "PEM form": {"cacerts": "canary"},
	} {
		_, err := ChartAuthFromSecret(secretWith(data), nil)
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "ws/charts") || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}

func TestPathCredentials(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte(pemCA))
	credentials, err := PathCredentialsFromSecret(secretWith(map[string]string{"secrets-path.yaml": `
/apps/w*: {username: second, password: p}
apps/*: {username: first, caBundle: ` + encoded + `, sshPrivateKey: ` + base64.StdEncoding.EncodeToString([]byte("key")) + `, insecureSkipVerify: true, basicHTTP: true}
other: {username: other, caBundle: "` + strings.ReplaceAll(pemCA, "\n", `\n`) + `"}
.: {username: root}
`}), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := ChartCredentials{All: &ChartAuth{Username: "all"}, Paths: credentials}
	for folder, want := range map[string]string{"apps/web": "second", "apps/db": "first", "other": "other", ".": "root", "apps": "", "apps/web/below": "", "others": ""} {
		got := ""
		if auth := all.For(folder); auth != nil {
			got = auth.Username
		}
		if got != want {
			t.Errorf("folder %s has the credentials of %q, want %q", folder, got, want)
		}
	}
	want := &ChartAuth{Username: "first", CACerts: []byte(pemCA), SSHPrivateKey: []byte("key"), InsecureSkipVerify: true, BasicHTTP: true}
	if diff := cmp.Diff(want, all.For("apps/db"), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if got := (ChartCredentials{All: all.All}).For("anything"); got != all.All {
		t.Errorf("without paths: %v", got)
	}
	if got := (ChartCredentials{All: all.All, Paths: []PathCredentials{}}).For("anything"); got != nil {
		t.Errorf("paths that are there, but none: %v", got)
	}
	for name, tc := range map[string]struct{ file, says string }{
		"no YAML":          {"a: [canary", "must hold, by path"},
		"a list":           {"- canary", "must hold, by path"},
		"an unknown field": {"a: {pasword: canary}", "must hold, by path"},
		"a bad pattern":    {"'a[': {}", `the path "a[" cannot be parsed`},
		"no certificate":   {"a: {caBundle: canary}", `path "a": the certificates`},
		"a bomb":           {bomb(), "must hold, by path"},
	} {
		_, err := PathCredentialsFromSecret(secretWith(map[string]string{"secrets-path.yaml": tc.file}), nil)
		if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "canary") || len(err.Error()) > 500 {
			t.Errorf("%s: got %v, want %q", name, err, tc.says)
		}
	}
	if _, err := PathCredentialsFromSecret(secretWith(nil), nil); err == nil || !strings.Contains(err.Error(), `no key "secrets-path.yaml"`) {
		t.Errorf("got %v", err)
	}
}

// notingCharts notes who asks for what.
type notingCharts struct {
	mu    sync.Mutex
	asked map[string]string
}

func (c *notingCharts) note(ref ChartRef) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[ref.Chart] = ""
	if ref.Auth != nil {
		c.asked[ref.Chart] = ref.Auth.Username
	}
}

func (c *notingCharts) Fetch(_ context.Context, ref ChartRef) (map[string][]byte, error) {
	c.note(ref)
	return map[string][]byte{"x/Chart.yaml": nil}, nil
}

func (c *notingCharts) Archive(_ context.Context, ref ChartRef) (string, []byte, error) {
	c.note(ref)
	return "x.tgz", nil, nil
}

func TestEachFolderHasItsCredentials(t *testing.T) {
	source := &notingCharts{asked: map[string]string{}}
	tree := map[string]string{
		"apps/a/fleet.yaml": "helm: {chart: chart-a, repo: 'https://h'}\n",
		"apps/b/fleet.yaml": "helm: {chart: chart-b, repo: 'https://h'}\n",
		"apps/c/Chart.yaml": "name: c\nversion: 1.0.0\ndependencies: [{name: dep-c, version: 1.0.0, repository: 'https://h'}]\n", "apps/c/fleet.yaml": "",
	}
	read(t, tree, Options{Paths: []string{"apps"}, Charts: source, ChartCredentials: ChartCredentials{
		Paths: []PathCredentials{{"apps/a", &ChartAuth{Username: "a"}}, {"apps/c", &ChartAuth{Username: "c"}}},
	}})
	if diff := cmp.Diff(map[string]string{"chart-a": "a", "chart-b": "", "dep-c": "c"}, source.asked); diff != "" {
		t.Error(diff)
	}
}

// The fuzzed text is the file of credentials by path: errors do not quote it,
// and every pattern that is taken can be matched.
func FuzzPathCredentials(f *testing.F) {
	for _, seed := range []string{
		"a/*: {username: u, password: canary}\n", "/: {caBundle: canary}\n", "'[': {}\n", "a: {password: [canary]}\n", "a: &a {password: canary}\nb: *a\n", "- canary\n",
		"a: {basicHTTP: canary}\n", "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		secret := secretWith(nil)
		secret.Data = map[string][]byte{"secrets-path.yaml": content}
		found, err := PathCredentialsFromSecret(secret, nil)
		if err != nil && strings.Contains(err.Error(), "canary") && !strings.Contains(err.Error(), "path \"") {
			t.Errorf("the error quotes a value: %v", err)
		}
		for _, p := range found {
			if _, err := path.Match(p.Pattern, "a/b"); err != nil {
				t.Errorf("the pattern %q is taken", p.Pattern)
			}
		}
		ChartCredentials{Paths: found}.For("a/b")
	})
}
