package webhooks

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/webhook"
)

// unreadableError says that a Secret could not be read, so that nothing is
// known about the delivery.
type unreadableError struct{ error }

func (e *unreadableError) Unwrap() error { return e.error }

// proven returns the GitRepos of the pushed repository whose secret the sender
// knows. The error says why nothing is proven at all.
func (r *Receiver) proven(ctx context.Context, d *webhook.Delivery) ([]*fleet.GitRepo, error) {
	var proven []*fleet.GitRepo
	verdicts := map[kube.Key]error{}
	seen := map[kube.Key]bool{}
	for _, name := range d.Repositories {
		repos, err := r.cache.GetByIndex(byRepository, name)
		if err != nil {
			return nil, &unreadableError{err}
		}
		for _, repo := range repos {
			if seen[kube.KeyOf(repo)] {
				continue
			}
			seen[kube.KeyOf(repo)] = true
			if r.verdict(ctx, d, r.secretFor(repo), verdicts) == nil {
				proven = append(proven, repo)
			}
		}
	}
	if len(proven) > 0 {
		return proven, nil
	}
	// That nobody follows the repository is told only to who knows a secret.
	if r.verdict(ctx, d, r.Secret, verdicts) == nil {
		return nil, nil
	}
	errs := make([]error, 0, len(verdicts))
	for _, err := range verdicts {
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (r *Receiver) secretFor(repo *fleet.GitRepo) kube.Key {
	if repo.Spec.WebhookSecret != "" {
		return kube.Key{Namespace: repo.Namespace, Name: repo.Spec.WebhookSecret}
	}
	return r.Secret
}

// verdict says what is wrong with the delivery by one Secret; it looks once.
func (r *Receiver) verdict(ctx context.Context, d *webhook.Delivery, key kube.Key, verdicts map[kube.Key]error) error {
	if verdict, ok := verdicts[key]; ok {
		return verdict
	}
	verdict := r.judge(ctx, d, key)
	if verdict != nil {
		verdict = fmt.Errorf("Secret %s: %w", key, verdict) //nolint:staticcheck // a kind's name
	}
	verdicts[key] = verdict
	return verdict
}

func (r *Receiver) judge(ctx context.Context, d *webhook.Delivery, key kube.Key) error {
	secret, err := r.Secrets.Get(ctx, key)
	switch {
	case apierrors.IsNotFound(err) && key == r.Secret && r.AllowUnsigned:
		return nil
	case apierrors.IsNotFound(err):
		return errors.New("it does not exist: create it")
	case err != nil:
		return &unreadableError{err}
	}
	return d.Proven(secret.Data)
}

// mark is a GitRepo that a push concerns, and the commit, if it is known.
type mark struct {
	repo   *fleet.GitRepo
	commit string
}

// followers returns the GitRepos that read what was pushed.
func followers(d *webhook.Delivery, repos []*fleet.GitRepo) []mark {
	var marks []mark
	for _, repo := range repos {
		found, commit := false, ""
		for _, change := range d.Changes {
			if change.Follows(repo.Spec.Branch, repo.Spec.Revision) {
				found, commit = true, change.Commit
			}
		}
		if found {
			marks = append(marks, mark{repo, commit})
		}
	}
	return marks
}

// record writes the commit into the status of the GitRepos, which is what the
// leader waits for.
func (r *Receiver) record(ctx context.Context, marks []mark) error {
	at := metav1.NewTime(r.Clock.Now().UTC())
	return r.writes.Read(ctx, len(marks), func(i int) error {
		m := marks[i]
		// Everything else in the status belongs to the leader.
		fields := map[string]any{"lastWebhookTime": at}
		if m.commit != "" {
			fields["webhookCommit"] = m.commit
		}
		err := r.gitrepos.MergeStatus(ctx, m.repo, fields)
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil // It is gone.
		}
		if err != nil {
			return fmt.Errorf("recording the commit on gitrepo %s: %w", kube.KeyOf(m.repo), err)
		}
		r.Log.WithFields(logrus.Fields{"gitrepo": m.repo.Name, "namespace": m.repo.Namespace, "commit": m.commit}).Debug("Recorded a delivery")
		return nil
	})
}
