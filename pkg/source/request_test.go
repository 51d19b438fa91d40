package source

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestParseAddress(t *testing.T) {
	for _, tc := range []struct {
		raw  string
		want address
		show string
		dial string
	}{
		{"https://github.com/org/repo", address{scheme: "https", host: "github.com", path: "/org/repo"}, "https://github.com/org/repo", ""},
		{"HTTPS://github.com/org/repo.git/", address{scheme: "https", host: "github.com", path: "/org/repo.git/"}, "https://github.com/org/repo.git/", ""},
		{"http://ada:pw@git.test:3000/r", address{scheme: "http", host: "git.test:3000", path: "/r", user: "ada", password: "pw"}, "http://git.test:3000/r", ""},
		{"https://[::1]:8443/r", address{scheme: "https", host: "[::1]:8443", path: "/r"}, "https://[::1]:8443/r", ""},
		{"https://h/a%20b", address{scheme: "https", host: "h", path: "/a%20b"}, "https://h/a%20b", ""},
		{"ssh://git@h/org/repo", address{scheme: "ssh", host: "h", path: "/org/repo", user: "git"}, "ssh://h/org/repo", "h:22"},
		{"ssh://git@h:2222/~ada/repo", address{scheme: "ssh", host: "h:2222", path: "~ada/repo", user: "git"}, "ssh://h:2222/~ada/repo", "h:2222"},
		{"git@github.com:org/repo.git", address{scheme: "ssh", host: "github.com", path: "org/repo.git", user: "git"}, "ssh://github.com/org/repo.git", "github.com:22"},
		{"github.com:/srv/repo.git", address{scheme: "ssh", host: "github.com", path: "/srv/repo.git"}, "ssh://github.com/srv/repo.git", "github.com:22"},
		{"git@[::1]:repo", address{scheme: "ssh", host: "[::1]", path: "repo", user: "git"}, "ssh://[::1]/repo", "[::1]:22"},
	} {
		got, err := parseAddress(tc.raw)
		if err != nil {
			t.Errorf("%s: %v", tc.raw, err)
			continue
		}
		if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(address{})); diff != "" {
			t.Errorf("%s: %s", tc.raw, diff)
		}
		if got.String() != tc.show {
			t.Errorf("%s is shown as %s, want %s", tc.raw, got.String(), tc.show)
		}
		if tc.dial != "" && got.dialAddress() != tc.dial {
			t.Errorf("%s is dialled as %s, want %s", tc.raw, got.dialAddress(), tc.dial)
		}
	}
	for _, raw := range []string{
		"", "/srv/repo.git", "./repo", "../repo", "repo", "~/repo", "file:///srv/repo", "git://h/r", "ftp://h/r", "ext::sh -c id", "https://", "https:///r",
		"https://h/r?x=1", "https://h/r#x", "ssh://h", "ssh://h/", "ssh://-oProxyCommand=id/r", "-oProxyCommand=id:r", "a b:c", "https://h/\x00", "https://h/ r", "https://h/%zz",
		"git@-h:r", "https://h:port/r", strings.Repeat("a", 5000) + ":b", `C:\repo`, "git@h:",
	} {
		if got, err := parseAddress(raw); err == nil && raw != `C:\repo` {
			t.Errorf("%q was accepted as %+v", raw, got)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"https://ada:canary@h/r", "git@h:r", "ssh://git@h:1/r", "https://ada:canary@h/%", "://", "a:b", "https://@h", "ssh://canary@[::1]/~x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		addr, err := parseAddress(raw)
		if err != nil {
			return
		}
		if addr.scheme != "http" && addr.scheme != "https" && addr.scheme != "ssh" {
			t.Errorf("%q has the protocol %q", raw, addr.scheme)
		}
		if strings.HasPrefix(addr.host, "-") || addr.host == "" {
			t.Errorf("%q has the host %q", raw, addr.host)
		}
		authority, _, _ := strings.Cut(strings.TrimPrefix(addr.String(), addr.scheme+"://"), "/")
		if strings.Contains(authority, "@") || strings.ContainsAny(addr.String(), "\n\r\x00") {
			t.Errorf("%q is shown as %q", raw, addr.String())
		}
		_ = addr.dialAddress()
	})
}

func TestAuthFromSecret(t *testing.T) {
	_, edPEM := newKey(t)
	rsaPEM := string(newAppKey(t, "PRIVATE KEY").pem)
	for _, tc := range []struct {
		name string
		kind corev1.SecretType
		data map[string]string
		want *Auth
		says string
	}{
		{"basic", corev1.SecretTypeBasicAuth, map[string]string{"username": "ada", "password": "pw"}, &Auth{Username: "ada", Password: "pw"}, ""},
		{"a token alone", corev1.SecretTypeBasicAuth, map[string]string{"password": "pw"}, &Auth{Password: "pw"}, ""},
		{"ssh", corev1.SecretTypeSSHAuth, map[string]string{"ssh-privatekey": "k", "known_hosts": "h"}, &Auth{SSHPrivateKey: []byte("k"), KnownHosts: []byte("h")}, ""},
		{"opaque with the keys of basic", corev1.SecretTypeOpaque, map[string]string{"username": "ada", "password": "pw"}, &Auth{Username: "ada", Password: "pw"}, ""},
		{"a bearer token", corev1.SecretTypeOpaque, map[string]string{"bearerToken": "t\n"}, &Auth{BearerToken: "t"}, ""},
		{"a GitHub App", corev1.SecretTypeOpaque, map[string]string{
			"github_app_id": "1\n", "github_app_installation_id": " 2", "github_app_private_key": rsaPEM, "github_app_base_url": "https://h/api/v3\n",
		}, &Auth{App: &GitHubApp{ID: "1", Installation: "2", PrivateKey: []byte(rsaPEM), BaseURL: "https://h/api/v3"}}, ""},
		{"a GitHub App by its client ID", corev1.SecretTypeOpaque, map[string]string{
			"github_app_id": "Iv23li0Abc", "github_app_installation_id": "2", "github_app_private_key": rsaPEM,
		}, &Auth{App: &GitHubApp{ID: "Iv23li0Abc", Installation: "2", PrivateKey: []byte(rsaPEM)}}, ""},
		{"a GitHub App whose ID is none", corev1.SecretTypeOpaque, map[string]string{"github_app_id": "canary\"", "github_app_installation_id": "2"}, nil, `"github_app_id"`},
		{"a GitHub App without installation", corev1.SecretTypeOpaque, map[string]string{"github_app_id": "1"}, nil, `"github_app_installation_id"`},
		{"a GitHub App with a path as installation", corev1.SecretTypeOpaque,
			map[string]string{"github_app_id": "1", "github_app_installation_id": "../canary"}, nil, `"github_app_installation_id"`},
		{"a GitHub App without key", corev1.SecretTypeOpaque, map[string]string{"github_app_id": "1", "github_app_installation_id": "2"}, nil, `"github_app_private_key" must hold`},
		{"a GitHub App with another kind of key", corev1.SecretTypeOpaque,
			map[string]string{"github_app_id": "1", "github_app_installation_id": "2", "github_app_private_key": string(edPEM)}, nil, "must hold an RSA private key"},
		{"a user name alone", corev1.SecretTypeBasicAuth, map[string]string{"username": "canary"}, nil, `"password"`},
		{"nothing", corev1.SecretTypeOpaque, nil, nil, `"ssh-privatekey"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			secret := &corev1.Secret{Type: tc.kind, Data: map[string][]byte{}}
			secret.Namespace, secret.Name = "fleet-default", "creds"
			for key, value := range tc.data {
				secret.Data[key] = []byte(value)
			}
			got, err := AuthFromSecret(secret)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if tc.says == "" != (err == nil) {
				t.Fatalf("got error %v", err)
			}
			if err != nil && (!strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "fleet-default/creds") || strings.Contains(err.Error(), "canary")) {
				t.Errorf("the error says %v", err)
			}
		})
	}
}

func TestKeysTellRequestsApart(t *testing.T) {
	auth := func(user, password, key, hosts string) *Auth {
		return &Auth{Username: user, Password: password, SSHPrivateKey: []byte(key), KnownHosts: []byte(hosts)}
	}
	requests := []Request{
		{URL: "https://h/r"}, {URL: "http://h/r"}, {URL: "https://h/r2"}, {URL: "https://h:444/r"}, {URL: "https://ada@h/r"}, {URL: "https://ada:pw@h/r"},
		{URL: "https://h/r", Auth: auth("ada", "pw", "", "")}, {URL: "https://h/r", Auth: auth("ad", "apw", "", "")}, {URL: "https://h/r", Auth: auth("", "", "ada", "pw")},
		{URL: "https://h/r", Auth: &Auth{BearerToken: "ada"}}, {URL: "https://h/r", Auth: &Auth{App: &GitHubApp{ID: "ada"}}},
		{URL: "https://h/r", Auth: &Auth{App: &GitHubApp{Installation: "ada"}}},
	}
	seen := map[string]string{}
	for _, req := range requests {
		key := mustTarget(t, req).key()
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s share a mirror", req.URL, other)
		}
		seen[key] = req.URL
		if !mirrorName.MatchString(key) {
			t.Errorf("%s is not the name of a mirror", key)
		}
	}
	one, two := mustTarget(t, Request{URL: "https://H/r", Branch: "x"}), mustTarget(t, Request{URL: "https://h/r", Revision: "v1", CABundle: []byte("x")})
	if one.key() != two.key() {
		t.Error("branches of one repository do not share a mirror")
	}
}

func TestRedactor(t *testing.T) {
	r := newRedactor(address{user: "ada", password: "pa ss/word"}, &Auth{Username: "bob", Password: "tok3n"})
	for in, want := range map[string]string{
		"pa ss/word and tok3n":              "[redacted] and [redacted]",
		"pa+ss%2Fword pa%20ss%2Fword":       "[redacted] [redacted]",
		"Authorization: Basic Ym9iOnRvazNu": "Authorization: Basic [redacted]",
		"pa\n  ss/word":                     "[redacted]",
		"https://x:y@h/r ssh://git@h":       "https://h/r ssh://h",
		"line\none\x1b[31m\ttwo":            "line one [31m two",
		"ada and bob are not secrets":       "ada and bob are not secrets",
		strings.Repeat("é", 500):            strings.Repeat("é", 400) + "…",
		"bad \xff\xfe bytes":                "bad ? bytes",
	} {
		if got := r.clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}
