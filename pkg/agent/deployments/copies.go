package deployments

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/copies"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// copiedBy returns the digest of what a deployment has copied from the hub.
func copiedBy(bd *fleet.BundleDeployment) string {
	return bd.Annotations[names.AnnotationDownstreamResources]
}

// fingerprint identifies what the release of a deployment is made from.
func fingerprint(bd *fleet.BundleDeployment) string {
	return names.Fingerprint(bd.Spec.DeploymentID, copiedBy(bd))
}

// wanted returns the copies that a deployment asks for, in the namespace of its
// release.
func (w World) wanted(d Decision) []release.CopyKey {
	refs, _ := copies.Refs(w.Deployment.Spec.Options.DownstreamResources)
	keys := make([]release.CopyKey, len(refs))
	for i, ref := range refs {
		keys[i] = release.CopyKey{Ref: ref, Namespace: d.Wanted.Namespace}
	}
	return keys
}

// spare returns the copies that a deployment has and does not ask for.
func (w World) spare(d Decision) []release.CopyKey {
	if len(w.Copies.Held) == 0 {
		return nil
	}
	wanted := w.wanted(d)
	var spare []release.CopyKey
	for _, held := range w.Copies.Held {
		if !slices.Contains(wanted, held.Key) {
			spare = append(spare, held.Key)
		}
	}
	return spare
}

// ours says whether a namespace is one that the deployment has, or had, its
// release in. Marks in another one may be anybody's.
func (w World) ours(d Decision, namespace string) bool {
	return namespace == d.Wanted.Namespace ||
		slices.ContainsFunc(w.Records, func(r release.Record) bool { return r.Key.Namespace == namespace })
}

// CopiesSeen is what is known of the copies of a deployment.
type CopiesSeen struct {
	// Held are those that bear its mark, as far as is known.
	Held []release.HeldCopy
	// Unseen says that it asks for some that nobody has looked at since they changed.
	Unseen bool
	// Due is when they may be looked at again, after what went wrong, or was changed back, before.
	Due time.Time
	// Problem says what is wrong with them; empty if nothing is known to be.
	Problem string
}

// whenCopiesAreDue has the copies of a release that is in sync brought about.
func whenCopiesAreDue(w World, d *Decision) {
	if !w.Copies.Unseen && len(w.spare(*d)) == 0 {
		return // what went wrong with them before is over
	}
	d.Message = w.Copies.Problem
	if !w.Now.Before(w.Copies.Due) {
		d.Copy = true
		return
	}
	d.Recheck = w.Copies.Due.Sub(w.Now)
	if d.Message == "" {
		d.Message = "what is copied from the hub is changed by somebody else each time it is put right; it will be again at " +
			w.Copies.Due.UTC().Format(time.RFC3339)
	}
}

// copy brings the copies of a deployment to what they should be. Its release is
// what is asked for. It fails only if the hub does not answer.
func (c *Controller) copy(ctx context.Context, w World, d Decision, made *result) error {
	job := c.job(w, d)
	provided, err := job.provide(ctx)
	var hub *HubError
	if ctx.Err() != nil || errors.As(err, &hub) {
		return err
	}
	if err == nil {
		err = job.withdraw(ctx, w.spare(d))
	}
	problem := ""
	if err != nil {
		err = job.redactor.Error(err)
		problem = err.Error()
		job.log.WithError(err).Warn("Copying from the hub failed")
		c.deps.Metrics.failure()
	}
	var due time.Time
	c.memory.with(job.bd.Name, func(r *remembered) {
		now := c.clock.Now()
		switch {
		case err != nil:
			r.copying.bout = r.copying.bout.Failed(now)
		case provided.Written:
			r.copying.bout = r.copying.bout.Corrected(now)
		}
		r.copying.problem, due = problem, r.copying.bout.Due()
	})
	if problem != "" {
		made.copiesLost(problem)
		made.recheck = due.Sub(c.clock.Now())
		return nil
	}
	made.Deployed, made.CopiesLost = &Verdict{metav1.ConditionTrue, ReasonDeployed, ""}, false
	return nil
}

// copiesLost has the report say that copies are not what they should be.
func (r *result) copiesLost(why string) {
	r.Deployed, r.CopiesLost = &Verdict{metav1.ConditionFalse, ReasonFailed, why}, true
}

// provide has the copies be what the hub says.
func (j *deployment) provide(ctx context.Context) (*release.Provided, error) {
	in, err := j.c.hubInputs(ctx, j.bd)
	if err != nil {
		return nil, err
	}
	j.redact(nil, in.copies)
	if j.as, err = j.c.serviceAccount(ctx, j.bd); err != nil {
		return nil, err
	}
	return j.provideThese(ctx, in.copies, true)
}

// provideThese makes copies. restore is for a deployment whose release is what
// is asked for: see copies.Terms.
func (j *deployment) provideThese(ctx context.Context, list []copies.Copy, restore bool) (*release.Provided, error) {
	p := release.Provision{
		Terms: copies.Terms{
			Namespace: j.d.Wanted.Namespace, Owner: copies.Owner{Agent: j.w.Owner.Agent, Deployment: j.w.Owner.Deployment},
			Take: helmOptions(&j.bd.Spec.Options).TakeOwnership, Restore: restore,
		},
		ServiceAccount: j.as, Copies: list,
	}
	if restore {
		namespace := namespaceOptions(&j.bd.Spec.Options)
		p.Ensure = &namespace
	}
	j.c.memory.providing(j.bd.Name)
	made, err := j.c.deps.Releases.Provide(ctx, p)
	if err != nil {
		return nil, err
	}
	j.c.memory.provided(j.bd.Name, made.Versions)
	return made, nil
}

// copy makes copies for a release that is being made.
func (j *deployment) copy(ctx context.Context, list []copies.Copy) error {
	_, err := j.provideThese(ctx, list, false)
	return err
}

// settleCopies brings about what a release did not that only had to be adopted,
// and has the copies go that are not asked for any more.
func (j *deployment) settleCopies(ctx context.Context) error {
	seen := CopiesSeen{}
	j.c.memory.with(j.bd.Name, func(r *remembered) { seen = r.copying.see(nil, j.w.wanted(j.d), nil) })
	if seen.Unseen {
		if _, err := j.provide(ctx); err != nil {
			return err
		}
	}
	return j.withdraw(ctx, j.w.spare(j.d))
}

// withdraw has copies go. Those in namespaces that the deployment never had a
// release in are left if its account may not remove them: their marks may be
// forged, and must do the deployment no harm.
func (j *deployment) withdraw(ctx context.Context, keys []release.CopyKey) error {
	for _, key := range keys {
		err := j.c.deps.Releases.Withdraw(ctx, release.Withdrawal{
			Owner: j.w.Owner, ServiceAccount: j.as, Copy: key, Keep: j.bd.DeletionTimestamp != nil && keeps(j.bd),
		})
		switch {
		case err == nil:
		case j.w.ours(j.d, key.Namespace):
			return err
		default:
			j.log.WithError(err).WithField("object", key.String()).Warn("Copy stays: it bears the mark of the deployment, which has nothing in its namespace")
			j.c.memory.with(j.bd.Name, func(r *remembered) { r.copying.ignore(key) })
		}
	}
	return nil
}

// redact has values, and what copies of Secrets hold, taken out of messages.
func (j *deployment) redact(values map[string]any, list []copies.Copy) {
	all := map[string]any{"values": values}
	for i := range list {
		if list[i].Kind != copies.KindSecret {
			continue
		}
		held := map[string]any{}
		for key, data := range list[i].Data {
			held[key] = string(data)
		}
		all[list[i].Name] = held
	}
	j.redactor = release.NewRedactor(all, j.d.Wanted.Name, j.d.Wanted.Namespace, j.bd.Name)
}

// copiesOf returns the copies that a deployment has which is being removed.
// Those that it asks for are looked for: they may have been made a moment ago.
func (c *Controller) copiesOf(ctx context.Context, w World, d Decision) ([]release.CopyKey, error) {
	return c.deps.Releases.Held(ctx, w.Owner, append(w.spare(d), w.wanted(d)...))
}

// withdrawAll has copies of a deployment go that is being removed. Those of one
// whose objects stay become objects like others.
func (c *Controller) withdrawAll(ctx context.Context, w World, d Decision, keys []release.CopyKey) error {
	if len(keys) == 0 {
		return nil
	}
	job := c.job(w, d)
	var err error
	if job.as, err = c.serviceAccount(ctx, w.Deployment); err != nil {
		return err
	}
	return job.withdraw(ctx, keys)
}

// disown has the copies go, or become objects like others, of a deployment that
// is not on the hub and whose last release a person has given up. They go
// before its record does, which is all that tells of it.
func (c *Controller) disown(ctx context.Context, record release.Record, origin release.Origin, keep bool) error {
	held := c.deps.Copies.Of(origin.Deployment)
	if len(held) == 0 {
		return nil
	}
	records, err := c.deps.Releases.Find(ctx, origin.Deployment)
	if err != nil || slices.ContainsFunc(records, func(r release.Record) bool { return r.Key != record.Key }) {
		return err
	}
	c.log.WithFields(logrus.Fields{"deployment": origin.Deployment, "copies": len(held)}).Info("Copies of an unclaimed release go with it")
	for _, h := range held {
		err := c.deps.Releases.Withdraw(ctx, release.Withdrawal{
			Owner:          release.Owner{Deployment: origin.Deployment, Hub: c.deps.HubID, Agent: c.deps.Agent},
			ServiceAccount: origin.ServiceAccount, Copy: h.Key, Keep: keep,
		})
		if err != nil && h.Key.Namespace == record.Key.Namespace {
			return fmt.Errorf("before its release is given up: %w", err)
		}
	}
	return nil
}

// copyChanged wakes the deployments of a copy when somebody else changes it.
func (c *Controller) copyChanged(e release.CopyEvent) {
	for _, label := range e.Owners {
		if name := c.memory.named(label); c.memory.copyChanged(name, e) {
			c.queue.Coalesce(c.key(name))
		}
	}
}
