package bundlereader

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// ChartAuth is how to be let in where charts are: credentials, and whom to
// trust. All of it is used for Allowed addresses alone.
type ChartAuth struct {
	// Username and Password are for chart repositories, archives, registries, and
	// Git over HTTP.
	Username, Password string
	// SSHPrivateKey and KnownHosts are for Git over SSH.
	SSHPrivateKey, KnownHosts []byte
	// CACerts are PEM certificates that are trusted beside those of the system.
	CACerts []byte
	// InsecureSkipVerify trusts every certificate.
	InsecureSkipVerify bool
	// BasicHTTP speaks to registries without TLS.
	BasicHTTP bool
	// Allowed are the addresses that this is for; nil for none.
	Allowed *Addresses
}

// ChartCredentials are those of a GitRepo.
type ChartCredentials struct {
	// All is for every folder, unless there are Paths.
	All *ChartAuth
	// Paths, if not nil, says which folder has which: the first that matches
	// counts, and a folder that none matches has none.
	Paths []PathCredentials
}

// PathCredentials are for the folders that match a pattern, as path.Match does.
type PathCredentials struct {
	Pattern string
	Auth    *ChartAuth
}

// For returns the credentials for a folder, or nil.
func (c ChartCredentials) For(folder string) *ChartAuth {
	if c.Paths == nil {
		return c.All
	}
	for _, p := range c.Paths {
		if ok, _ := path.Match(p.Pattern, folder); ok {
			return p.Auth
		}
	}
	return nil
}

// ChartAuthFromSecret reads the Secret that a GitRepo names in helmSecretName.
// Errors name keys, never values.
func ChartAuthFromSecret(secret *corev1.Secret, allowed *Addresses) (*ChartAuth, error) {
	auth := &ChartAuth{
		Username: string(secret.Data[names.KeyUsername]), Password: string(secret.Data[names.KeyPassword]),
		SSHPrivateKey: secret.Data[names.KeySSHPrivateKey], KnownHosts: secret.Data[names.KeyKnownHosts],
		CACerts: secret.Data[names.KeyCACerts], Allowed: allowed,
	}
	for key, field := range map[string]*bool{
		names.KeyInsecureSkipVerify: &auth.InsecureSkipVerify, names.KeyBasicHTTP: &auth.BasicHTTP,
	} {
		text := strings.TrimSpace(string(secret.Data[key]))
		if text == "" {
			continue
		}
		value, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("the key %q of Secret %s/%s must be true or false", key, secret.Namespace, secret.Name)
		}
		*field = value
	}
	if err := auth.check(); err != nil {
		return nil, fmt.Errorf("reading Secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return auth, nil
}

// pathAuth is an entry of the file of credentials by path.
type pathAuth struct {
	Username           string `json:"username"`
	Password           string `json:"password"`
	CABundle           string `json:"caBundle"`
	SSHPrivateKey      string `json:"sshPrivateKey"`
	KnownHosts         string `json:"knownHosts"`
	InsecureSkipVerify bool   `json:"insecureSkipVerify"`
	BasicHTTP          bool   `json:"basicHTTP"`
}

// PathCredentialsFromSecret reads the Secret that a GitRepo names in
// helmSecretNameForPaths, in the order in which its patterns are tried. Errors
// name patterns and fields, never values.
func PathCredentialsFromSecret(secret *corev1.Secret, allowed *Addresses) ([]PathCredentials, error) {
	in := fmt.Sprintf("Secret %s/%s", secret.Namespace, secret.Name)
	raw, ok := secret.Data[names.KeyPathCredentials]
	if !ok {
		return nil, fmt.Errorf("%s has no key %q", in, names.KeyPathCredentials)
	}
	var file map[string]pathAuth
	if data, err := toJSON(raw); err != nil || yaml.UnmarshalStrict(data, &file) != nil {
		// What the parser says may quote a password.
		return nil, fmt.Errorf("%s: the key %q must hold, by path, the fields username, password, caBundle, sshPrivateKey, knownHosts, insecureSkipVerify and basicHTTP",
			in, names.KeyPathCredentials)
	}
	found := []PathCredentials{}
	for _, pattern := range slices.Sorted(maps.Keys(file)) {
		entry := file[pattern]
		auth := &ChartAuth{
			Username: entry.Username, Password: entry.Password, KnownHosts: []byte(entry.KnownHosts),
			CACerts: armoured(entry.CABundle), SSHPrivateKey: armoured(entry.SSHPrivateKey),
			InsecureSkipVerify: entry.InsecureSkipVerify, BasicHTTP: entry.BasicHTTP, Allowed: allowed,
		}
		clean := path.Clean(strings.TrimLeft(pattern, "/"))
		if _, err := path.Match(clean, ""); err != nil {
			return nil, fmt.Errorf("%s: the path %q cannot be parsed as a pattern", in, shorten(pattern))
		}
		if err := auth.check(); err != nil {
			return nil, fmt.Errorf("%s: path %q: %w", in, shorten(pattern), err)
		}
		found = append(found, PathCredentials{Pattern: clean, Auth: auth})
	}
	return found, nil
}

// armoured returns what is written in PEM or OpenSSH form, or as base64 of that.
func armoured(text string) []byte {
	text = strings.TrimSpace(text)
	if text == "" || strings.HasPrefix(text, "-----BEGIN") {
		return []byte(text)
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return []byte(text)
	}
	return decoded
}

func (a *ChartAuth) check() error {
	if len(a.CACerts) == 0 {
		return nil
	}
	if block, _ := pem.Decode(a.CACerts); block == nil {
		return errors.New("the certificates of the authority are not in PEM form")
	}
	return nil
}
