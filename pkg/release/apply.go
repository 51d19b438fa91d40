package release

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/postrender"

	"github.com/flotilla-gitops/flotilla/pkg/copies"
)

// maxSteps is how many actions one Apply takes at most. The longest way there
// is adopts, recovers, upgrades, and removes an earlier release.
const maxSteps = 6

// defaultTimeout is how long hooks, and what else Helm waits for, may take
// where the options do not say.
const defaultTimeout = 5 * time.Minute

// defaultHistory is how many revisions are kept where the options do not say.
const defaultHistory = 2

// Package is what a release is made from. It serves one action.
type Package struct {
	Chart        *chart.Chart
	Values       map[string]any
	PostRenderer postrender.PostRenderer
	// Copies are to be in the namespace of the release before anything else of it.
	Copies []copies.Copy
}

// Request asks for a release.
type Request struct {
	// Key is the release that is wanted.
	Key Key
	// Owner is the deployment it is wanted for.
	Owner Owner
	// Fingerprint identifies what the release is to be made from: see names.Fingerprint.
	Fingerprint string
	// Load returns what the release is to be made from. It is called only if the release has to be made, and then once
	// for each action.
	Load func(context.Context) (Package, error)
	// Provide is called with the copies of a package that has some, in the namespace of the release, before anything else is
	// done with it.
	Provide func(context.Context, []copies.Copy) error
	// ServiceAccount of the agent's namespace to act as; empty for the agent itself.
	ServiceAccount string
	// Elsewhere are releases that the deployment has under other names.
	Elsewhere []Key
	// Namespace says what to do about the namespace of the release.
	Namespace NamespaceOptions
	// Helm holds the options of the Helm actions.
	Helm HelmOptions
	// Waiting, if set, is called with whatever waits for others, such as for a hook to end or for objects to become
	// ready; it must call that, and can let go of what it holds meanwhile.
	Waiting func(wait func())
}

// HelmOptions are options of Helm actions.
type HelmOptions struct {
	// Timeout, if not zero, is how long to wait for the objects to become ready; failing that, the action fails. It
	// also bounds each hook, which have 5 minutes otherwise.
	Timeout time.Duration
	// WaitForJobs has jobs complete within Timeout, too.
	WaitForJobs bool
	// Atomic takes back what fails.
	Atomic bool
	// Force replaces objects that cannot be changed.
	Force bool
	// TakeOwnership takes over objects and releases of others.
	TakeOwnership bool
	// MaxHistory is how many revisions are kept; 0 for 2.
	MaxHistory int
	// DisableDNS has templates resolve no names.
	DisableDNS bool
	// SkipSchemaValidation has values not checked against the chart's schema.
	SkipSchemaValidation bool
}

func (o HelmOptions) timeout() time.Duration {
	if o.Timeout > 0 {
		return o.Timeout
	}
	return defaultTimeout
}

func (o HelmOptions) maxHistory() int {
	if o.MaxHistory > 0 {
		return o.MaxHistory
	}
	return defaultHistory
}

// Outcome is what Apply achieved.
type Outcome struct {
	// Release as it is now.
	Release *Release
	// Taken are the actions that were needed, in order.
	Taken []Action
	// Remaining are objects of earlier releases of the deployment that are being deleted and still there. Apply is to
	// be called again when they have gone.
	Remaining []Remaining
}

// Apply brings a release to what the request asks for. If it fails, it can be
// called again; it goes on from where things stand.
func (m *Manager) Apply(ctx context.Context, req Request) (*Outcome, error) {
	unlock, err := m.locks.lock(ctx, append([]Key{req.Key}, req.Elsewhere...)...)
	if err != nil {
		return nil, err
	}
	defer unlock()

	log := m.log.WithFields(logrus.Fields{
		"deployment": req.Owner.Deployment, "namespace": req.Key.Namespace, "release": req.Key.Name,
	})
	outcome := &Outcome{}
	for range maxSteps {
		found, err := m.history(ctx, req.Key)
		if err != nil {
			return nil, err
		}
		latest, err := found.latest(req.Key.Namespace)
		if err != nil {
			return nil, err
		}
		state := Assess(Situation{
			Owner: req.Owner, Digest: Digest(req.Fingerprint), TakeOwnership: req.Helm.TakeOwnership,
			Latest: latest, Deployed: found.deployed(), Elsewhere: len(req.Elsewhere) > 0,
		})
		if state.Action() == ActionNone || len(outcome.Remaining) > 0 {
			outcome.Release, err = m.describe(found[len(found)-1], *latest)
			return outcome, errors.Join(err, m.prune(ctx, req, found))
		}
		log.WithFields(logrus.Fields{"state": state, "action": state.Action()}).Info("Release changes")
		outcome.Taken = append(outcome.Taken, state.Action())
		if err := m.take(ctx, state.Action(), step{req: &req, found: found, outcome: outcome}); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("release %s is not in sync after %v", req.Key, outcome.Taken)
}

// step is what one action of Apply works on.
type step struct {
	req     *Request
	found   history
	outcome *Outcome
}

func (m *Manager) take(ctx context.Context, action Action, s step) error {
	switch action {
	case ActionInstall:
		return m.install(ctx, s)
	case ActionReinstall:
		if err := m.prune(ctx, *s.req, s.found); err != nil {
			return err
		}
		return m.install(ctx, s)
	case ActionMove:
		if err := m.handOver(ctx, s); err != nil {
			return err
		}
		return m.install(ctx, s)
	case ActionUpgrade:
		if err := m.prune(ctx, *s.req, s.found); err != nil {
			return err
		}
		return m.upgrade(ctx, s)
	case ActionRecover:
		return m.recoverUnfinished(ctx, s)
	case ActionAdopt:
		latest, err := s.found.latest(s.req.Key.Namespace)
		if err != nil {
			return err
		}
		return m.adopt(ctx, *latest, s.req.Owner)
	case ActionRemoveEarlier:
		return m.removeEarlier(ctx, s)
	case ActionRefuse:
		return fmt.Errorf("release name %s is taken: %w; choose another helm.releaseName or namespace, or set helm.takeOwnership",
			s.req.Key, ErrForeign)
	case ActionNone:
	}
	return nil
}
