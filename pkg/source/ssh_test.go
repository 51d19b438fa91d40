package source

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshServer runs the real git upload-pack for whoever holds the client key.
type sshServer struct {
	address string
	host    ssh.Signer
	client  []byte // private key, PEM
	root    string
	ran     chan string
}

func newKey(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

func newSSHServer(t testing.TB, root string) *sshServer {
	t.Helper()
	host, _ := newKey(t)
	client, private := newKey(t)
	s := &sshServer{host: host, client: private, root: root, ran: make(chan string, 100)}
	config := &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if meta.User() != "git" || string(key.Marshal()) != string(client.PublicKey().Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	s.address = listener.Addr().String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, config)
		}
	}()
	return s
}

func (s *sshServer) serve(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			for request := range requests {
				if request.Type != "exec" {
					_ = request.Reply(false, nil)
					continue
				}
				_ = request.Reply(true, nil)
				command := string(request.Payload[4:])
				s.ran <- command
				cmd := exec.Command("sh", "-c", "exec git "+strings.TrimPrefix(command, "git-"))
				cmd.Dir, cmd.Env = s.root, gitEnv()
				cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
				stdin, _ := cmd.StdinPipe()
				go func() {
					buffer := make([]byte, 4096)
					for {
						n, err := channel.Read(buffer)
						_, _ = stdin.Write(buffer[:n])
						if err != nil {
							stdin.Close()
							return
						}
					}
				}()
				var status [4]byte
				if err := cmd.Run(); err != nil {
					binary.BigEndian.PutUint32(status[:], 128)
				}
				_, _ = channel.SendRequest("exit-status", false, status[:])
				channel.Close()
			}
		}()
	}
}

func (s *sshServer) auth() *Auth {
	return &Auth{SSHPrivateKey: s.client, KnownHosts: []byte(knownhosts.Line([]string{s.address}, s.host.PublicKey()) + "\n")}
}

func TestSSH(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	sshd := newSSHServer(t, s.root)
	m := newTestMirrors(t, Limits{})
	for _, url := range []string{"ssh://git@" + sshd.address + r.bare, "ssh://" + sshd.address + r.bare} {
		for i := range 5 {
			commit := r.commit(map[string]string{"n": url + fmt.Sprint(i), "noise": noise(uint64(i), 2000)})
			req := Request{URL: url, Auth: sshd.auth()}
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
	url := "ssh://git@" + sshd.address + r.bare
	with := func(change func(*Auth)) *Auth {
		auth := sshd.auth()
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
			a.KnownHosts = []byte(knownhosts.Line([]string{"example.test"}, other.PublicKey()) + "\n")
		}), HostKey, "under the key known_hosts"},
		{"the host has another key", url, with(func(a *Auth) {
			a.KnownHosts = []byte(knownhosts.Line([]string{sshd.address}, other.PublicKey()) + "\n")
		}), HostKey, "ConfigMap known-hosts"},
		{"a GitHub App", url, &Auth{App: &GitHubApp{}}, Invalid, "over HTTPS only"},
		{"another client key", url, with(func(a *Auth) { a.SSHPrivateKey = otherKey }), AuthenticationFailed, "unable to authenticate"},
		{"a key that is none", url, with(func(a *Auth) { a.SSHPrivateKey = []byte("secret") }), Invalid, "cannot be parsed"},
		{"another user", strings.Replace(url, "git@", "root@", 1), sshd.auth(), AuthenticationFailed, "unable to authenticate"},
		{"no such repository", "ssh://git@" + sshd.address + "/no/such.git", sshd.auth(), NotFound, "does not appear to be a git repository"},
		{"a path with a quote", "ssh://git@" + sshd.address + "/no/x'; touch " + "pwned'.git", sshd.auth(), Invalid, "spaces"},
		{"a path with a quote and no space", "ssh://git@" + sshd.address + "/no/x';touch${IFS}pwned;'.git", sshd.auth(), NotFound, "does not appear"},
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
	auth := &Auth{SSHPrivateKey: private, KnownHosts: []byte(knownhosts.Line([]string{address}, host.PublicKey()) + "\n")}
	began := time.Now()
	_, err = newTestMirrors(t, Limits{Timeout: 200 * time.Millisecond}).Head(context.Background(), Request{URL: "ssh://git@" + address + "/x", Auth: auth})
	wantError(t, err, Timeout)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}
