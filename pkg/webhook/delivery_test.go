package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const (
	commit = "0123456789abcdef0123456789abcdef01234567"
	gone   = "0000000000000000000000000000000000000000"
)

func mac(key, body string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(body))
	return hex.EncodeToString(h.Sum(nil))
}

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// sample is a delivery as a Git host sends it.
type sample struct {
	name     string
	provider Provider
	header   http.Header
	body     string
	// forged are the headers of one who does not know the secret.
	forged  http.Header
	secrets map[string][]byte
	repos   []string
	changes []Change
}

func samples() []sample {
	hubBody := `{"ref":"refs/heads/main","after":"` + commit + `","repository":{"html_url":"https://github.com/Team/Web","clone_url":"https://github.com/Team/Web.git","ssh_url":"git@github.com:Team/Web.git"},"head_commit":{"id":"` + commit + `"}}`
	form := "payload=" + url.QueryEscape(hubBody)
	tagBody := `{"ref":"refs/tags/v1","after":"` + strings.Repeat("a", 40) + `","repository":{"html_url":"https://github.com/team/web"},"head_commit":{"id":"` + commit + `"}}`
	deleted := `{"ref":"refs/heads/old","after":"` + gone + `","deleted":true,"head_commit":null,"repository":{"html_url":"https://github.com/team/web"}}`
	labBody := `{"object_kind":"push","ref":"refs/heads/main","after":"` + commit + `","checkout_sha":"` + commit + `","project":{"web_url":"https://gitlab.example.com:8443/team/web","git_http_url":"https://gitlab.example.com:8443/team/web.git","git_ssh_url":"ssh://git@gitlab.example.com:2222/team/web.git"}}`
	cloudBody := `{"push":{"changes":[{"old":null,"new":{"type":"branch","name":"main","target":{"hash":"` + commit + `"}}},{"old":{"type":"tag","name":"v1"},"new":null}]},"repository":{"links":{"html":{"href":"https://bitbucket.org/team/web"}}}}`
	serverBody := `{"eventKey":"repo:refs_changed","changes":[{"ref":{"id":"refs/heads/main"},"toHash":"` + commit + `"}],"repository":{"slug":"web","project":{"key":"TEAM"},"links":{"clone":[{"href":"ssh://git@bitbucket.example.com:7999/team/web.git","name":"ssh"},{"href":"https://bitbucket.example.com/scm/team/web.git","name":"http"}]}}}`
	selfBody := `{"changes":[{"ref":{"id":"refs/heads/main"},"toHash":"` + commit + `"}],"repository":{"slug":"web","project":{"key":"TEAM"},"links":{"self":[{"href":"https://bitbucket.example.com/projects/TEAM/repos/web/browse"}]}}}`
	azureBody := `{"eventType":"git.push","resource":{"refUpdates":[{"name":"refs/heads/main","oldObjectId":"` + gone + `","newObjectId":"` + commit + `"}],"repository":{"remoteUrl":"https://org@dev.azure.com/org/Shop/_git/web"}}}`
	main := []Change{{"refs/heads/main", commit}}
	hub := []string{"github.com/team/web"}
	return []sample{
		{"github", GitHub, headers("X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+mac("s3cret", hubBody)), hubBody,
			headers("X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+mac("other", hubBody)), map[string][]byte{"github": []byte("s3cret\n")}, hub, main},
		{"github, form", GitHub, headers("Content-Type", "application/x-www-form-urlencoded", "X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+mac("s3cret", form)), form,
			headers("Content-Type", "application/x-www-form-urlencoded", "X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+mac("s3cret", hubBody)), map[string][]byte{"github": []byte("s3cret")}, hub, main},
		{"github, annotated tag", GitHub, headers("X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+mac("s3cret", tagBody)), tagBody,
			headers("X-GitHub-Event", "push"), map[string][]byte{"github": []byte("s3cret")}, hub, []Change{{"refs/tags/v1", commit}}},
		{"github, branch deleted", GitHub, headers("X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+mac("s3cret", deleted)), deleted,
			headers("X-GitHub-Event", "push", "X-Hub-Signature-256", mac("s3cret", deleted)), map[string][]byte{"github": []byte("s3cret")}, hub, []Change{{"refs/heads/old", ""}}},
		{"github, sha1 alone", GitHub, headers("X-GitHub-Event", "push", "X-Hub-Signature", "sha1=00", "X-Hub-Signature-256", "sha256="+mac("s3cret", hubBody)), hubBody,
			headers("X-GitHub-Event", "push", "X-Hub-Signature", "sha1=00"), map[string][]byte{"github": []byte("s3cret")}, hub, main},
		{"gitea", Gogs, headers("X-Gitea-Event", "push", "X-Gogs-Event", "push", "X-GitHub-Event", "push", "X-Gitea-Signature", mac("s3cret", hubBody)), hubBody,
			headers("X-Gitea-Event", "push", "X-Gitea-Signature", "zz"), map[string][]byte{"gogs": []byte("s3cret")}, hub, main},
		{"gogs", Gogs, headers("X-Gogs-Event", "push", "X-Gogs-Signature", mac("s3cret", hubBody)), hubBody,
			headers("X-Gogs-Event", "push", "X-Gogs-Signature", ""), map[string][]byte{"gogs": []byte("s3cret")}, hub, main},
		{"gitlab", GitLab, headers("X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", "s3cret"), labBody,
			headers("X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", "s3cre"), map[string][]byte{"gitlab": []byte("s3cret")},
			[]string{"gitlab.example.com/team/web"}, main},
		{"bitbucket", BitbucketCloud, headers("X-Event-Key", "repo:push", "X-Hook-UUID", "id", "X-Hub-Signature", "sha256="+mac("s3cret", cloudBody)), cloudBody,
			headers("X-Event-Key", "repo:push", "X-Hook-UUID", "s3cret", "X-Hub-Signature", "sha256=00"), map[string][]byte{"bitbucket": []byte("s3cret")},
			[]string{"bitbucket.org/team/web"}, []Change{{"refs/heads/main", commit}, {"refs/tags/v1", ""}}},
		{"bitbucket, by the id of the hook", BitbucketCloud, headers("X-Event-Key", "repo:push", "X-Hook-UUID", "d1a2"), cloudBody,
			headers("X-Event-Key", "repo:push", "X-Hook-UUID", "d1a3"), map[string][]byte{"bitbucket": []byte("d1a2")},
			[]string{"bitbucket.org/team/web"}, []Change{{"refs/heads/main", commit}, {"refs/tags/v1", ""}}},
		{"bitbucket server", BitbucketServer, headers("X-Event-Key", "repo:refs_changed", "X-Hub-Signature", "sha256="+mac("s3cret", serverBody)), serverBody,
			headers("X-Event-Key", "repo:refs_changed"), map[string][]byte{"bitbucket-server": []byte("s3cret")},
			[]string{"bitbucket.example.com/team/web", "bitbucket.example.com/scm/team/web"}, main},
		{"bitbucket server without clone links", BitbucketServer, headers("X-Event-Key", "repo:refs_changed", "X-Hub-Signature", "sha256="+mac("s3cret", selfBody)), selfBody,
			headers("X-Event-Key", "repo:refs_changed", "X-Hub-Signature", "sha256="), map[string][]byte{"bitbucket-server": []byte("s3cret")},
			[]string{"bitbucket.example.com/scm/team/web", "bitbucket.example.com/team/web"}, main},
		{"azure", AzureDevOps, headers("X-Vss-Activityid", "1", "Authorization", basic("flotilla", "s3cret")), azureBody,
			headers("X-Vss-Activityid", "1", "Authorization", basic("flotilla", "s3cre")), map[string][]byte{"azure-username": []byte("flotilla"), "azure-password": []byte("s3cret")},
			[]string{"dev.azure.com/org/shop/_git/web"}, main},
	}
}

func TestDeliveries(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			d, err := Read(s.header, []byte(s.body))
			if err != nil {
				t.Fatal(err)
			}
			if d.Provider != s.provider || !slices.Equal(slices.Compact(d.Repositories), s.repos) || !slices.Equal(d.Changes, s.changes) {
				t.Errorf("read %+v %q %+v", d.Provider, d.Repositories, d.Changes)
			}
			if err := d.Proven(s.secrets); err != nil {
				t.Errorf("who knows the secret is refused: %v", err)
			}
			refused(t, "forged", s.forged, s)
			none := s
			none.secrets = nil
			refused(t, "without a secret", s.header, none)
			empty := s
			empty.secrets = map[string][]byte{}
			for key := range s.secrets {
				empty.secrets[key] = nil
			}
			refused(t, "with an empty secret", s.header, empty)
		})
	}
}

func refused(t *testing.T, what string, header http.Header, s sample) {
	t.Helper()
	d, err := Read(header, []byte(s.body))
	if err != nil {
		t.Fatal(err)
	}
	err = d.Proven(s.secrets)
	if err == nil {
		t.Fatalf("%s: it is believed", what)
	}
	for _, value := range s.secrets {
		if v := strings.TrimSpace(string(value)); v != "" && strings.Contains(err.Error(), v) {
			t.Errorf("%s: the error tells the secret: %v", what, err)
		}
	}
}

// TestSignatureHoldsForItsBody turns one byte after the other.
func TestSignatureHoldsForItsBody(t *testing.T) {
	s := samples()[0]
	for i := range s.body {
		body := []byte(s.body)
		body[i] ^= 1
		d := &Delivery{header: s.header, body: body}
		if d.Proven(s.secrets) == nil {
			t.Fatalf("byte %d may be changed", i)
		}
	}
}

func TestWhatIsNoPush(t *testing.T) {
	tests := []struct {
		name   string
		header http.Header
		body   string
	}{
		{"github ping", headers("X-GitHub-Event", "ping"), `{"zen":"x","repository":{"html_url":"https://github.com/team/web"}}`},
		{"github issue with a ref", headers("X-GitHub-Event", "issues"), `{"ref":"refs/heads/main","after":"` + commit + `"}`},
		{"bitbucket server test", headers("X-Event-Key", "diagnostics:ping"), `{"test":true}`},
		{"azure, other event", headers("X-Vss-Activityid", "1"), `{"eventType":"git.pullrequest.created","resource":{"refUpdates":[{"name":"refs/heads/main"}]}}`},
		{"a ref in short", headers("X-GitHub-Event", "push"), `{"ref":"main"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Read(tt.header, []byte(tt.body))
			if err != nil || len(d.Changes) > 0 {
				t.Errorf("read %+v, %v", d, err)
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	if _, err := Read(headers("Content-Type", "application/json"), []byte(`{}`)); !errors.Is(err, ErrUnknown) {
		t.Errorf("no sender: %v", err)
	}
	for _, body := range []string{"", "{", `"x"`, `{"ref":{"hunter2":1}}`, "null\x00", strings.Repeat("[", 100_000)} {
		d, err := Read(headers("X-GitHub-Event", "push"), []byte(body))
		if err == nil {
			t.Errorf("%.20q is read as %+v", body, d)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes the body: %v", err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for i, s := range samples() {
		f.Add(i, []byte(s.body))
	}
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		all := samples()
		s := all[((which%len(all))+len(all))%len(all)]
		d, err := Read(s.header, body)
		if err != nil {
			return
		}
		signed := d.Provider != GitLab && d.Provider != AzureDevOps && s.header.Get("X-Hook-Uuid") != "d1a2"
		if signed && string(body) != s.body && d.Proven(s.secrets) == nil {
			t.Fatal("a body that nobody signed is believed")
		}
		for _, c := range d.Changes {
			if c.Commit != "" && !commitName.MatchString(c.Commit) {
				t.Fatalf("%q is a commit", c.Commit)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		data map[string]string
		says string
	}{
		"one host":           {map[string]string{"gitlab": "s"}, ""},
		"several hosts":      {map[string]string{"gitlab": "s", "azure-username": "u", "azure-password": "p"}, ""},
		"nothing":            {nil, "none of the keys"},
		"another host":       {map[string]string{"sourcehut": "s"}, "none of the keys"},
		"an empty key":       {map[string]string{"github": "\n", "gitlab": "s"}, `under the key "github"`},
		"half of azure":      {map[string]string{"azure-username": "u"}, "belong together"},
		"the other half":     {map[string]string{"azure-password": "u", "github": "s"}, "belong together"},
		"keys in other case": {map[string]string{"GitHub": "s"}, "none of the keys"},
	} {
		data := map[string][]byte{}
		for key, value := range tt.data {
			data[key] = []byte(value)
		}
		if err := Check(data); (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
