package deployments

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/flotilla-gitops/flotilla/pkg/delivery"
	"github.com/flotilla-gitops/flotilla/pkg/drift"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// tries is how often a correction is begun anew because the object changes
// meanwhile. Later ones begin with an event.
const tries = 3

// Outcomes of corrections, as their metric has them.
const (
	correctedPatched   = "patched"
	correctedCreated   = "created"
	correctedRecreated = "recreated"
	correctedFailed    = "failed"
)

// correctAll corrects what has drifted; what others need first, one by one.
func (in *inspection) correctAll(ctx context.Context, found []finding) error {
	var later []int
	for n := range found {
		switch kind := in.object(n).Kind; {
		case !in.wanting(n, &found[n]):
		case kind == "Namespace" || kind == "CustomResourceDefinition":
			if err := in.correct(ctx, n, &found[n]); err != nil {
				return err
			}
		default:
			later = append(later, n)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for _, n := range later {
		group.Go(kube.Guarded(func() error { return in.correct(ctx, n, &found[n]) }))
	}
	return group.Wait()
}

// wanting says whether an object is to be corrected.
func (in *inspection) wanting(n int, f *finding) bool {
	switch {
	case f.Ignored || in.desired[n] == nil:
		return false
	case f.Health == Missing:
		return delivery.ComesBack(in.bd, in.object(n).Kind)
	case f.Health == NotOurs:
		return in.takesOver() && f.Modified
	default:
		return f.Modified && f.Health != Leaving
	}
}

// correct makes an object what the release asks for, unless somebody who
// changes it back makes that wait. It fails if the API server does not answer.
func (in *inspection) correct(ctx context.Context, n int, f *finding) error {
	s, now := in.struggles[in.indexes[n]], in.c.clock.Now()
	if due := s.Due(); now.Before(due) {
		if s.note == "" {
			s.note = s.Says(drift.ChangeOf(f.live, f.restoring, release.FieldManagers()...))
		}
		f.struggle, f.due, f.Note = &s, due, s.note
		return nil
	}
	for range tries {
		outcome, err := in.attempt(ctx, n, f)
		switch {
		case err == nil:
			s.Bout, s.note = s.Corrected(now), ""
			in.note(f, outcome)
			return in.settle(ctx, n, f, s)
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), errors.Is(err, release.ErrGone):
			if *f, err = in.find(ctx, n); err != nil {
				return err
			}
			if !in.wanting(n, f) {
				f.struggle = &s
				return nil
			}
		default:
			return in.failed(n, f, err)
		}
	}
	f.struggle, f.due = &s, now.Add(firstLook)
	return nil
}

// attempt tries to correct an object once. The finding has the live object
// then, and what was corrected.
func (in *inspection) attempt(ctx context.Context, n int, f *finding) (outcome string, err error) {
	account, err := in.account()
	if err != nil {
		return "", err
	}
	correction := release.Correction{
		Key: in.release.Key, ServiceAccount: account, Namespace: namespaceOptions(&in.bd.Spec.Options),
		Desired: in.desired[n], Live: f.live, Restoring: f.restoring,
	}
	outcome = correctedPatched
	switch {
	case f.live == nil:
		outcome = correctedCreated
	case f.refused != nil:
		if !f.refused.Invalid() || !in.policy.force {
			return "", f.refused
		}
		outcome, correction.Restoring = correctedRecreated, nil
	}
	live, err := in.c.deps.Releases.Correct(ctx, correction)
	if refused := (*release.RefusedError)(nil); errors.As(err, &refused) && refused.Invalid() && in.policy.force && outcome == correctedPatched {
		outcome, correction.Restoring = correctedRecreated, nil
		live, err = in.c.deps.Releases.Correct(ctx, correction)
	}
	if err == nil {
		f.live = live
	}
	return outcome, err
}

// note tells of a correction.
func (in *inspection) note(f *finding, outcome string) {
	in.c.deps.Metrics.corrected(outcome)
	in.c.log.WithFields(logrus.Fields{
		"deployment": in.bd.Name, "object": f.Object.String(), "outcome": outcome, "patch": f.Patch,
	}).Info("Drift corrected")
}

// settle judges an object that was corrected.
func (in *inspection) settle(ctx context.Context, n int, f *finding, s struggle) error {
	patch, created := f.Patch, f.Health == Missing
	now, err := in.judge(ctx, n, f.live)
	if err != nil {
		return err
	}
	now.struggle, now.corrected = &s, f.Object.String()+" restored "+patch
	if created {
		now.corrected = f.Object.String() + " created again"
	}
	if now.Modified {
		now.due = s.Due()
	}
	*f = now
	return nil
}

// failed says why an object stays as it is, and when that is tried again. An
// API server that does not answer is no reason to say anything.
func (in *inspection) failed(n int, f *finding, err error) error {
	var refused *release.RefusedError
	if !errors.As(err, &refused) {
		return fmt.Errorf("correcting %s: %w", f.Object, err)
	}
	err = release.NewRedactor(nil).Error(err)
	f.Note = "not corrected: " + err.Error()
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
	case apierrors.IsForbidden(err):
		f.Note += "; allow the service account of the deployment to get, patch and create it"
	case refused.Invalid() && !in.policy.force:
		f.Note += "; set correctDrift.force to have it deleted and made anew, or change it by hand"
	}
	in.c.deps.Metrics.corrected(correctedFailed)
	in.c.log.WithError(err).WithFields(logrus.Fields{"deployment": in.bd.Name, "object": f.Object.String()}).Warn("Drift cannot be corrected")
	in.again(n, f, f.Note)
	return nil
}
