package playground

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const webhookSecret = "bench"

// webhook delivers pushes as Gitea does; nil delivers nothing.
type webhook struct {
	world  *world
	secret *corev1.Secret
	to     string
	repo   string
}

// openWebhook makes the Secret of webhooks, and shows that the manager believes only who knows it.
func (w *world) openWebhook(ctx context.Context) (*webhook, error) {
	if !w.Webhook {
		return nil, nil
	}
	to, err := os.ReadFile(filepath.Join(w.Dir, "webhooks-url"))
	if err != nil {
		return nil, fmt.Errorf("%w (is the playground up? make up)", err)
	}
	latest, err := w.hub.GitRepos.Get(ctx, workspace, repoName)
	if err != nil {
		return nil, err
	}
	h := &webhook{world: w, to: strings.TrimSpace(string(to)), repo: latest.Spec.Repo}
	h.secret, err = w.hub.Secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: names.NamespaceSystem, Name: names.SecretWebhook},
		Data:       map[string][]byte{"gogs": []byte(webhookSecret)},
	})
	if err != nil {
		return nil, fmt.Errorf("making the Secret of webhooks: %w", err)
	}
	for _, signed := range []string{"", "forged"} {
		status, err := h.deliver(ctx, strings.Repeat("1", 40), signed)
		if err == nil && status != http.StatusUnauthorized {
			err = fmt.Errorf("the manager answers %d to a delivery signed with %q", status, signed)
		}
		if err != nil {
			return nil, errors.Join(err, h.close(ctx))
		}
	}
	return h, nil
}

// announce delivers a push.
func (h *webhook) announce(ctx context.Context, commit string) error {
	if h == nil {
		return nil
	}
	status, err := h.deliver(ctx, commit, webhookSecret)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the manager answers %d to a delivery", status)
	}
	return err
}

func (h *webhook) deliver(ctx context.Context, commit, secret string) (int, error) {
	body := fmt.Sprintf(`{"ref":"refs/heads/%s","after":%q,"repository":{"clone_url":%q}}`, repo.DefaultBranch, commit, h.repo)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.to, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Gitea-Event", "push")
	if secret != "" {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(body))
		req.Header.Set("X-Gitea-Signature", hex.EncodeToString(mac.Sum(nil)))
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// close takes the Secret away.
func (h *webhook) close(ctx context.Context) error {
	if h == nil {
		return nil
	}
	latest, err := h.world.hub.Secrets.Get(ctx, h.secret.Namespace, h.secret.Name)
	if err != nil {
		return err
	}
	return h.world.hub.Secrets.Delete(ctx, latest)
}
