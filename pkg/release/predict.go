package release

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/flotilla-gitops/flotilla/pkg/drift"
)

// Manager names of ours in the marks that API servers keep of who wrote which
// field. Nothing is ever applied as managerAsking, so no field is held by it.
const (
	managerAsking     = "flotilla-drift"
	managerCorrecting = "flotilla-correction"
)

// FieldManagers are the names under which corrections are written.
func FieldManagers() []string { return []string{managerCorrecting, managerAsking} }

// looks is how often an object is read that changes while it is judged.
const looks = 3

// ErrGone says that an object vanished while it was judged or corrected.
var ErrGone = errors.New("the object is gone")

// RefusedError says that the API server would not take an object as the release
// asks for it. Its text holds nothing of a Secret.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// Invalid says whether what is refused is the object as such, as when a field
// cannot be changed: made anew it may be taken.
func (e *RefusedError) Invalid() bool { return apierrors.IsInvalid(e.Err) }

// Passing says whether the refusal may pass by itself, as of a webhook that does
// not answer.
func (e *RefusedError) Passing() bool { return apierrors.IsInternalError(e.Err) }

// refusal turns what an API server says about an object into an error without
// secrets; other errors stay.
func refusal(err error, objects ...*unstructured.Unstructured) error {
	switch {
	case apierrors.ReasonForError(err) == metav1.StatusReasonUnknown && !isStatus(err),
		apierrors.IsConflict(err), apierrors.IsNotFound(err), apierrors.IsTooManyRequests(err),
		apierrors.IsServiceUnavailable(err), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsUnauthorized(err):
		return err
	}
	return &RefusedError{Err: withoutSecrets(err, objects...)}
}

func isStatus(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}

// withoutSecrets takes what Secrets hold out of an error.
func withoutSecrets(err error, objects ...*unstructured.Unstructured) error {
	values := map[string]any{}
	var names []string
	for i, object := range objects {
		if object != nil && drift.IsSecret(object) {
			values[fmt.Sprint(i)] = secretValues(object)
			names = append(names, object.GetName(), object.GetNamespace())
		}
	}
	return NewRedactor(values, names...).Error(err)
}

// Prediction is a live object and what the API server says that it would be
// with all that a release asks for.
type Prediction struct{ Live, Predicted *unstructured.Unstructured }

// Question asks what an object of a release would be.
type Question struct {
	// ServiceAccount of the agent's namespace to ask as; empty for the agent itself.
	ServiceAccount string
	// Desired is what the release asks for, Live what was read.
	Desired, Live *unstructured.Unstructured
}

// Predict asks the API server what the live object would be with all that is
// desired of it applied, by a dry run of a server-side apply. Defaults,
// normalised values, what webhooks write and fields of others come out the same
// on both sides. If the object changes meanwhile it is read again. What the API
// server refuses is a RefusedError.
func (m *Manager) Predict(ctx context.Context, q Question) (*Prediction, error) {
	act, err := m.handler(q.ServiceAccount)
	if err != nil {
		return nil, &RefusedError{Err: err}
	}
	objects, err := m.objectsAs(act, q.Desired)
	if err != nil {
		return nil, err
	}
	reading, err := m.objectsAs(m.self, q.Desired)
	if err != nil {
		return nil, err
	}
	live, wanted := q.Live, drift.Applicable(q.Desired)
	for range looks {
		predicted, err := objects.Apply(ctx, wanted.GetName(), wanted, metav1.ApplyOptions{
			Force: true, FieldManager: managerAsking, DryRun: []string{metav1.DryRunAll},
		})
		if err != nil && !apierrors.IsConflict(err) {
			return nil, fmt.Errorf("asking what %s would be: %w", live.GetName(), refusal(err, q.Desired, live))
		}
		if err == nil && predicted.GetUID() == live.GetUID() && predicted.GetResourceVersion() == live.GetResourceVersion() {
			return &Prediction{Live: live, Predicted: predicted}, nil
		}
		live, err = reading.Get(ctx, wanted.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, ErrGone
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", wanted.GetName(), err)
		}
	}
	return nil, apierrors.NewConflict(metav1.Unversioned.WithResource("objects").GroupResource(), wanted.GetName(),
		errors.New("it changes all the time"))
}

// objectsAs returns where objects like the given one are, for somebody.
func (m *Manager) objectsAs(act *actor, object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := object.GroupVersionKind()
	mapping, err := m.cluster.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, &RefusedError{Err: fmt.Errorf("looking for kind %s: %w", gvk.Kind, err)}
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return act.dynamic.Resource(mapping.Resource), nil
	}
	return act.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
}
