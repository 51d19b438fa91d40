package source

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
)

func newKey(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	signer, private, err := gitserver.NewSSHKey()
	if err != nil {
		t.Fatal(err)
	}
	return signer, private
}

func newSSHServer(t testing.TB, root string) *gitserver.SSHServer {
	t.Helper()
	s, err := gitserver.StartSSH(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func authOf(s *gitserver.SSHServer) *Auth {
	return &Auth{SSHPrivateKey: s.ClientKey(), KnownHosts: s.KnownHosts()}
}

func TestSSH(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	sshd := newSSHServer(t, s.root)
	m := newTestMirrors(t, Limits{})
	for _, url := range []string{"ssh://git@" + sshd.Address() + r.bare, "ssh://" + sshd.Address() + r.bare} {
		for i := range 5 {
			commit := r.commit(map[string]string{"n": url + fmt.Sprint(i), "noise": noise(uint64(i), 2000)})
			req := Request{URL: url, Auth: authOf(sshd)}
			head, err := m.Head(context.Background(), req)
			if err != nil || head != commit {
				t.Fatalf("Head = %q, %v, want %q", head, err, commit)
			}
			checkout(t, r, fetch(t, m, req, commit))
			fetch(t, m, req, commit)
		}
	}
	fsck(t, m)
}

func TestSSHRefusals(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	r.commit(map[string]string{"a": "1"})
	sshd := newSSHServer(t, s.root)
	other, otherKey := newKey(t)
	url := "ssh://git@" + sshd.Address() + r.bare
	with := func(change func(*Auth)) *Auth {
		auth := authOf(sshd)
		change(auth)
		return auth
	}
	for _, tc := range []struct {
		name   string
		url    string
		auth   *Auth
		reason Reason
		says   string
	}{
		{"no known hosts", url, with(func(a *Auth) { a.KnownHosts = nil }), HostKey, "known_hosts"},
		{"known hosts that are none", url, with(func(a *Auth) { a.KnownHosts = []byte("what is this\n") }), HostKey, "cannot be parsed"},
		{"another host is known", url, with(func(a *Auth) {
			a.KnownHosts = gitserver.KnownHosts("example.test", other.PublicKey())
		}), HostKey, "under the key known_hosts"},
		{"the host has another key", url, with(func(a *Auth) {
			a.KnownHosts = gitserver.KnownHosts(sshd.Address(), other.PublicKey())
		}), HostKey, "ConfigMap known-hosts"},
		{"a GitHub App", url, &Auth{App: &GitHubApp{}}, Invalid, "over HTTPS only"},
		{"another client key", url, with(func(a *Auth) { a.SSHPrivateKey = otherKey }), AuthenticationFailed, "unable to authenticate"},
		{"a key that is none", url, with(func(a *Auth) { a.SSHPrivateKey = []byte("secret") }), Invalid, "cannot be parsed"},
		{"another user", strings.Replace(url, "git@", "root@", 1), authOf(sshd), AuthenticationFailed, "unable to authenticate"},
		{"no such repository", "ssh://git@" + sshd.Address() + "/no/such.git", authOf(sshd), NotFound, "does not appear to be a git repository"},
		{"a path with a quote", "ssh://git@" + sshd.Address() + "/no/x'; touch " + "pwned'.git", authOf(sshd), Invalid, "spaces"},
		{"a path with a quote and no space", "ssh://git@" + sshd.Address() + "/no/x';touch${IFS}pwned;'.git", authOf(sshd), NotFound, "does not appear"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := newTestMirrors(t, Limits{Timeout: 10 * time.Second}).Fetch(context.Background(), Request{URL: tc.url, Auth: tc.auth})
			wantError(t, err, tc.reason, tc.says)
		})
	}
	if _, err := os.Stat(s.root + "/pwned"); err == nil {
		t.Error("the path was run as a command")
	}
}

// A host that accepts the connection and then says nothing holds nobody up.
func TestSSHTimeout(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	host, private := newKey(t)
	address := listener.Addr().String()
	auth := &Auth{SSHPrivateKey: private, KnownHosts: gitserver.KnownHosts(address, host.PublicKey())}
	began := time.Now()
	_, err = newTestMirrors(t, Limits{Timeout: 200 * time.Millisecond}).Head(context.Background(), Request{URL: "ssh://git@" + address + "/x", Auth: auth})
	wantError(t, err, Timeout)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}
