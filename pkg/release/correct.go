package release

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/dynamic"

	"github.com/flotilla-gitops/flotilla/pkg/drift"
)

// Correction makes one object of a release what the release asks for again. No
// revision is added, and nothing else of the release is touched.
type Correction struct {
	// Key is the release.
	Key Key
	// ServiceAccount of the agent's namespace to act as; empty for the agent itself.
	ServiceAccount string
	// Namespace says whether the namespace of the release may be made.
	Namespace NamespaceOptions
	// Desired is what the release asks for.
	Desired *unstructured.Unstructured
	// Live is what was found; nil if there is nothing.
	Live *unstructured.Unstructured
	// Restoring is the merge patch to make of Live. Without one Live is deleted, and the object made anew.
	Restoring map[string]any
}

// Correct makes the correction, and returns the object as it is then. It
// changes nothing and fails with a conflict, or with ErrGone, if the object is
// not the one that was found any more. What the API server refuses is a
// RefusedError.
func (m *Manager) Correct(ctx context.Context, c Correction) (*unstructured.Unstructured, error) {
	act, err := m.handler(c.ServiceAccount)
	if err != nil {
		return nil, &RefusedError{Err: err}
	}
	objects, err := m.objectsAs(act, c.Desired)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Live == nil:
		return m.create(ctx, objects, c)
	case c.Restoring == nil:
		return m.recreate(ctx, objects, c)
	}
	patch := maps.Clone(c.Restoring)
	metadata, _ := patch["metadata"].(map[string]any)
	if metadata = maps.Clone(metadata); metadata == nil {
		metadata = map[string]any{}
	}
	metadata["resourceVersion"], metadata["uid"] = c.Live.GetResourceVersion(), string(c.Live.GetUID())
	patch["metadata"] = metadata
	text, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encoding correction: %w", err)
	}
	corrected, err := objects.Patch(ctx, c.Desired.GetName(), types.MergePatchType, text, metav1.PatchOptions{FieldManager: managerCorrecting})
	switch {
	case apierrors.IsNotFound(err):
		return nil, ErrGone
	case err != nil:
		return nil, refusal(err, c.Desired, c.Live)
	}
	return corrected, nil
}

// create makes an object that is missing; its namespace first if that is the
// release's, missing too, and allowed to be made.
func (m *Manager) create(ctx context.Context, objects dynamic.ResourceInterface, c Correction) (*unstructured.Unstructured, error) {
	wanted := drift.Applicable(c.Desired)
	created, err := objects.Create(ctx, wanted, metav1.CreateOptions{FieldManager: managerCorrecting})
	if apierrors.IsNotFound(err) && c.Desired.GetNamespace() == c.Key.Namespace {
		act, failed := m.handler(c.ServiceAccount)
		if failed != nil {
			return nil, failed
		}
		if failed := (namespaces{look: m.self.client, write: act.client}).ensure(ctx, c.Key.Namespace, c.Namespace); failed != nil {
			return nil, &RefusedError{Err: failed}
		}
		created, err = objects.Create(ctx, wanted, metav1.CreateOptions{FieldManager: managerCorrecting})
	}
	switch {
	case apierrors.IsNotFound(err):
		// The namespace is missing, or the kind has gone since it was last looked for.
		m.cluster.refresh()
		return nil, &RefusedError{Err: fmt.Errorf("it cannot be created, because its namespace or its kind is missing: %w", withoutSecrets(err, c.Desired))}
	case err != nil:
		return nil, refusal(err, c.Desired)
	}
	return created, nil
}

// recreate deletes the object that was found and makes it anew. It first asks
// whether the API server would take a new one: an object is not given up for one
// that cannot be had.
func (m *Manager) recreate(ctx context.Context, objects dynamic.ResourceInterface, c Correction) (*unstructured.Unstructured, error) {
	probe := drift.Applicable(c.Desired)
	probe.SetName("flotilla-" + string(uuid.NewUUID())[:8])
	_, err := objects.Create(ctx, probe, metav1.CreateOptions{FieldManager: managerAsking, DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		err = refusal(err, c.Desired, c.Live)
		return nil, &RefusedError{Err: fmt.Errorf("it is not deleted, because the API server would not take a new one: %w", err)}
	}
	uid, background := c.Live.GetUID(), metav1.DeletePropagationBackground
	err = objects.Delete(ctx, c.Desired.GetName(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background,
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, refusal(err, c.Desired, c.Live)
	}
	created, err := m.create(ctx, objects, c)
	if apierrors.IsAlreadyExists(err) {
		// Something holds the old one. Its going is an event, after which it is missing.
		return nil, ErrGone
	}
	return created, err
}
