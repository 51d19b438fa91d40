package deployments

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/delivery"
	"github.com/flotilla-gitops/flotilla/pkg/kube/watchset"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

const (
	// firstLook and lastLook bound the time between two looks at objects that are on their way out, should no event tell
	// that they are gone.
	firstLook = 200 * time.Millisecond
	lastLook  = 30 * time.Second
	// askAgain is the time after which the hub is asked again for evidence that it refused, should no event tell that it
	// has changed.
	askAgain = time.Minute
)

// remove removes the releases of a deployment that is marked for deletion, if
// the evidence allows and the hub was told, and says when nothing of them is left. Which releases
// there are is read live: the last one may have been made a moment ago.
func (c *Controller) remove(ctx context.Context, w World, d Decision) (result, error) {
	records, err := c.deps.Releases.Find(ctx, w.Deployment.Name)
	if err != nil {
		return result{}, err
	}
	due, unclaimed := w.claims(records)
	var copied []release.CopyKey
	if len(unclaimed) == 0 {
		if copied, err = c.copiesOf(ctx, w, d); err != nil {
			return result{}, err
		}
	}
	if len(due)+len(copied) > 0 {
		evidence, err := c.deps.Evidence.Read(ctx, w.Deployment.Name)
		if err != nil {
			return result{}, &HubError{Op: "asking for evidence before a removal", Err: err}
		}
		if why := evidence.Forbids(w.Owner.UID); why != "" {
			return c.refused(w, evidence, why), nil
		}
		if err := c.begin(ctx, w); err != nil {
			return result{}, err
		}
		if err := c.inherit(ctx, w, due); err != nil {
			return result{}, err
		}
	}
	left, err := c.removeAll(ctx, w, d, due)
	switch {
	case ctx.Err() != nil:
		return result{}, context.Cause(ctx)
	case err != nil:
		return c.removeFailed(w, err), nil
	case len(left) > 0:
		return c.leaving(w, left)
	}
	if err := c.withdrawAll(ctx, w, d, copied); err != nil {
		return c.removeFailed(w, err), nil
	}
	return c.removed(w, unclaimed)
}

// inherit has releases of deployments that this one has taken the place of name
// this one: nothing is removed that does not.
func (c *Controller) inherit(ctx context.Context, w World, due []release.Record) error {
	for _, record := range due {
		if !record.InheritedBy(w.Owner) {
			continue
		}
		if err := c.deps.Releases.Adopt(ctx, record.Key, w.Owner); err != nil {
			return err
		}
	}
	return nil
}

// removeAll removes the releases, and the namespace of the wanted one if the
// deployment asks for that.
func (c *Controller) removeAll(ctx context.Context, w World, d Decision, due []release.Record) ([]release.Remaining, error) {
	o := &w.Deployment.Spec.Options
	var keys []release.Key
	for _, record := range due {
		keys = append(keys, record.Key)
	}
	if isSet(o.DeleteNamespace) && len(keys) == 0 {
		// The records of a release go before its namespace does.
		keys = append(keys, d.Wanted)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	as, err := c.serviceAccount(ctx, w.Deployment)
	if err != nil {
		return nil, err
	}
	var left []release.Remaining
	for _, key := range keys {
		remaining, err := c.deps.Releases.Remove(ctx, release.Removal{
			Key: key, Owner: w.Owner, ServiceAccount: as, Waiting: c.slots.without,
			KeepResources: keeps(w.Deployment), DeleteNamespace: isSet(o.DeleteNamespace), Helm: helmOptions(o),
		})
		if err != nil {
			return nil, err
		}
		left = append(left, remaining...)
	}
	return left, nil
}

// keeps says whether the objects of a deployment stay when it goes. An agent
// never uninstalls itself, whatever its deployment says.
func keeps(bd *fleet.BundleDeployment) bool {
	return isSet(bd.Spec.Options.KeepResources) || delivery.Is(bd)
}

// refused says why the releases stay. If the deployment itself is gone there
// is nothing to say it on.
func (c *Controller) refused(w World, e Evidence, why string) result {
	c.log.WithFields(logrus.Fields{"deployment": w.Deployment.Name, "reason": why}).Warn("Release stays, for want of evidence")
	made := result{recheck: askAgain, silent: e.Deployment == Absent}
	made.Removed = &Verdict{metav1.ConditionFalse, ReasonRefused, "nothing is removed: " + why}
	return made
}

func (c *Controller) removeFailed(w World, err error) result {
	err = release.NewRedactor(nil).Error(err)
	attempt := w.Failed(c.clock.Now(), c.deps.LongestRetry, c.random())
	c.memory.with(w.Deployment.Name, func(r *remembered) { r.failed = attempt })
	c.deps.Metrics.failure()
	c.log.WithError(err).WithField("deployment", w.Deployment.Name).Warn("Removing failed")
	made := result{recheck: attempt.Next.Sub(c.clock.Now())}
	made.Removed = &Verdict{metav1.ConditionFalse, ReasonFailed, err.Error()}
	return made
}

// leaving waits for objects that are being deleted. Most are gone in a moment,
// so nothing is reported the first time.
func (c *Controller) leaving(w World, left []release.Remaining) (result, error) {
	var looks int
	c.memory.with(w.Deployment.Name, func(r *remembered) { looks = r.looks })
	wait, err := c.lookLater(w.Deployment.Name, left)
	made := result{recheck: wait, silent: looks == 0}
	names := make([]string, len(left))
	for i, r := range left {
		names[i] = r.String()
	}
	if len(names) > maxLines {
		names = append(names[:maxLines], fmt.Sprintf("and %d more", len(left)-maxLines))
	}
	made.Removed = &Verdict{metav1.ConditionFalse, fleet.ReasonUninstalling, "waiting for objects to be gone: " + strings.Join(names, "; ")}
	return made, err
}

// lookLater has the deployment woken when one of the objects is gone, and
// returns how long to wait for that before looking again.
func (c *Controller) lookLater(name string, left []release.Remaining) (time.Duration, error) {
	places, err := c.locate(&release.Release{Objects: objectsOf(left)})
	if err != nil {
		return 0, err
	}
	var wait time.Duration
	var also []place
	c.memory.with(name, func(r *remembered) {
		r.removing = map[place]bool{}
		for _, p := range places {
			r.removing[p] = true
		}
		for p := range r.places {
			also = append(also, p)
		}
		wait = lookAfter(r.looks)
		r.looks++
	})
	return wait, c.watches.Want(name, resourcesOf(append(places, also...)))
}

// lookAfter returns the time to wait after the given number of looks in vain:
// half as long again each time.
func lookAfter(looks int) time.Duration {
	wait := firstLook
	for range looks {
		if wait = wait * 3 / 2; wait > lastLook {
			return lastLook
		}
	}
	return wait
}

func objectsOf(left []release.Remaining) []release.Object {
	objects := make([]release.Object, len(left))
	for i, r := range left {
		objects[i] = r.Object
	}
	return objects
}

// removed confirms that nothing is left.
func (c *Controller) removed(w World, unclaimed []release.Record) (result, error) {
	var released []watchset.Resource
	if err := c.watches.Want(w.Deployment.Name, released); err != nil {
		return result{}, err
	}
	c.memory.with(w.Deployment.Name, (*remembered).finish)
	message := "everything of the deployment is gone"
	if keeps(w.Deployment) {
		message = "the release is forgotten, its objects stay, as keepResources asks"
	}
	if len(unclaimed) > 0 {
		message += "; a release of an earlier deployment of the same name is unclaimed and stays: " + unclaimed[0].Key.String()
	}
	made := result{}
	made.Removed = &Verdict{metav1.ConditionTrue, ReasonRemoved, message}
	return made, nil
}
