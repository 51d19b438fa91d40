package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/sirupsen/logrus"
	"helm.sh/helm/v3/pkg/action"
	helmrelease "helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (m *Manager) install(ctx context.Context, s step) error {
	act, pkg, err := m.prepare(ctx, s.req)
	if err != nil {
		return err
	}
	bound, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg, client, err := m.helm(bound, act, m.job(s))
	if err != nil {
		return err
	}
	req := s.req
	install := action.NewInstall(cfg)
	install.ReleaseName, install.Namespace = req.Key.Name, req.Key.Namespace
	// Over the record of an attempt that failed; anything else Helm refuses.
	install.Replace = true
	install.Labels = labelsFor(req.Owner, Digest(req.Fingerprint))
	install.Timeout, install.Wait, install.WaitForJobs = req.Helm.timeout(), req.Helm.Timeout > 0, req.Helm.WaitForJobs
	install.Atomic, install.Force, install.TakeOwnership = req.Helm.Atomic, req.Helm.Force, req.Helm.TakeOwnership
	install.EnableDNS, install.SkipSchemaValidation = !req.Helm.DisableDNS, req.Helm.SkipSchemaValidation
	install.DisableOpenAPIValidation = true
	install.PostRenderer = client.witness(pkg.PostRenderer)
	_, err = m.render(client, s.req, pkg.Chart, func() (*helmrelease.Release, error) {
		// Helm would leave its goroutines behind if its context ended; its requests end with bound.
		return install.RunWithContext(context.WithoutCancel(bound), pkg.Chart, pkg.Values)
	})
	return m.explain(ctx, client.clean(err), fmt.Sprintf("installing release %s", req.Key))
}

func (m *Manager) upgrade(ctx context.Context, s step) error {
	act, pkg, err := m.prepare(ctx, s.req)
	if err != nil {
		return err
	}
	bound, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg, client, err := m.helm(bound, act, m.job(s))
	if err != nil {
		return err
	}
	req := s.req
	upgrade := action.NewUpgrade(cfg)
	upgrade.Namespace = req.Key.Namespace
	upgrade.Labels = labelsFor(req.Owner, Digest(req.Fingerprint))
	// Helm reuses the old values if there are no new ones, unless told so.
	upgrade.ResetValues = true
	upgrade.Timeout, upgrade.Wait, upgrade.WaitForJobs = req.Helm.timeout(), req.Helm.Timeout > 0, req.Helm.WaitForJobs
	upgrade.Atomic, upgrade.Force, upgrade.TakeOwnership = req.Helm.Atomic, req.Helm.Force, req.Helm.TakeOwnership
	upgrade.EnableDNS, upgrade.SkipSchemaValidation = !req.Helm.DisableDNS, req.Helm.SkipSchemaValidation
	upgrade.DisableOpenAPIValidation = true
	upgrade.PostRenderer = client.witness(pkg.PostRenderer)
	_, err = m.render(client, s.req, pkg.Chart, func() (*helmrelease.Release, error) {
		return upgrade.RunWithContext(context.WithoutCancel(bound), req.Key.Name, pkg.Chart, pkg.Values)
	})
	return m.explain(ctx, client.clean(err), fmt.Sprintf("upgrading release %s", req.Key))
}

// prepare loads the package, and makes the namespace and what is to be in it first.
func (m *Manager) prepare(ctx context.Context, req *Request) (*actor, Package, error) {
	act, err := m.handler(req.ServiceAccount)
	if err != nil {
		return nil, Package{}, err
	}
	pkg, err := req.Load(ctx)
	if err != nil {
		return nil, Package{}, err
	}
	if err := (namespaces{look: m.self.client, write: act.client}).ensure(ctx, req.Key.Namespace, req.Namespace); err != nil {
		return nil, Package{}, err
	}
	if len(pkg.Copies) > 0 {
		if err := req.Provide(ctx, pkg.Copies); err != nil {
			return nil, Package{}, err
		}
	}
	return act, pkg, nil
}

func (m *Manager) job(s step) job {
	return job{
		key: s.req.Key, set: m.setOf(s.req.Owner.Deployment), history: s.found,
		timeout: s.req.Helm.timeout(), waiting: s.req.Waiting,
	}
}

// explain says what was being done when err happened, and that the process was
// stopping if it was.
func (m *Manager) explain(ctx context.Context, err error, doing string) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: %w", doing, errors.Join(cause, err))
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// recoverUnfinished marks the newest revision as failed.
func (m *Manager) recoverUnfinished(ctx context.Context, s step) error {
	newest := s.found[len(s.found)-1]
	was := newest.Info.Status
	newest.SetStatus(helmrelease.StatusFailed, fmt.Sprintf("The agent was stopped while the revision was %s", was))
	_, err := guarded(func() (struct{}, error) {
		return struct{}{}, newStorage(ctx, m.self.client.CoreV1().Secrets(s.req.Key.Namespace)).Update(newest)
	})
	return m.explain(ctx, err, fmt.Sprintf("recovering release %s from %s", s.req.Key, was))
}

// Adopt has a release that was made for an earlier deployment of owner's name
// belong to owner from now on. Nothing is installed. A release that belongs to
// owner already, or to somebody else, is left as it is.
func (m *Manager) Adopt(ctx context.Context, key Key, owner Owner) error {
	unlock, err := m.locks.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	found, err := m.history(ctx, key)
	if err != nil {
		return err
	}
	latest, err := found.latest(key.Namespace)
	if err != nil || latest == nil || !latest.InheritedBy(owner) {
		return err
	}
	m.log.WithFields(logrus.Fields{
		"deployment": owner.Deployment, "namespace": key.Namespace, "release": key.Name, "action": ActionAdopt,
	}).Info("Release changes")
	return m.adopt(ctx, *latest, owner)
}

// adopt writes the owner on a record. What the revision was made from stays
// what it was.
func (m *Manager) adopt(ctx context.Context, record Record, owner Owner) error {
	labels := labelsFor(owner, record.Digest)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return fmt.Errorf("encoding labels: %w", err)
	}
	_, err = m.self.client.CoreV1().Secrets(record.Key.Namespace).
		Patch(ctx, recordName(record.Key.Name, record.Revision), types.MergePatchType, patch, metav1.PatchOptions{})
	return m.explain(ctx, err, fmt.Sprintf("adopting release %s", record.Key))
}

// recordName returns the name of the Secret that holds a revision.
func recordName(release string, revision int) string {
	return fmt.Sprintf("sh.helm.release.v1.%s.v%d", release, revision)
}

// handOver makes the objects that the deployment's earlier releases and the
// wanted one have in common belong to the latter, before it is installed:
// there is no moment at which one of them could be deleted.
func (m *Manager) handOver(ctx context.Context, s step) error {
	act, pkg, err := m.prepare(ctx, s.req)
	if err != nil {
		return err
	}
	wanted, err := m.preview(ctx, act, s.req, pkg)
	if err != nil {
		return err
	}
	live := &objects{cluster: m.cluster, client: act.metadata}
	for _, from := range s.req.Elsewhere {
		earlier, err := m.history(ctx, from)
		if err != nil {
			return err
		}
		held, err := earlier.objects()
		if err != nil {
			return err
		}
		if err := live.handOver(ctx, from, s.req.Key, common(m.settled(held, from), wanted)); err != nil {
			return err
		}
	}
	return nil
}

// preview returns the objects that an install would make.
func (m *Manager) preview(ctx context.Context, act *actor, req *Request, pkg Package) ([]Object, error) {
	bound, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg, client, err := m.helm(bound, act, job{key: req.Key, set: m.setOf(req.Owner.Deployment), waiting: req.Waiting})
	if err != nil {
		return nil, err
	}
	install := action.NewInstall(cfg)
	install.ReleaseName, install.Namespace = req.Key.Name, req.Key.Namespace
	install.DryRun, install.ClientOnly, install.DisableHooks, install.SkipCRDs = true, true, true, true
	install.DryRunOption = "server" // templates look up what they will when it is installed
	install.KubeVersion, install.APIVersions = &cfg.Capabilities.KubeVersion, cfg.Capabilities.APIVersions
	install.EnableDNS, install.SkipSchemaValidation = !req.Helm.DisableDNS, req.Helm.SkipSchemaValidation
	install.PostRenderer = client.witness(pkg.PostRenderer)
	rendered, err := m.render(client, req, pkg.Chart, func() (*helmrelease.Release, error) {
		return install.RunWithContext(context.WithoutCancel(bound), pkg.Chart, pkg.Values)
	})
	if err != nil {
		return nil, fmt.Errorf("rendering release %s: %w", req.Key, client.clean(err))
	}
	list, err := parseManifest(rendered.Manifest)
	return m.settled(list, req.Key), err
}

// settled returns objects with the namespace that they have in the cluster.
func (m *Manager) settled(list []Object, release Key) []Object {
	list = slices.Clone(list)
	for i := range list {
		if namespaced, known := m.IsNamespaced(list[i].GroupVersionKind); known && !namespaced {
			list[i].Namespace = ""
		} else if list[i].Namespace == "" {
			list[i].Namespace = release.Namespace
		}
	}
	return list
}

// removeEarlier removes the deployment's other releases. Their objects that
// belong to the wanted one by now stay.
func (m *Manager) removeEarlier(ctx context.Context, s step) error {
	var left []Key
	for _, key := range s.req.Elsewhere {
		remaining, err := m.remove(ctx, Removal{
			Key: key, Owner: s.req.Owner, anyUID: true, ServiceAccount: s.req.ServiceAccount,
			Helm: s.req.Helm, Waiting: s.req.Waiting,
		})
		if err != nil {
			return err
		}
		if len(remaining) > 0 {
			s.outcome.Remaining = append(s.outcome.Remaining, remaining...)
			left = append(left, key)
		}
	}
	s.req.Elsewhere = left
	return nil
}

// prune forgets revisions that are too many.
func (m *Manager) prune(ctx context.Context, req Request, found history) error {
	revisions := make([]revision, 0, len(found))
	for _, r := range found {
		list, err := parseManifest(r.Manifest)
		if err != nil {
			return fmt.Errorf("reading revision %d of release %s: %w", r.Version, req.Key, err)
		}
		revisions = append(revisions, revision{number: r.Version, status: Status(r.Info.Status), objects: list})
	}
	for _, number := range prunable(revisions, req.Helm.maxHistory()) {
		if err := m.forget(ctx, req.Key, number); err != nil {
			return err
		}
	}
	return nil
}
