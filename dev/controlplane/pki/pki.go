// Package pki makes the keys and certificates of one development control plane.
//
// Nothing here is fit for production: the authority's key lies beside the certificates it signs, and all of
// it lives as long as the folder of a throw-away cluster.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// validity of everything made here. A cluster lives for hours; the start lies back for clocks that differ.
const (
	validity  = 10 * 365 * 24 * time.Hour
	clockSkew = time.Hour
)

// Pair is a private key and what it proves, both PEM.
type Pair struct {
	Certificate []byte
	Key         []byte
}

// Authority signs the certificates of one cluster.
type Authority struct {
	Pair
	certificate *x509.Certificate
	key         crypto.Signer
}

// NewAuthority makes a certificate authority with a name that shows in its certificate.
func NewAuthority(name string) (*Authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, err
	}
	certificate, certificatePEM, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{Pair{certificatePEM, keyPEM}, certificate, key}, nil
}

// Server makes the certificate of a server that answers to these host names and addresses.
func (a *Authority) Server(name string, hosts ...string) (Pair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return a.issue(template)
}

// Loopback makes an authority, whose certificate it returns in PEM form, and what a server of this machine needs to be trusted
// by who trusts that.
func Loopback(name string) (ca []byte, config *tls.Config, err error) {
	authority, err := NewAuthority(name + " authority")
	if err != nil {
		return nil, nil, err
	}
	pair, err := authority.Server(name, "127.0.0.1", "::1", "localhost")
	if err != nil {
		return nil, nil, err
	}
	certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("reading certificate: %w", err)
	}
	return authority.Certificate, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}, nil
}

// Pool trusts an authority whose certificate is given in PEM form.
func Pool(ca []byte) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return pool
}

// Client makes the certificate of a Kubernetes user in these groups.
func (a *Authority) Client(user string, groups ...string) (Pair, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *Authority) issue(template *x509.Certificate) (Pair, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return Pair{}, err
	}
	_, certificatePEM, err := sign(template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{certificatePEM, keyPEM}, nil
}

// SigningKey makes the key pair that service-account tokens are signed and checked with; the public half
// takes the place of a certificate.
func SigningKey() (Pair, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return Pair{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Pair{}, fmt.Errorf("encoding public key: %w", err)
	}
	return Pair{pemBlock("PUBLIC KEY", der), keyPEM}, nil
}

func newKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating key: %w", err)
	}
	// The form that kube-controller-manager reads service-account keys in.
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding key: %w", err)
	}
	return key, pemBlock("EC PRIVATE KEY", der), nil
}

// sign completes the template by a serial number and a lifetime and has it signed by the parent's key.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, parentKey crypto.Signer) (*x509.Certificate, []byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, fmt.Errorf("choosing serial number: %w", err)
	}
	now := time.Now()
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = now.Add(-clockSkew), now.Add(validity)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, parentKey)
	if err != nil {
		return nil, nil, fmt.Errorf("signing certificate of %s: %w", template.Subject.CommonName, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("reading signed certificate: %w", err)
	}
	return certificate, pemBlock("CERTIFICATE", der), nil
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
