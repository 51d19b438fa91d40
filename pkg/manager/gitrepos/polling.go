package gitrepos

import (
	"errors"
	"time"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/polling"
)

// demanded returns what events ask for.
func (c *controller) demanded(key kube.Key) polling.Demand {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.demands[key]
}

// demandFresh has older answers of the repository count for nothing.
func (c *controller) demandFresh(key kube.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.demands[key]
	d.At = c.Clock.Now()
	c.demands[key] = d
}

// webhookCame has the repository asked because of a webhook.
func (c *controller) webhookCame(repo *fleet.GitRepo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Clock.Now()
	c.demands[kube.KeyOf(repo)] = polling.Demand{At: now, Webhook: now, Commit: repo.Status.WebhookCommit}
}

// unasked notes that there is nothing to ask the repository with.
func (s state) unasked(err error) (state, time.Duration, error) {
	s.outcome.known, s.outcome.fetchErr = true, err
	// It is asked as soon as there is, also if that is what there was before.
	s.Asking = ""
	var missing *missingError
	if errors.As(err, &missing) {
		return s, 0, nil
	}
	return s, 0, err
}
