package gitrepos

import (
	"maps"

	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// wake says which event wakes which GitRepo.
func (c *controller) wake() {
	hub := c.Hub
	hub.GitRepos.OnEvent(func(e kube.Event[*fleet.GitRepo]) {
		key := kube.KeyOf(e.Object())
		if e.New != nil && !c.told.Is(key, e.New.Status) {
			// Also where somebody else wrote the status, or where ours came too late.
			c.status.Coalesce(key)
		}
		switch {
		case e.Old == nil || e.New == nil || e.Old.Generation != e.New.Generation:
			c.demandFresh(key)
			c.sync.Wake(key)
		case webhookCame(e.Old.Status, e.New.Status):
			c.webhookCame(e.New)
			c.sync.Wake(key)
		}
	})
	c.Secrets.OnChange(c.onSecret)
	c.KnownHosts.OnChange(c.onKnownHosts)
	hub.Bundles.OnEvent(c.onBundle)
	hub.BundleDeployments.OnEvent(func(e kube.Event[*fleet.BundleDeployment]) { c.rollUp(c.rollups.deployment(e)) })
	hub.Clusters.OnEvent(func(e kube.Event[*fleet.Cluster]) { c.rollUp(c.rollups.cluster(e)) })
	hub.GitRepoRestrictions.OnEvent(func(e kube.Event[*fleet.GitRepoRestriction]) { c.wakeNamespace(e.Object().Namespace) })
	hub.Policies.OnEvent(func(e kube.Event[*fleet.Policy]) { c.wakeNamespace(e.Object().Namespace) })
}

// onBundle wakes the bundle's GitRepo: its status, and, where somebody else
// has changed or removed the bundle, its bundles. A name that got free wakes
// those that were refused it.
func (c *controller) onBundle(e kube.Event[*fleet.Bundle]) {
	repo := kube.RepoOf(e.Object())
	c.rollUp(c.rollups.bundle(e))
	switch {
	case e.New == nil:
		c.unwant(e.Old)
		c.recheck(repo)
		c.wakeRefused(e.Old.Namespace)
	case e.Old != nil && (e.Old.Generation != e.New.Generation || !maps.Equal(e.Old.Labels, e.New.Labels)) && c.foreign(e.New):
		c.recheck(repo)
	}
}

// recheck has the GitRepo's bundles compared with its commit again.
func (c *controller) recheck(key kube.Key) {
	if key.Name == "" {
		return
	}
	c.mu.Lock()
	c.checks[key]++
	c.mu.Unlock()
	c.sync.Wake(key)
}

func (c *controller) wakeRefused(namespace string) {
	c.mu.Lock()
	var refused []kube.Key
	for key, st := range c.states {
		if key.Namespace == namespace && len(st.outcome.conflicts) > 0 {
			refused = append(refused, key)
		}
	}
	c.mu.Unlock()
	for _, key := range refused {
		c.sync.Wake(key)
	}
}

func (c *controller) wakeNamespace(namespace string) {
	repos, err := c.gitrepos.List(namespace, labels.Everything())
	if err != nil {
		c.Log.WithError(err).Error("Listing gitrepos failed")
		return
	}
	for _, repo := range repos {
		c.sync.Wake(kube.KeyOf(repo))
	}
}

// webhookCame says whether a webhook was recorded in between.
func webhookCame(before, after fleet.GitRepoStatus) bool {
	return before.WebhookCommit != after.WebhookCommit || !before.LastWebhookTime.Equal(&after.LastWebhookTime)
}
