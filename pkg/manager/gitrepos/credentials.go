package gitrepos

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/source"
)

// missingError says that a user has to correct what a GitRepo refers to. There
// is nothing to try again before that: the correction is an event.
type missingError struct{ error }

// secretOf returns the Secret with the GitRepo's credentials, and whether the
// GitRepo names it itself.
func secretOf(repo *fleet.GitRepo) (key kube.Key, named bool) {
	if repo.Spec.ClientSecretName != "" {
		return kube.Key{Namespace: repo.Namespace, Name: repo.Spec.ClientSecretName}, true
	}
	return kube.Key{Namespace: repo.Namespace, Name: names.SecretGitCredential}, false
}

// request says what is to be fetched, and with which credentials.
func (c *controller) request(ctx context.Context, repo *fleet.GitRepo) (source.Request, error) {
	request := source.Request{
		URL: repo.Spec.Repo, Branch: repo.Spec.Branch, Revision: repo.Spec.Revision,
		CABundle: repo.Spec.CABundle, InsecureSkipTLSVerify: repo.Spec.InsecureSkipTLSVerify,
	}
	key, named := secretOf(repo)
	field := "spec.clientSecretName"
	if !named {
		field = "the default credentials"
	}
	secret, err := c.Secrets.Get(ctx, key)
	switch {
	case apierrors.IsNotFound(err) && !named:
		return request, nil
	case apierrors.IsNotFound(err):
		return request, &missingError{fmt.Errorf("%s: Secret %s is not in namespace %s: create it, or correct the name", field, key.Name, key.Namespace)}
	case err != nil:
		return request, err
	}
	if request.Auth, err = source.AuthFromSecret(secret); err != nil {
		return request, &missingError{fmt.Errorf("%s: %w", field, err)}
	}
	if len(request.Auth.SSHPrivateKey) == 0 || len(request.Auth.KnownHosts) > 0 {
		return request, nil
	}
	hosts, err := c.KnownHosts.Get(ctx, c.knownHosts())
	switch {
	case apierrors.IsNotFound(err):
		return request, nil // Which the host key is refused for.
	case err != nil:
		return request, err
	}
	request.Auth.KnownHosts = []byte(hosts.Data[names.KeyKnownHosts])
	return request, nil
}

func (c *controller) knownHosts() kube.Key {
	return kube.Key{Namespace: c.Namespace, Name: names.ConfigMapKnownHosts}
}

// onSecret has the repositories asked at once whose credentials have changed,
// and the bundles read again whose charts may be had with others now.
func (c *controller) onSecret(key kube.Key) {
	repos, err := c.gitrepos.List(key.Namespace, labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing gitrepos failed")
		return
	}
	for _, repo := range repos {
		with, _ := c.ruled(repo)
		if used, _ := secretOf(with); used == key {
			c.demandFresh(kube.KeyOf(repo))
			c.sync.Wake(kube.KeyOf(repo))
		} else if used, named := webhookSecretOf(repo); named && used == key {
			c.sync.Wake(kube.KeyOf(repo))
		}
		if used, field := chartSecretOf(repo); field != "" && used == key {
			c.recheck(kube.KeyOf(repo))
		}
	}
}

// onKnownHosts has all repositories looked at: those whose request is another
// now are asked.
func (c *controller) onKnownHosts(kube.Key) {
	repos, err := c.gitrepos.List("", labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing gitrepos failed")
		return
	}
	for _, repo := range repos {
		c.demandFresh(kube.KeyOf(repo))
		c.sync.Wake(kube.KeyOf(repo))
	}
}
