package release

import (
	"context"
	"fmt"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/pkg/copies"
)

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

// Provided are copies as they were provided.
type Provided struct {
	// Versions are the resourceVersions that they have.
	Versions map[CopyKey]string
	// Written says that one of them had to be written.
	Written bool
}

// Provide makes copies what they should be. What is as it should be is not written.
func (m *Manager) Provide(ctx context.Context, p Provision) (*Provided, error) {
	act, err := m.handler(p.ServiceAccount)
	if err != nil {
		return nil, err
	}
	if p.Ensure != nil {
		if err := (namespaces{look: m.self.client, write: act.client}).ensure(ctx, p.Terms.Namespace, *p.Ensure); err != nil {
			return nil, err
		}
	}
	made := &Provided{Versions: make(map[CopyKey]string, len(p.Copies))}
	for i := range p.Copies {
		key := CopyKey{p.Copies[i].Ref(), p.Terms.Namespace}
		version, written, err := m.provide(ctx, copyClient{act, key}, p, &p.Copies[i])
		if err != nil {
			return nil, fmt.Errorf("copying %s of the hub to %s: %w", p.Copies[i].Source(), key, withRights(err))
		}
		made.Versions[key], made.Written = version, made.Written || written
	}
	return made, nil
}

// copyTries is how often a copy is written that others write at the same moment, such as another deployment that has it.
const copyTries = 5

func (m *Manager) provide(ctx context.Context, at copyClient, p Provision, c *copies.Copy) (version string, written bool, err error) {
	for range copyTries {
		live, readErr := at.get(ctx)
		if readErr != nil {
			return "", written, readErr
		}
		change, wanted, refusal := p.Terms.Provide(live, c)
		if refusal != nil {
			return "", written, refusal
		}
		if change != copies.Nothing {
			written = true
			m.log.WithFields(logrus.Fields{"deployment": p.Terms.Owner.Deployment, "namespace": p.Terms.Namespace, "object": at.key.String()}).Info("Copying from the hub")
		}
		switch change {
		case copies.Nothing:
			return live.Meta().GetResourceVersion(), written, nil
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
			return version, written, err
		}
	}
	return "", written, err
}

// copies returns the owner as copies know it.
func (o Owner) copies() copies.Owner { return copies.Owner{Agent: o.Agent, Deployment: o.Deployment} }

// Withdrawal asks for a copy to go that a deployment has no more.
type Withdrawal struct {
	// Owner is the deployment.
	Owner Owner
	// ServiceAccount of the agent's namespace to act as; empty for the agent itself.
	ServiceAccount string
	// Copy is the one that is to go.
	Copy CopyKey
	// Keep leaves it in the cluster, as an object like others.
	Keep bool
}

// Held returns those of the copies that bear the mark of the deployment. It looks as the agent itself: that a deployment has none
// must not depend on what its account may see.
func (m *Manager) Held(ctx context.Context, owner Owner, keys []CopyKey) ([]CopyKey, error) {
	var held []CopyKey
	for _, key := range keys {
		live, err := copyClient{m.self, key}.get(ctx)
		if err != nil {
			return nil, fmt.Errorf("looking for the copy %s: %w", key, err)
		}
		if change, _ := copies.Withdraw(live, owner.copies(), false); change != copies.Nothing {
			held = append(held, key)
		}
	}
	return held, nil
}

// Withdraw takes a copy from a deployment. One that no other has is deleted.
func (m *Manager) Withdraw(ctx context.Context, w Withdrawal) error {
	act, err := m.handler(w.ServiceAccount)
	if err != nil {
		return err
	}
	return m.explain(ctx, withRights(m.withdraw(ctx, copyClient{act, w.Copy}, w)), fmt.Sprintf("removing the copy %s", w.Copy))
}

func (m *Manager) withdraw(ctx context.Context, at copyClient, w Withdrawal) (err error) {
	for range copyTries {
		live, readErr := copyClient{m.self, w.Copy}.get(ctx)
		if readErr != nil {
			return readErr
		}
		change, wanted := copies.Withdraw(live, w.Owner.copies(), w.Keep)
		switch change {
		case copies.Delete:
			m.log.WithFields(logrus.Fields{"deployment": w.Owner.Deployment, "namespace": w.Copy.Namespace, "object": w.Copy.String()}).Info("Removing copy")
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

// withRights adds what to do to an error that says that rights are lacking.
func withRights(err error) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	return fmt.Errorf("%w; allow the service account of the deployment to get, create, update and delete it", err)
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
