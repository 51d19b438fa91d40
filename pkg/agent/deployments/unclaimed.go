package deployments

import (
	"context"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// missing forgets a deployment that is not there. If it has releases they are
// unclaimed: they stay, and are counted, unless a person said on their records
// what is to become of them.
func (c *Controller) missing(ctx context.Context, name string) (time.Duration, error) {
	records := c.deps.Inventory.Of(name)
	if c.memory.lose(name, len(records) > 0) {
		c.unclaimedChanged()
		if len(records) > 0 {
			c.log.WithFields(logrus.Fields{"deployment": name, "namespace": records[0].Key.Namespace, "release": records[0].Key.Name}).
				Warn("Release is unclaimed: its deployment is not on the hub; it stays")
		}
	}
	if wished(records) {
		if err := c.slots.enter(ctx); err != nil {
			return 0, err
		}
		defer c.slots.leave()
		return c.dispose(ctx, name)
	}
	c.memory.forget(name)
	if err := c.watches.Want(name, nil); err != nil {
		return 0, fmt.Errorf("forgetting deployment: %w", err)
	}
	return 0, nil
}

func wished(records []release.Record) bool {
	for _, record := range records {
		if record.Wish != "" {
			return true
		}
	}
	return false
}

// dispose does with the unclaimed releases of a deployment what their records
// ask for. What the records say, and that the deployment is not there, is read live.
func (c *Controller) dispose(ctx context.Context, name string) (recheck time.Duration, err error) {
	records, err := c.deps.Releases.Find(ctx, name)
	if err != nil {
		return 0, err
	}
	for _, record := range records {
		log := c.log.WithFields(logrus.Fields{"namespace": record.Key.Namespace, "release": record.Key.Name, "wish": record.Wish})
		if record.Wish == "" {
			continue
		}
		if record.Wish != names.UnclaimedRemove && record.Wish != names.UnclaimedForget {
			log.Warn("Annotation " + names.AnnotationUnclaimed + " is neither " + names.UnclaimedRemove + " nor " + names.UnclaimedForget)
			continue
		}
		origin, err := c.deps.Releases.OriginOf(ctx, record)
		if err != nil {
			return 0, err
		}
		evidence, err := c.deps.Evidence.Read(ctx, origin.Deployment)
		switch {
		case err != nil:
			return 0, &HubError{Op: "asking whether the deployment of an unclaimed release is there", Err: err}
		case evidence.Deployment != Absent:
			if err := c.unwish(ctx, []release.Record{record}); err != nil {
				return 0, err
			}
			continue
		}
		log.Info("Release is unclaimed, and a person said what becomes of it")
		wait, err := c.grant(ctx, record, origin)
		if err != nil {
			return 0, err
		}
		recheck = max(recheck, wait)
	}
	return recheck, nil
}

// unwish takes what a person said off releases that have a deployment, which
// decides about them.
func (c *Controller) unwish(ctx context.Context, records []release.Record) error {
	for _, record := range records {
		if record.Wish == "" {
			continue
		}
		c.log.WithFields(logrus.Fields{"namespace": record.Key.Namespace, "release": record.Key.Name, "wish": record.Wish}).
			Warn("Release is not unclaimed: its deployment is on the hub, and decides; annotation " + names.AnnotationUnclaimed + " is taken off")
		if err := c.deps.Releases.Unwish(ctx, record); err != nil {
			return err
		}
	}
	return nil
}

// grant does what was wished for. It returns when to look again at objects that
// are on their way out.
func (c *Controller) grant(ctx context.Context, record release.Record, origin release.Origin) (time.Duration, error) {
	if record.Wish == names.UnclaimedForget {
		if err := c.disown(ctx, record, origin, true); err != nil {
			return 0, err
		}
		return 0, c.deps.Releases.Forget(ctx, record)
	}
	c.memory.know(origin.Deployment, c.setOf(origin.Deployment))
	if err := c.disown(ctx, record, origin, false); err != nil {
		return 0, err
	}
	left, err := c.deps.Releases.Remove(ctx, release.Removal{
		Key:            record.Key,
		Owner:          release.Owner{Deployment: origin.Deployment, UID: record.UID, Hub: record.Hub, Agent: c.deps.Agent},
		ServiceAccount: origin.ServiceAccount, Waiting: c.slots.without, Unclaimed: true,
	})
	if err != nil || len(left) == 0 {
		return 0, err
	}
	return c.lookLater(origin.Deployment, left)
}

// unclaimedChanged tells that there are other unclaimed releases than before.
func (c *Controller) unclaimedChanged() {
	if c.deps.UnclaimedChanged != nil {
		c.deps.UnclaimedChanged()
	}
}

// Unclaimed returns the releases of this agent that have no deployment on the
// hub, by name.
func (c *Controller) Unclaimed() []release.Key {
	var unclaimed []release.Key
	for _, record := range c.deps.Inventory.All() {
		if _, err := c.cache.Get(c.deps.Namespace, c.memory.named(record.Deployment)); err != nil {
			unclaimed = append(unclaimed, record.Key)
		}
	}
	return unclaimed
}

// lose notes whether a deployment that is not there has releases, and says
// whether that is news. Names are noted in the form of labels: the name of a
// deployment that was never seen is known in that form alone.
func (m *memory) lose(name string, has bool) (news bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	label := release.DeploymentLabel(name)
	news = m.lost[label] != has
	if has {
		m.lost[label] = true
	} else {
		delete(m.lost, label)
	}
	return news
}
