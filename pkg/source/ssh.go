package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/net/proxy"

	"github.com/flotilla-gitops/flotilla/pkg/transport"
)

const (
	defaultSSHUser = "git"
	// maxStderr is how much of what a server complains about is kept, in bytes.
	maxStderr = 4 << 10

	hintKnownHosts = "put the server's host keys (ssh-keyscan) under the key known_hosts of the client Secret or of the ConfigMap known-hosts"
)

// sshRemote speaks the git protocol through an SSH session. When its context
// ends, the connection is cut, so that no server can hold on to a caller.
type sshRemote struct {
	client  *ssh.Client
	session *ssh.Session
	stdin   io.WriteCloser
	stdout  io.Reader
	stderr  *head
	asked   bool
	release func() bool
}

// dialSSH connects, checks the host key and starts upload-pack. dir is where
// the known hosts are put for the moment it takes to read them.
func dialSSH(ctx context.Context, t target, dir string) (*sshRemote, error) {
	config, err := sshConfig(t, dir)
	if err != nil {
		return nil, err
	}
	dialCtx, cancel := context.WithTimeout(ctx, transport.DialTimeout)
	defer cancel()
	conn, err := proxy.Dial(dialCtx, "tcp", t.addr.dialAddress())
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	r := &sshRemote{stderr: &head{}, release: context.AfterFunc(ctx, func() { conn.Close() })}
	if err := r.start(conn, t, config); err != nil {
		r.release()
		conn.Close()
		return nil, r.explain(ctx, err)
	}
	return r, nil
}

func (r *sshRemote) start(conn net.Conn, t target, config *ssh.ClientConfig) error {
	c, channels, requests, err := ssh.NewClientConn(conn, t.addr.dialAddress(), config)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	r.client = ssh.NewClient(c, channels, requests)
	if r.session, err = r.client.NewSession(); err != nil {
		return fmt.Errorf("opening a session: %w", err)
	}
	r.session.Stderr = r.stderr
	if r.stdin, err = r.session.StdinPipe(); err != nil {
		return fmt.Errorf("opening a session: %w", err)
	}
	if r.stdout, err = r.session.StdoutPipe(); err != nil {
		return fmt.Errorf("opening a session: %w", err)
	}
	if err := r.session.Start(uploadPack + " " + shellQuote(t.addr.path)); err != nil {
		return fmt.Errorf("starting %s: %w", uploadPack, err)
	}
	return nil
}

// sshConfig demands a key and known hosts; nothing of the user's or the
// machine's SSH configuration, agent included, is consulted.
func sshConfig(t target, dir string) (*ssh.ClientConfig, error) {
	if t.Auth != nil && t.Auth.App != nil {
		return nil, &refusal{reason: Invalid, text: "a GitHub App is let in over HTTPS only", hint: "write the address as https://host/owner/repository"}
	}
	if t.Auth == nil || len(t.Auth.SSHPrivateKey) == 0 {
		return nil, &refusal{reason: AuthenticationFailed, text: "an SSH address needs a private key",
			hint: "set clientSecretName to a Secret of type kubernetes.io/ssh-auth"}
	}
	signer, err := ssh.ParsePrivateKey(t.Auth.SSHPrivateKey)
	var encrypted *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &encrypted):
		return nil, &refusal{reason: Invalid, text: "the private key is encrypted", hint: "use a key without passphrase"}
	case err != nil:
		return nil, &refusal{reason: Invalid, text: "the private key cannot be parsed", hint: "ssh-privatekey must be in PEM or OpenSSH form"}
	}
	hosts, err := readKnownHosts(t.Auth.KnownHosts, dir)
	if err != nil {
		return nil, err
	}
	user := t.addr.user
	if user == "" {
		user = t.Auth.Username
	}
	if user == "" {
		user = defaultSSHUser
	}
	return &ssh.ClientConfig{
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   hosts.HostKeyCallback(),
		HostKeyAlgorithms: hosts.HostKeyAlgorithms(t.addr.dialAddress()),
	}, nil
}

func readKnownHosts(content []byte, dir string) (*knownhosts.HostKeyDB, error) {
	if len(strings.TrimSpace(string(content))) == 0 {
		return nil, &refusal{reason: HostKey, text: "no known host keys are given", hint: hintKnownHosts}
	}
	file, err := os.CreateTemp(dir, tempPrefix+"known-hosts-*")
	if err != nil {
		return nil, fmt.Errorf("writing the known hosts: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("writing the known hosts: %w", err)
	}
	hosts, err := knownhosts.NewDB(file.Name())
	if err != nil {
		return nil, &refusal{reason: HostKey, text: "the known host keys cannot be parsed", hint: hintKnownHosts}
	}
	return hosts, nil
}

// shellQuote quotes a path for the shell that a server may run commands with.
func shellQuote(path string) string {
	quoted := strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path)
	return "'" + quoted + "'"
}

func (r *sshRemote) refs(ctx context.Context) (io.ReadCloser, error) {
	return &sshReader{remote: r, ctx: ctx}, nil
}

func (r *sshRemote) pack(ctx context.Context, request []byte) (io.ReadCloser, error) {
	r.asked = true
	if _, err := r.stdin.Write(request); err != nil {
		return nil, r.explain(ctx, fmt.Errorf("sending the request: %w", err))
	}
	return &sshReader{remote: r, ctx: ctx}, nil
}

func (r *sshRemote) close() {
	r.release()
	if !r.asked {
		// A flush packet says goodbye.
		_, _ = io.WriteString(r.stdin, "0000")
	}
	_ = r.session.Close()
	_ = r.client.Close()
}

// explain prefers, of several ways to describe a failure, the one that helps:
// the ended context, then the server's own words.
func (r *sshRemote) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if said := r.stderr.String(); said != "" {
		return saidByServer(said)
	}
	return err
}

// sshReader reads what the server sends. A server that gives up says why on
// its error channel, and only then exits.
type sshReader struct {
	remote *sshRemote
	ctx    context.Context
}

func (s *sshReader) Read(p []byte) (int, error) {
	n, err := s.remote.stdout.Read(p)
	if err == nil || n > 0 {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		_ = s.remote.stdin.Close()
		if exit := s.remote.session.Wait(); exit == nil {
			return 0, io.EOF
		}
	}
	return 0, s.remote.explain(s.ctx, err)
}

func (s *sshReader) Close() error { return nil }

// head keeps the beginning of what is written to it.
type head struct {
	mu   sync.Mutex
	text []byte
}

func (t *head) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := maxStderr - len(t.text); room > 0 {
		t.text = append(t.text, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (t *head) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
