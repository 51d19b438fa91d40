package release

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/pkg/copies"
)

// ErrCopyTaken says that the place of a copy is somebody else's.
var ErrCopyTaken = errors.New("the place of a copy is taken")

// CopyKey names a copy in the cluster.
type CopyKey struct {
	copies.Ref
	Namespace string
}

// String returns "Secret web/pull".
func (k CopyKey) String() string { return k.Kind + " " + k.Namespace + "/" + k.Name }

// Provision asks for the copies that a deployment has in the namespace of its release.
type Provision struct {
	// Terms name the namespace of the release and the deployment. The namespace must exist, unless Ensure says what to do about
	// it.
	Terms  copies.Terms
	Ensure *NamespaceOptions
	// ServiceAccount of the agent's namespace to act as; empty for the agent itself.
	ServiceAccount string
	// Copies are what is to be there.
	Copies []copies.Copy
}

// Provide makes copies what they should be, and returns the resourceVersion that each of them has then. What is as it
// should be is not written.
func (m *Manager) Provide(ctx context.Context, p Provision) (map[CopyKey]string, error) {
	act, err := m.handler(p.ServiceAccount)
	if err != nil {
		return nil, err
	}
	if p.Ensure != nil {
		if err := (namespaces{look: m.self.client, write: act.client}).ensure(ctx, p.Terms.Namespace, *p.Ensure); err != nil {
			return nil, err
		}
	}
	made := make(map[CopyKey]string, len(p.Copies))
	for i := range p.Copies {
		key := CopyKey{p.Copies[i].Ref(), p.Terms.Namespace}
		version, err := m.provide(ctx, copyClient{act, key}, p, &p.Copies[i])
		if err != nil {
			return nil, fmt.Errorf("copying %s of the hub to %s: %w", p.Copies[i].Source(), key, err)
		}
		made[key] = version
	}
	return made, nil
}

// copyTries is how often a copy is written that others write at the same moment, such as another deployment that has it.
const copyTries = 5

func (m *Manager) provide(ctx context.Context, at copyClient, p Provision, c *copies.Copy) (version string, err error) {
	for range copyTries {
		live, readErr := at.get(ctx)
		if readErr != nil {
			return "", readErr
		}
		change, wanted, refusal := p.Terms.Provide(live, c)
		if refusal != nil {
			return "", fmt.Errorf("%w: %w", ErrCopyTaken, refusal)
		}
		if change != copies.Nothing {
			m.log.WithFields(logrus.Fields{"deployment": p.Terms.Owner.Deployment, "namespace": p.Terms.Namespace, "object": at.key.String()}).Info("Copying from the hub")
		}
		switch change {
		case copies.Nothing:
			return live.Meta().GetResourceVersion(), nil
		case copies.Recreate:
			if err = at.delete(ctx, live); err == nil || apierrors.IsNotFound(err) {
				version, err = at.create(ctx, wanted)
			}
		case copies.Create:
			version, err = at.create(ctx, wanted)
		case copies.Update:
			version, err = at.update(ctx, wanted)
		case copies.Delete:
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return version, err
		}
	}
	return "", err
}

// copies returns the owner as copies know it.
func (o Owner) copies() copies.Owner { return copies.Owner{Agent: o.Agent, Deployment: o.Deployment} }

// Withdrawal asks for copies to go that a deployment has no more.
type Withdrawal struct {
	// Owner is the deployment.
	Owner Owner
	// ServiceAccount of the agent's namespace to act as; empty for the agent itself.
	ServiceAccount string
	// Copies are those that are to go.
	Copies []CopyKey
	// Keep leaves them in the cluster, as objects like others.
	Keep bool
}

// Withdraw takes copies from a deployment. Those that no other has are deleted.
func (m *Manager) Withdraw(ctx context.Context, w Withdrawal) error {
	act, err := m.handler(w.ServiceAccount)
	if err != nil {
		return err
	}
	for _, key := range w.Copies {
		if err := m.withdraw(ctx, copyClient{act, key}, w); err != nil {
			return fmt.Errorf("removing the copy %s: %w", key, err)
		}
	}
	return nil
}

func (m *Manager) withdraw(ctx context.Context, at copyClient, w Withdrawal) (err error) {
	for range copyTries {
		live, readErr := at.get(ctx)
		if readErr != nil {
			return readErr
		}
		change, wanted := copies.Withdraw(live, w.Owner.copies(), w.Keep)
		switch change {
		case copies.Delete:
			m.log.WithFields(logrus.Fields{"deployment": w.Owner.Deployment, "namespace": at.key.Namespace, "object": at.key.String()}).Info("Removing copy")
			err = at.delete(ctx, live)
		case copies.Update:
			_, err = at.update(ctx, wanted)
		case copies.Nothing, copies.Create, copies.Recreate:
			return nil
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
	}
	return err
}

// copyClient reads and writes one copy on somebody's behalf.
type copyClient struct {
	act *actor
	key CopyKey
}

func (c copyClient) get(ctx context.Context) (copies.Object, error) {
	var found copies.Object
	var err error
	if c.key.Kind == copies.KindSecret {
		found.Secret, err = c.act.client.CoreV1().Secrets(c.key.Namespace).Get(ctx, c.key.Name, metav1.GetOptions{})
	} else {
		found.ConfigMap, err = c.act.client.CoreV1().ConfigMaps(c.key.Namespace).Get(ctx, c.key.Name, metav1.GetOptions{})
	}
	if apierrors.IsNotFound(err) {
		return copies.Object{}, nil
	}
	if err != nil {
		return copies.Object{}, err
	}
	return found, nil
}

func (c copyClient) create(ctx context.Context, o copies.Object) (string, error) {
	fresh := metav1.ObjectMeta{Namespace: c.key.Namespace, Name: c.key.Name, Labels: o.Meta().GetLabels(), Annotations: o.Meta().GetAnnotations()}
	if o.Secret != nil {
		made := o.Secret.DeepCopy()
		made.ObjectMeta = fresh
		return versionOf(c.act.client.CoreV1().Secrets(c.key.Namespace).Create(ctx, made, metav1.CreateOptions{FieldManager: copyManager}))
	}
	made := o.ConfigMap.DeepCopy()
	made.ObjectMeta = fresh
	return versionOf(c.act.client.CoreV1().ConfigMaps(c.key.Namespace).Create(ctx, made, metav1.CreateOptions{FieldManager: copyManager}))
}

// copyManager is the field manager of copies.
const copyManager = "flotilla-agent"

// update replaces the object that was read; of one that has changed since it fails with a conflict.
func (c copyClient) update(ctx context.Context, o copies.Object) (string, error) {
	if o.Secret != nil {
		return versionOf(c.act.client.CoreV1().Secrets(c.key.Namespace).Update(ctx, o.Secret, metav1.UpdateOptions{FieldManager: copyManager}))
	}
	return versionOf(c.act.client.CoreV1().ConfigMaps(c.key.Namespace).Update(ctx, o.ConfigMap, metav1.UpdateOptions{FieldManager: copyManager}))
}

func versionOf[T metav1.Object](written T, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return written.GetResourceVersion(), nil
}

// delete deletes the very object that was judged.
func (c copyClient) delete(ctx context.Context, o copies.Object) error {
	uid, version := o.Meta().GetUID(), o.Meta().GetResourceVersion()
	opts := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}}
	if c.key.Kind == copies.KindSecret {
		return c.act.client.CoreV1().Secrets(c.key.Namespace).Delete(ctx, c.key.Name, opts)
	}
	return c.act.client.CoreV1().ConfigMaps(c.key.Namespace).Delete(ctx, c.key.Name, opts)
}
