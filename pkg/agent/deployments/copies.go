package deployments

import (
	"context"
	"errors"
	"slices"

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

// wanted returns the copies that a deployment asks for, in the namespace of its release.
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
	if len(w.Copies) == 0 {
		return nil
	}
	wanted := w.wanted(d)
	return slices.DeleteFunc(slices.Clone(w.Copies), func(key release.CopyKey) bool { return slices.Contains(wanted, key) })
}

// all returns every copy that a deployment may have: what is known is joined by what it asks for, which may have been made a moment ago.
func (w World) all(d Decision) []release.CopyKey {
	keys := slices.Clone(w.Copies)
	for _, key := range w.wanted(d) {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// copy brings the copies of a deployment to what they should be. Its release is
// what is asked for.
func (c *Controller) copy(ctx context.Context, w World, d Decision) (result, error) {
	job := c.job(w, d)
	err := job.provide(ctx)
	var hub *HubError
	switch {
	case ctx.Err() != nil:
		return result{}, context.Cause(ctx)
	case errors.As(err, &hub):
		return result{}, err
	case errors.Is(err, errValuesOutdated):
		return c.notYet(ctx, w, d)
	case err != nil:
		made, err := c.failed(ctx, job, err)
		made.CopiesLost = true
		return made, err
	}
	c.memory.with(w.Deployment.Name, func(r *remembered) { r.failed = nil })
	made, err := c.current(ctx, w, d)
	made.Deployed, made.Applied = &Verdict{metav1.ConditionTrue, ReasonDeployed, ""}, true
	return made, err
}

// provide has the copies be what the hub says, and those go that are not asked for.
func (j *deployment) provide(ctx context.Context) error {
	in, err := j.c.hubInputs(ctx, j.bd)
	if err != nil {
		return err
	}
	j.redact(nil, in.copies)
	if j.as, err = j.c.serviceAccount(ctx, j.bd); err != nil {
		return err
	}
	namespace := namespaceOptions(&j.bd.Spec.Options)
	made, err := j.c.deps.Releases.Provide(ctx, release.Provision{
		Terms: copies.Terms{
			Namespace: j.d.Wanted.Namespace, Owner: copies.Owner{Agent: j.w.Owner.Agent, Deployment: j.w.Owner.Deployment},
			Take: helmOptions(&j.bd.Spec.Options).TakeOwnership, Restore: true,
		},
		Ensure: &namespace, ServiceAccount: j.as, Copies: in.copies,
	})
	if err != nil {
		return err
	}
	j.noteCopies(made)
	return j.withdraw(ctx, j.w.spare(j.d))
}

// noteCopies remembers copies as they were provided: their events are no news.
func (j *deployment) noteCopies(made map[release.CopyKey]string) {
	j.c.memory.with(j.bd.Name, func(r *remembered) { r.copied = made })
}

// withdraw has copies go.
func (j *deployment) withdraw(ctx context.Context, keys []release.CopyKey) error {
	if len(keys) == 0 {
		return nil
	}
	return j.c.deps.Releases.Withdraw(ctx, release.Withdrawal{Owner: j.w.Owner, ServiceAccount: j.as, Copies: keys})
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

// withdrawAll has all copies of a deployment go that is being removed. Those of
// one whose objects stay become objects like others.
func (c *Controller) withdrawAll(ctx context.Context, w World, keys []release.CopyKey) error {
	if len(keys) == 0 {
		return nil
	}
	as, err := c.serviceAccount(ctx, w.Deployment)
	if err != nil {
		return err
	}
	return c.deps.Releases.Withdraw(ctx, release.Withdrawal{
		Owner: w.Owner, ServiceAccount: as, Copies: keys, Keep: keeps(w.Deployment),
	})
}

// disown has the copies go, or become objects like others, of a deployment that
// is not on the hub and has no release any more.
func (c *Controller) disown(ctx context.Context, origin release.Origin, keep bool) error {
	keys := c.deps.Copies.Of(origin.Deployment)
	if len(keys) == 0 {
		return nil
	}
	left, err := c.deps.Releases.Find(ctx, origin.Deployment)
	if err != nil || len(left) > 0 {
		return err
	}
	c.log.WithFields(logrus.Fields{"deployment": origin.Deployment, "copies": len(keys)}).Info("Copies of an unclaimed release go with it")
	return c.deps.Releases.Withdraw(ctx, release.Withdrawal{
		Owner:          release.Owner{Deployment: origin.Deployment, Hub: c.deps.HubID, Agent: c.deps.Agent},
		ServiceAccount: origin.ServiceAccount, Copies: keys, Keep: keep,
	})
}

// copyChanged wakes the deployments of a copy when somebody else changes it.
func (c *Controller) copyChanged(e release.CopyEvent) {
	for _, label := range e.Owners {
		if name := c.memory.named(label); c.memory.copyChanged(name, e) {
			c.queue.Coalesce(c.key(name))
		}
	}
}

// copyChanged notes an event of a copy that a deployment has. It is false if
// that is no news.
func (m *memory) copyChanged(name string, e release.CopyEvent) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.byName[name]
	if r == nil || r.copied == nil {
		return true
	}
	known, ok := r.copied[e.Key]
	switch {
	case !ok:
		// One that is not asked for: that it has gone is no news.
		return e.Version != ""
	case known == e.Version:
		return false
	}
	r.copied = nil
	return true
}
