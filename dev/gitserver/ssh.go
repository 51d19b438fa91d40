package gitserver

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSHUser is the user whom an SSHServer knows.
const SSHUser = "git"

// SSHServer serves git repositories over SSH, for reading, to whoever holds its client key. As on a real host, a
// shell splits what the client wants run into words.
type SSHServer struct {
	dir       string
	listener  net.Listener
	config    *ssh.ServerConfig
	host      ssh.PublicKey
	clientKey []byte

	mu       sync.Mutex
	open     map[net.Conn]bool
	commands []string
	serving  sync.WaitGroup
}

// NewSSHKey makes a key pair; the private half comes in OpenSSH's form, too.
func NewSSHKey() (ssh.Signer, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("reading key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, nil, fmt.Errorf("encoding key: %w", err)
	}
	return signer, pem.EncodeToMemory(block), nil
}

// StartSSH serves the repositories of a folder, whose paths are absolute or relative to it, until Close.
func StartSSH(dir string) (*SSHServer, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("starting SSH server: %w", err)
	}
	host, _, err := NewSSHKey()
	if err != nil {
		return nil, fmt.Errorf("starting SSH server: %w", err)
	}
	client, clientKey, err := NewSSHKey()
	if err != nil {
		return nil, fmt.Errorf("starting SSH server: %w", err)
	}
	s := &SSHServer{dir: dir, host: host.PublicKey(), clientKey: clientKey, open: map[net.Conn]bool{}}
	s.config = &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if meta.User() != SSHUser || string(key.Marshal()) != string(client.PublicKey().Marshal()) {
			return nil, errors.New("unknown key")
		}
		return &ssh.Permissions{}, nil
	}}
	s.config.AddHostKey(host)
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("starting SSH server: %w", err)
	}
	s.serving.Go(s.accept)
	return s, nil
}

// URL is the address of a repository, given by its path.
func (s *SSHServer) URL(path string) string {
	return "ssh://" + SSHUser + "@" + s.Address() + "/" + strings.TrimPrefix(path, "/")
}

// Address is the host and port.
func (s *SSHServer) Address() string { return s.listener.Addr().String() }

// ClientKey is the private key that is let in.
func (s *SSHServer) ClientKey() []byte { return s.clientKey }

// KnownHosts is the line of a known_hosts file for the server.
func (s *SSHServer) KnownHosts() []byte { return KnownHosts(s.Address(), s.host) }

// KnownHosts is the line of a known_hosts file that says which key a host has.
func KnownHosts(address string, key ssh.PublicKey) []byte {
	return []byte(knownhosts.Line([]string{address}, key) + "\n")
}

// Commands are what clients wanted run so far.
func (s *SSHServer) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.commands...)
}

// Close stops the server and every conversation.
func (s *SSHServer) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	for conn := range s.open {
		err = errors.Join(err, conn.Close())
	}
	s.mu.Unlock()
	s.serving.Wait()
	return err
}

func (s *SSHServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open[conn] = true
		s.mu.Unlock()
		s.serving.Go(func() {
			s.converse(conn)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.open[conn] {
				delete(s.open, conn)
				conn.Close()
			}
		})
	}
}

func (s *SSHServer) converse(conn net.Conn) {
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	var sessions sync.WaitGroup
	defer sessions.Wait()
	sessions.Go(func() { ssh.DiscardRequests(requests) })
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() {
			for request := range requests {
				if request.Type != "exec" || len(request.Payload) < 4 {
					_ = request.Reply(false, nil)
					continue
				}
				_ = request.Reply(true, nil)
				s.run(channel, string(request.Payload[4:]))
			}
		})
	}
}

// run runs git upload-pack, and nothing else.
func (s *SSHServer) run(channel ssh.Channel, command string) {
	defer func() { _ = channel.Close() }() // The client may have closed it before.
	s.mu.Lock()
	s.commands = append(s.commands, command)
	s.mu.Unlock()
	exit := uint32(128)
	if arguments, ok := strings.CutPrefix(command, "git-upload-pack "); ok {
		cmd := exec.Command("sh", "-c", "exec git -c safe.directory='*' upload-pack "+arguments)
		cmd.Dir = s.dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
		cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
		if stdin, err := cmd.StdinPipe(); err == nil {
			go func() {
				_, _ = io.Copy(stdin, channel)
				stdin.Close()
			}()
			if err := cmd.Run(); err == nil {
				exit = 0
			}
		}
	} else {
		fmt.Fprintln(channel.Stderr(), "only git-upload-pack is served")
	}
	_, _ = channel.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, exit))
}
