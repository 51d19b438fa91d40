// Package gitserver serves git repositories over smart HTTP and SSH, for development and tests.
//
// Git's own programs do the serving, so clients meet the real protocol. Every bare repository below the
// server's folder is served under its path, for reading and, over HTTP, for pushing, to this machine only
// (but see Options.Wider).
// What stands in the file Behaviour of a repository makes the server over HTTP ask for a password or fail on
// purpose.
package gitserver

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/pki"
)

// HealthPath answers when the server serves.
const HealthPath = "/healthz"

// maxPush bounds what one push may bring, in bytes.
const maxPush = 1 << 30

// Options of Start. Dir is required.
type Options struct {
	// Dir is the folder whose bare repositories are served.
	Dir string
	// Address to listen on; empty means a free port of the loopback interface.
	Address string
	// TLS serves over HTTPS, with a certificate that an authority of the server's own has signed: see CA.
	TLS bool
	// Wider lets the server listen on other addresses than those of the loopback interface, such as one of a network of this
	// machine alone.
	Wider bool
	// Log takes what git complains about; nil drops it.
	Log io.Writer
}

// Server is a running git server.
type Server struct {
	url  string
	ca   []byte
	http *http.Server
	stop context.CancelFunc
	done chan error
}

// Start serves until Close.
func Start(options Options) (*Server, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("starting git server: %w", err)
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, fmt.Errorf("starting git server: %w", err)
	}
	if options.Address == "" {
		options.Address = "127.0.0.1:0"
	}
	if options.Log == nil {
		options.Log = io.Discard
	}
	listener, err := net.Listen("tcp", options.Address)
	if err != nil {
		return nil, fmt.Errorf("starting git server: %w", err)
	}
	if ip := listener.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() && !options.Wider {
		return nil, errors.Join(fmt.Errorf("starting git server: %s is not an address of this machine alone", ip), listener.Close())
	}
	// Requests that hang on purpose hold until the client or the server goes.
	alive, stop := context.WithCancel(context.Background())
	s := &Server{
		url: "http://" + listener.Addr().String(), stop: stop, done: make(chan error, 1),
		http: &http.Server{
			Handler:           &handler{git: git, dir: dir, log: options.Log, alive: alive},
			ReadHeaderTimeout: 10 * time.Second,
		},
	}
	if !options.TLS {
		go func() { s.done <- s.http.Serve(listener) }()
		return s, nil
	}
	if s.ca, s.http.TLSConfig, err = pki.Loopback("git server"); err != nil {
		return nil, errors.Join(fmt.Errorf("starting git server: %w", err), listener.Close())
	}
	s.url = "https://" + listener.Addr().String()
	s.http.ErrorLog = log.New(io.Discard, "", 0) // Clients that do not trust it are not its trouble.
	go func() { s.done <- s.http.ServeTLS(listener, "", "") }()
	return s, nil
}

// CA is the certificate of the authority, in PEM form; empty without TLS.
func (s *Server) CA() []byte { return s.ca }

// URL is the server's address. The repository DIR/NAME.git is served at URL()/NAME.git.
func (s *Server) URL() string { return s.url }

// Wait returns when the server has stopped, with the reason if that was not Close.
func (s *Server) Wait() error {
	err := <-s.done
	s.done <- err
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving git: %w", err)
}

// Close stops the server and every request that it serves.
func (s *Server) Close() error {
	s.stop()
	if err := s.http.Close(); err != nil {
		return fmt.Errorf("stopping git server: %w", err)
	}
	return s.Wait()
}

type handler struct {
	git, dir string
	log      io.Writer
	alive    context.Context //nolint:containedctx // The life of the server, which no single request has.
}

// ServeHTTP answers one request of a git client.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == HealthPath {
		_, _ = io.WriteString(w, "ok\n")
		return
	}
	behaviour, err := h.behaviourOf(r.URL.Path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	switch behaviour.Failure {
	case FailRefuse:
		panic(http.ErrAbortHandler) // The documented way to hang up without an answer.
	case FailHang:
		select {
		case <-r.Context().Done():
		case <-h.alive.Done():
		}
		return
	case FailError:
		http.Error(w, "this repository fails on purpose", http.StatusInternalServerError)
		return
	case FailNot:
	}
	if !behaviour.admits(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "authentication required", http.StatusUnauthorized)
		return
	}
	// CGI wants to know the length of a request before it begins.
	if r.ContentLength < 0 {
		body, err := spool(http.MaxBytesReader(w, r.Body, maxPush))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		defer body.remove()
		r = r.Clone(r.Context())
		r.Body, r.ContentLength, r.TransferEncoding = body, body.size, nil
	}
	h.backend(r).ServeHTTP(w, r)
}

func (h *handler) backend(r *http.Request) http.Handler {
	return &cgi.Handler{
		Path: h.git,
		// The repositories may have been made by another user of this machine, such as root.
		Args: []string{"-c", "safe.directory=*", "-c", "http.receivepack=true", "http-backend"},
		Dir:  h.dir,
		Env: []string{
			"GIT_PROJECT_ROOT=" + h.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_PROTOCOL=" + r.Header.Get("Git-Protocol"),
			"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		},
		Stderr: h.log,
	}
}

// behaviourOf reads how the repository that a URL path names wants to be served.
func (h *handler) behaviourOf(path string) (Behaviour, error) {
	name, _, found := strings.Cut(strings.TrimPrefix(path, "/"), ".git/")
	if !found || !filepath.IsLocal(name) {
		return Behaviour{}, nil // Not a repository; git will say so.
	}
	return readBehaviour(filepath.Join(h.dir, filepath.FromSlash(name)+".git"))
}

func (b Behaviour) admits(r *http.Request) bool {
	if b.Username == "" && b.Password == "" {
		return true
	}
	username, password, _ := r.BasicAuth()
	return subtle.ConstantTimeCompare([]byte(username), []byte(b.Username))&
		subtle.ConstantTimeCompare([]byte(password), []byte(b.Password)) == 1
}

// spooled is a request body that was put on disk.
type spooled struct {
	*os.File
	size int64
}

func spool(body io.Reader) (*spooled, error) {
	file, err := os.CreateTemp("", "git-push-")
	if err != nil {
		return nil, err
	}
	s := &spooled{File: file}
	if s.size, err = io.Copy(file, body); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		s.remove()
		return nil, fmt.Errorf("receiving request: %w", err)
	}
	return s, nil
}

func (s *spooled) remove() {
	_ = s.Close()
	_ = os.Remove(s.Name())
}
