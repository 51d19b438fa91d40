package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"testing"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/pki"
)

// dial makes client and server greet each other over TLS, each demanding a certificate of the given authority.
func dial(t *testing.T, trust *pki.Authority, server, client pki.Pair, host string) (*x509.Certificate, error) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(trust.Certificate) {
		t.Fatal("the authority's certificate cannot be read")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	serverConfig := &tls.Config{
		Certificates: []tls.Certificate{load(t, server)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
	}
	seen := make(chan *x509.Certificate, 1)
	go func() {
		defer close(seen)
		raw, err := listener.Accept()
		if err != nil {
			return
		}
		conn := tls.Server(raw, serverConfig)
		defer conn.Close()
		if conn.Handshake() == nil {
			seen <- conn.ConnectionState().PeerCertificates[0]
			conn.Write([]byte("x"))
		}
	}()

	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{Certificates: []tls.Certificate{load(t, client)}, RootCAs: roots, ServerName: host})
	// With TLS 1.3 a refused client learns it from the first read.
	_, err = io.ReadFull(conn, make([]byte, 1))
	raw.Close()
	return <-seen, err
}

func load(t *testing.T, pair pki.Pair) tls.Certificate {
	t.Helper()
	certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestCertificatesAreTrustedForWhatTheyWereMadeFor(t *testing.T) {
	authority := must[*pki.Authority](t)(pki.NewAuthority("hub"))
	other := must[*pki.Authority](t)(pki.NewAuthority("hub"))
	server := must[pki.Pair](t)(authority.Server("apiserver", "127.0.0.1", "kubernetes.default"))
	admin := must[pki.Pair](t)(authority.Client("admin", "system:masters"))
	stranger := must[pki.Pair](t)(other.Client("admin", "system:masters"))

	for _, test := range []struct {
		name           string
		server, client pki.Pair
		host           string
		works          bool
	}{
		{"by address", server, admin, "127.0.0.1", true},
		{"by name", server, admin, "kubernetes.default", true},
		{"another name", server, admin, "example.com", false},
		{"a client of another cluster", server, stranger, "127.0.0.1", false},
		{"a server's certificate used as a client's", server, server, "127.0.0.1", false},
		{"a client's certificate used as a server's", admin, admin, "127.0.0.1", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen, err := dial(t, authority, test.server, test.client, test.host)
			if works := err == nil; works != test.works {
				t.Fatalf("works: %v (error: %v), want %v", works, err, test.works)
			}
			if !test.works {
				return
			}
			if seen.Subject.CommonName != "admin" || len(seen.Subject.Organization) != 1 || seen.Subject.Organization[0] != "system:masters" {
				t.Errorf("the server sees user %q of groups %q", seen.Subject.CommonName, seen.Subject.Organization)
			}
		})
	}
}

func TestSigningKeyHalvesBelongTogether(t *testing.T) {
	pair := must[pki.Pair](t)(pki.SigningKey())
	private, _ := pem.Decode(pair.Key)
	public, _ := pem.Decode(pair.Certificate)
	if private == nil || public == nil {
		t.Fatal("not PEM")
	}
	key, err := x509.ParseECPrivateKey(private.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	half, err := x509.ParsePKIXPublicKey(public.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !key.PublicKey.Equal(half) {
		t.Error("the public half belongs to another key")
	}
}
