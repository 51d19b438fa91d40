// Package chartserver serves Helm charts to who knows the password, for development and tests: from a repository, and from a real OCI
// registry. It listens on this machine only.
package chartserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // the registry looks it up by its name
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // so it does this
	"golang.org/x/crypto/bcrypt"
	"helm.sh/helm/v3/pkg/registry"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/pki"
)

// Options of a server.
type Options struct {
	// Username and Password are asked for.
	Username, Password string
	// TLS serves over HTTPS, with a certificate that an authority of the server's own has signed: see CA.
	TLS bool
	// Dir is a folder for files of the server's own.
	Dir string
}

// server is what all servers have in common.
type server struct {
	listener net.Listener
	http     *http.Server
	ca       []byte
	done     chan error
}

// Address is the host and port.
func (s *server) Address() string { return s.listener.Addr().String() }

// CA is the certificate of the authority, in PEM form; empty without TLS.
func (s *server) CA() []byte { return s.ca }

// Close stops the server.
func (s *server) Close() error {
	if err := s.http.Close(); err != nil {
		return fmt.Errorf("stopping server: %w", err)
	}
	if err := <-s.done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving charts: %w", err)
	}
	return nil
}

func serve(handler http.Handler, withTLS bool) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting server: %w", err)
	}
	quiet := log.New(io.Discard, "", 0) // Clients that do not trust it are not its trouble.
	s := &server{
		listener: listener, done: make(chan error, 1),
		http: &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet},
	}
	if !withTLS {
		go func() { s.done <- s.http.Serve(listener) }()
		return s, nil
	}
	if s.ca, s.http.TLSConfig, err = pki.Loopback("chart server"); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	go func() { s.done <- s.http.ServeTLS(listener, "", "") }()
	return s, nil
}

// Registry is the registry of the distribution project, which keeps what it is given in memory.
type Registry struct {
	*server

	options Options
}

// StartRegistry serves until Close.
func StartRegistry(options Options) (*Registry, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(options.Password), bcrypt.MinCost)
	if err != nil {
		return nil, fmt.Errorf("starting registry: %w", err)
	}
	users := filepath.Join(options.Dir, "htpasswd")
	if err := os.WriteFile(users, []byte(options.Username+":"+string(hash)+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("starting registry: %w", err)
	}
	config := &configuration.Configuration{
		Storage: configuration.Storage{"inmemory": {}, "maintenance": {"uploadpurging": map[any]any{"enabled": false}}},
		Auth:    configuration.Auth{"htpasswd": {"realm": "charts", "path": users}},
	}
	config.Catalog.MaxEntries = 100
	s, err := serve(handlers.NewApp(context.Background(), config), options.TLS)
	if err != nil {
		return nil, err
	}
	return &Registry{s, options}, nil
}

// Push puts a chart's archive into the repository of a name, with a tag that is the version.
func (r *Registry) Push(repository, version string, archive []byte) error {
	options := []registry.ClientOption{
		registry.ClientOptWriter(io.Discard), registry.ClientOptBasicAuth(r.options.Username, r.options.Password),
		registry.ClientOptCredentialsFile(filepath.Join(r.options.Dir, "none.json")),
	}
	if r.options.TLS {
		trusting := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pki.Pool(r.CA()), MinVersion: tls.VersionTLS12}}
		defer trusting.CloseIdleConnections()
		options = append(options, registry.ClientOptHTTPClient(&http.Client{Transport: trusting}))
	} else {
		options = append(options, registry.ClientOptPlainHTTP())
	}
	client, err := registry.NewClient(options...)
	if err != nil {
		return fmt.Errorf("reaching registry: %w", err)
	}
	// A tag cannot hold a plus sign; Helm writes an underscore, and then does not compare.
	reference := r.Address() + "/" + repository + ":" + strings.ReplaceAll(version, "+", "_")
	if _, err := client.Push(archive, reference, registry.PushOptStrictMode(!strings.Contains(version, "+"))); err != nil {
		return fmt.Errorf("pushing %s: %w", reference, err)
	}
	return nil
}
