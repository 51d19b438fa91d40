package source

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Auth holds the credentials for one repository. Which of them are used
// depends on the protocol of the address.
type Auth struct {
	// Username and Password serve HTTP. Username is also the SSH user if the
	// address names none.
	Username, Password string
	// BearerToken serves HTTP in place of them.
	BearerToken string
	// App serves HTTP in place of them, too.
	App *GitHubApp
	// SSHPrivateKey is an unencrypted private key in PEM or OpenSSH form.
	SSHPrivateKey []byte
	// KnownHosts lists the host keys that are accepted, in the form of an
	// OpenSSH known_hosts file. Over SSH it is required.
	KnownHosts []byte
}

// parts is everything that tells one credential from another.
func (a *Auth) parts() []string {
	parts := []string{a.Username, a.Password, string(a.SSHPrivateKey), string(a.KnownHosts), a.BearerToken}
	if a.App != nil {
		parts = append(parts, a.App.parts()...)
	}
	return parts
}

// AuthFromSecret reads credentials from a Secret of type
// kubernetes.io/basic-auth or kubernetes.io/ssh-auth, or with the keys of one
// of them, of a GitHub App, or of a bearer token. The error names keys, never
// values.
func AuthFromSecret(secret *corev1.Secret) (*Auth, error) {
	user, password := secret.Data[names.KeyUsername], secret.Data[names.KeyPassword]
	key := secret.Data[names.KeySSHPrivateKey]
	switch {
	case len(key) > 0:
		return &Auth{Username: string(user), SSHPrivateKey: key, KnownHosts: secret.Data[names.KeyKnownHosts]}, nil
	case len(password) > 0:
		return &Auth{Username: string(user), Password: string(password)}, nil
	case len(secret.Data[names.KeyGitHubAppID]) > 0:
		app, err := appFromSecret(secret)
		if err != nil {
			return nil, fmt.Errorf("reading Secret %s/%s: %w", secret.Namespace, secret.Name, err)
		}
		return &Auth{App: app}, nil
	case len(secret.Data[names.KeyBearerToken]) > 0:
		return &Auth{BearerToken: text(secret, names.KeyBearerToken)}, nil
	default:
		return nil, fmt.Errorf("reading Secret %s/%s: it has neither the keys %q and %q nor the key %q, those of a GitHub App (%q, …) or %q",
			secret.Namespace, secret.Name, names.KeyUsername, names.KeyPassword, names.KeySSHPrivateKey, names.KeyGitHubAppID, names.KeyBearerToken)
	}
}

// text is the value of a key, without the blanks that editors leave around it.
func text(secret *corev1.Secret, key string) string {
	return strings.TrimSpace(string(secret.Data[key]))
}

// IDs of Apps and installations become part of tokens and addresses.
var (
	appID          = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	installationID = regexp.MustCompile(`^[0-9]{1,20}$`)
)

func appFromSecret(secret *corev1.Secret) (*GitHubApp, error) {
	app := &GitHubApp{
		ID: text(secret, names.KeyGitHubAppID), Installation: text(secret, names.KeyGitHubAppInstallationID),
		PrivateKey: secret.Data[names.KeyGitHubAppPrivateKey], BaseURL: text(secret, names.KeyGitHubAppBaseURL),
	}
	switch _, err := app.key(); {
	case !appID.MatchString(app.ID):
		return nil, fmt.Errorf("the key %q must hold the ID, or the client ID, of a GitHub App", names.KeyGitHubAppID)
	case !installationID.MatchString(app.Installation):
		return nil, fmt.Errorf("the key %q must hold the number of the App's installation", names.KeyGitHubAppInstallationID)
	case err != nil:
		return nil, fmt.Errorf("the key %q %w", names.KeyGitHubAppPrivateKey, err)
	}
	return app, nil
}
