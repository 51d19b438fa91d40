package webhook

import "testing"

func TestRepository(t *testing.T) {
	same := map[string][]string{
		"github.com/team/web": {
			"https://github.com/team/web", "https://github.com/team/web.git", "https://GitHub.com/Team/Web.git/", "http://github.com:80/team/web",
			"https://user:password@github.com/team/web.git", "git@github.com:team/web.git", "git@github.com:/team/web", "github.com:team/web",
			"ssh://git@github.com/team/web.git", "ssh://git@github.com:22/team/web.git",
		},
		"gitlab.example.com/a/b/c":        {"https://gitlab.example.com:8443/a/b/c.git", "ssh://git@gitlab.example.com:2222/a/b/c.git", "git@gitlab.example.com:a/b/c.git"},
		"dev.azure.com/org/shop/_git/web": {"https://org@dev.azure.com/org/shop/_git/web", "git@ssh.dev.azure.com:v3/org/shop/web", "https://org.visualstudio.com/shop/_git/web", "https://org.visualstudio.com/DefaultCollection/shop/_git/web"},
		"dev.azure.com/org/my shop/_git/my web": {
			"https://dev.azure.com/org/my%20shop/_git/my%20web", "git@ssh.dev.azure.com:v3/org/my%20shop/my%20web",
		},
		"::1/team/web": {"https://[::1]:8443/team/web.git", "git@[::1]:team/web.git"},
	}
	for want, addresses := range same {
		for _, address := range addresses {
			if got, ok := Repository(address); !ok || got != want {
				t.Errorf("Repository(%q) = %q, %t; want %q", address, got, ok, want)
			}
		}
	}
	for _, address := range []string{"", "https://github.com", "https://github.com/", "/srv/git/web", "https:///team/web", "://", "https://%zz/x", "https://github.com/.git"} {
		if got, ok := Repository(address); ok {
			t.Errorf("Repository(%q) = %q", address, got)
		}
	}
	// What means something in a pattern means itself.
	if a, _ := Repository("https://github.com/.*"); a == "github.com/team" {
		t.Error("an address is taken for a pattern")
	}
}

func TestFollows(t *testing.T) {
	tests := []struct {
		ref, branch, revision string
		want                  bool
	}{
		{"refs/heads/master", "", "", true},
		{"refs/heads/main", "", "", false},
		{"refs/heads/main", "main", "", true},
		{"refs/heads/feature/main", "main", "", false},
		{"refs/tags/main", "main", "", false},
		{"refs/tags/v1", "main", "v1", true},
		{"refs/heads/main", "main", "v1", false},
		{"refs/heads/main", "", "heads/main", true},
		{"refs/heads/main", "", "refs/heads/main", true},
		{"refs/heads/main", ".*", "", false},
	}
	for _, tt := range tests {
		if got := (Change{Ref: tt.ref}).Follows(tt.branch, tt.revision); got != tt.want {
			t.Errorf("%s, branch %q, revision %q: %t", tt.ref, tt.branch, tt.revision, got)
		}
	}
}
