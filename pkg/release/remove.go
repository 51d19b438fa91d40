package release

import (
	"context"
	"fmt"
	"slices"

	"github.com/sirupsen/logrus"
	"helm.sh/helm/v3/pkg/action"
	helmrelease "helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Removal asks for a release to be taken away.
type Removal struct {
	// Key is the release.
	Key Key
	// Owner is the deployment that it must belong to, by name and by UID.
	Owner Owner
	// ServiceAccount of the agent's namespace to act as; empty for the agent itself.
	ServiceAccount string
	// KeepResources leaves every object of the release; only its records go.
	KeepResources bool
	// DeleteNamespace removes the namespace of the release as well, unless other releases are in it or Kubernetes or
	// the agent need it.
	DeleteNamespace bool
	// Helm holds the options of the Helm actions.
	Helm HelmOptions
	// Waiting, if set, is called around what waits for others: see Request.Waiting.
	Waiting func(wait func())
	// Unclaimed says that a person asked for the removal, on the record: no hook is run, since nobody vouches for what the
	// record says they are, and the word stays on the record as long as something of the release does.
	Unclaimed bool

	// anyUID has releases of earlier deployments of the same name removed, too.
	anyUID bool
}

// Remove takes a release away and returns what of it is still there: objects
// that are being deleted. As long as there are any, the records of the release
// stay, and Remove is to be called again. A release that belongs to somebody
// else is not touched, and nothing of it remains to be removed.
func (m *Manager) Remove(ctx context.Context, r Removal) ([]Remaining, error) {
	unlock, err := m.locks.lock(ctx, r.Key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return m.remove(ctx, r)
}

func (m *Manager) remove(ctx context.Context, r Removal) ([]Remaining, error) {
	found, err := m.history(ctx, r.Key)
	if err != nil {
		return nil, err
	}
	latest, err := found.latest(r.Key.Namespace)
	if err != nil {
		return nil, err
	}
	act, err := m.handler(r.ServiceAccount)
	if err != nil {
		return nil, err
	}
	if latest == nil {
		return m.removingNamespace(ctx, r)
	}
	log := m.log.WithFields(logrus.Fields{
		"deployment": r.Owner.Deployment, "namespace": r.Key.Namespace, "release": r.Key.Name,
	})
	if !latest.BelongsTo(r.Owner) || latest.UID != r.Owner.UID && !r.anyUID {
		log.Info("Release belongs to somebody else by now and stays")
		return nil, nil
	}
	if r.KeepResources {
		log.Info("Forgetting release, its objects stay")
		return nil, m.forgetAll(ctx, r.Key, found)
	}
	left, err := m.removeObjects(ctx, act, r, found)
	if err != nil || len(left) > 0 {
		return left, err
	}
	if r.DeleteNamespace {
		if left, err := m.removeNamespace(ctx, act, r); err != nil || len(left) > 0 {
			return left, err
		}
	}
	log.Info("Release removed")
	return nil, m.forgetAll(ctx, r.Key, found)
}

// removeObjects runs the hooks and deletes the objects. The hooks run until
// they have succeeded once.
func (m *Manager) removeObjects(ctx context.Context, act *actor, r Removal, found history) ([]Remaining, error) {
	set := m.setOf(r.Owner.Deployment)
	newest := found[len(found)-1]
	if newest.Info.Status != helmrelease.StatusUninstalled {
		cfg, client, err := m.helm(ctx, act, job{key: r.Key, set: set, history: found, timeout: r.Helm.timeout(), waiting: r.Waiting, removing: r.Unclaimed})
		if err != nil {
			return nil, err
		}
		client.forgiving = true
		uninstall := action.NewUninstall(cfg)
		// The records stay until the last object has gone: they are all that names it.
		uninstall.KeepHistory = true
		uninstall.DisableHooks = r.Unclaimed
		uninstall.Timeout = r.Helm.timeout()
		_, err = guarded(func() (*helmrelease.UninstallReleaseResponse, error) { return uninstall.Run(r.Key.Name) })
		if client.deleteErr != nil {
			err = client.deleteErr // Helm only says that there was one
		}
		if err != nil {
			return nil, m.explain(ctx, err, fmt.Sprintf("uninstalling release %s", r.Key))
		}
		if client.deleted {
			return client.left, nil
		}
	}
	all, err := found.objects()
	if err != nil {
		return nil, err
	}
	live := &objects{cluster: m.cluster, client: act.metadata}
	left, err := live.remove(ctx, removal{release: r.Key, set: set, objects: all})
	return left, m.explain(ctx, err, fmt.Sprintf("uninstalling release %s", r.Key))
}

// forgetAll deletes the records of a release, the newest last: as long as it
// is there, the release is known to be on its way out.
func (m *Manager) forgetAll(ctx context.Context, key Key, found history) error {
	for _, revision := range found {
		if err := m.forget(ctx, key, revision.Version); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) forget(ctx context.Context, key Key, revision int) error {
	err := m.self.client.CoreV1().Secrets(key.Namespace).Delete(ctx, recordName(key.Name, revision), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting record %d of release %s: %w", revision, key, err)
	}
	return nil
}

// removeNamespace deletes the namespace of a release of which nothing else is
// left. The records of the release go with it.
func (m *Manager) removeNamespace(ctx context.Context, act *actor, r Removal) ([]Remaining, error) {
	name := r.Key.Namespace
	if m.needed(name) {
		return nil, nil
	}
	others, err := m.others(ctx, r.Key)
	if err != nil || others {
		return nil, err
	}
	namespace, err := m.self.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	if namespace.DeletionTimestamp == nil {
		err := act.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &namespace.UID},
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("deleting namespace %s: %w", name, err)
		}
	}
	return m.namespaceLeft(ctx, name)
}

// removingNamespace returns the namespace if it is on its way out: the records
// of its release go before it does.
func (m *Manager) removingNamespace(ctx context.Context, r Removal) ([]Remaining, error) {
	if !r.DeleteNamespace || m.needed(r.Key.Namespace) {
		return nil, nil
	}
	return m.namespaceLeft(ctx, r.Key.Namespace)
}

// namespaceLeft returns the namespace if it is being deleted and still there.
func (m *Manager) namespaceLeft(ctx context.Context, name string) ([]Remaining, error) {
	namespace, err := m.self.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	if namespace.DeletionTimestamp == nil {
		return nil, nil
	}
	left := Remaining{Object: Object{GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Namespace"), Name: name}}
	for _, f := range namespace.Spec.Finalizers {
		left.Finalizers = append(left.Finalizers, string(f))
	}
	return []Remaining{left}, nil
}

func (m *Manager) needed(namespace string) bool {
	return slices.Contains([]string{
		metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease,
		names.NamespaceSystem, m.agent,
	}, namespace)
}

// others says whether the namespace of a release holds other releases.
func (m *Manager) others(ctx context.Context, key Key) (bool, error) {
	list, err := m.self.metadata.Resource(secretResource()).Namespace(key.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{labelHelmOwner: helmOwner}.String(),
	})
	if err != nil {
		return false, fmt.Errorf("looking for other releases in namespace %s: %w", key.Namespace, err)
	}
	return slices.ContainsFunc(list.Items, func(s metav1.PartialObjectMetadata) bool {
		return s.Labels[labelHelmName] != key.Name
	}), nil
}

func secretResource() schema.GroupVersionResource {
	return corev1.SchemeGroupVersion.WithResource("secrets")
}
