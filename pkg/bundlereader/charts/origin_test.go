package charts

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseOrigin(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for address, want := range map[string]origin{
		"https://h/web.tgz":                                       {way: byHTTP, url: "https://h/web.tgz", folder: "."},
		"http://h/a.zip?x=1&archive=zip":                          {way: byHTTP, url: "http://h/a.zip?x=1", folder: "."},
		"https://h/a.tar.gz//charts/web?checksum=md5:" + sum[:32]: {way: byHTTP, url: "https://h/a.tar.gz", folder: "charts/web", sum: &checksum{"md5", sum[:32]}},
		"https://h/a.tgz?checksum=" + sum:                         {way: byHTTP, url: "https://h/a.tgz", folder: ".", sum: &checksum{"sha256", sum}},
		"https::https://h/a.tgz":                                  {way: byHTTP, url: "https://h/a.tgz", folder: "."},
		"oci://h/charts/web":                                      {way: byRegistry, url: "oci://h/charts/web", folder: "."},
		"git::https://h/o/r":                                      {way: byGit, url: "https://h/o/r", folder: "."},
		"git::https://h/o/r.git//charts/web?ref=v1&depth=1":       {way: byGit, url: "https://h/o/r.git", folder: "charts/web", ref: "v1"},
		"git::ssh://git@h/o/r//c?sshkey=a2V5":                     {way: byGit, url: "ssh://git@h/o/r", folder: "c", sshKey: []byte("key")},
		"git::git@h:o/r.git//c?ref=main":                          {way: byGit, url: "ssh://git@h/o/r.git", folder: "c", ref: "main"},
		"git@h:o/r.git":                                           {way: byGit, url: "ssh://git@h/o/r.git", folder: "."},
		"ssh://git@h:2222/o/r//c":                                 {way: byGit, url: "ssh://git@h:2222/o/r", folder: "c"},
		"github.com/o/r":                                          {way: byGit, url: "https://github.com/o/r.git", folder: "."},
		"github.com/o/r.git":                                      {way: byGit, url: "https://github.com/o/r.git", folder: "."},
		"github.com/o/r/charts/web?ref=v1":                        {way: byGit, url: "https://github.com/o/r.git", folder: "charts/web", ref: "v1"},
		"gitlab.com/o/r//charts/web":                              {way: byGit, url: "https://gitlab.com/o/r.git", folder: "charts/web"},
		"bitbucket.org/o/r":                                       {way: byGit, url: "https://bitbucket.org/o/r.git", folder: "."},
	} {
		got, err := parseOrigin(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if len(got.sshKey) == 0 {
			got.sshKey = nil
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(origin{}, checksum{})); diff != "" {
			t.Errorf("%s (-want +got)\n%s", address, diff)
		}
	}
	for address, says := range map[string]string{
		"s3::https://h/b":                   "s3:: is not supported",
		"file:///etc":                       "must be https",
		"git::/etc":                         "must be https",
		"git::file:///etc":                  "must be https",
		"git::ext::sh -c x":                 "must be https",
		"https://":                          "names no host",
		"https://h/a.tgz//../x":             "leads out",
		"https://h/a.tgz?checksum=sha256:1": "checksum",
		"https://h/a.tgz?checksum=crc:ab":   "checksum",
		"https://h/a.tgz?archive=false":     "archive=false",
		"git::https://h/r?upload-pack=x":    "and nothing else",
		"git::ssh://h/r?sshkey=%25":         "not base64",
		"%zz":                               "cannot be parsed",
	} {
		if _, err := parseOrigin(address); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", address, err, says)
		}
	}
}

func TestRedact(t *testing.T) {
	for address, want := range map[string]string{
		"https://canary:canary@h/p?token=canary#canary":   "https://h/p",
		"git::https://canary:canary@h/p//f?sshkey=canary": "git::https://h/p//f",
		"git::https://canary:%zz@h/p?x":                   "git::https://h/p",
		"git::canary@h:o/r?sshkey=canary":                 "git::h:o/r",
		"canary@h:o/r":                                    "h:o/r",
		"github.com/o/r?sshkey=canary":                    "github.com/o/r",
		"oci://canary:canary@h/c":                         "oci://h/c",
		"s3::https://canary:canary@h/c":                   "s3::https://h/c",
		"https://h/p":                                     "https://h/p",
		"mailto:canary:canary@h?canary":                   "h",
	} {
		if got := redact(address); got != want {
			t.Errorf("redact(%s) = %s, want %s", address, got, want)
		}
	}
}

// The fuzzed text is an address: whatever it is, it is taken apart or refused,
// and nothing secret of it is shown.
func FuzzParseOrigin(f *testing.F) {
	for _, seed := range []string{"https://u:p@h/a//b?ref=x", "git::git@h:a/b//c?sshkey=a2V5", "github.com/a/b/c?x", "oci://h/c", "a::b::c", "https://h/%2e%2e//x", "://", "git@h:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if o, err := parseOrigin(address); err == nil {
			if o.url == "" || o.folder == "" || strings.HasPrefix(o.folder, "..") || strings.HasPrefix(o.folder, "/") {
				t.Errorf("%q gives %+v", address, o)
			}
		}
		marked := "https://user:canary" + "@" + strings.ReplaceAll(address, "canary", "")
		if shown := redact(marked); strings.Contains(shown, "canary") {
			t.Errorf("redact(%q) = %q", marked, shown)
		}
	})
}
