package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WaitError says that a reconcile has to wait for a computed instant: nothing
// failed, so nothing backs off.
type WaitError struct {
	After  time.Duration
	Reason string
}

func (e *WaitError) Error() string { return fmt.Sprintf("waiting %s: %s", e.After, e.Reason) }

// PermanentError says that trying again cannot help until an object changes:
// a user must act. The event of that change wakes the key.
type PermanentError struct{ Err error }

func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the error that is permanent.
func (e *PermanentError) Unwrap() error { return e.Err }

// Permanent marks err as permanent; nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &PermanentError{Err: err}
}

// IsPermanent says whether err, or an error it wraps, is permanent.
func IsPermanent(err error) bool {
	var p *PermanentError
	return errors.As(err, &p)
}

// PanicError is a panic that was recovered: an error of one object alone. Its
// stack is for the log.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// IsPassing says whether a write found an object changed, or was cut short by a
// stop: the retry that is on its way settles it, and nobody needs to know.
func IsPassing(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || errors.Is(err, context.Canceled)
}

// IsGone says whether the API server answered that the object of this name is
// not there. It is stricter than "not found": a kind that is not served, because
// its CustomResourceDefinition is gone, is no evidence about an object.
func IsGone(err error, name string) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	// The client fills in the name itself where the answer was no Status.
	return details != nil && details.Name == name &&
		!apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}
