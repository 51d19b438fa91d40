package harness

import (
	"context"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// Kind reads and writes the objects of one kind on behalf of a test, as a user would with kubectl: it has no cache. Whatever
// fails, fails the test.
type Kind[T kube.Object, L runtime.Object] struct {
	*kube.Kind[T, L]

	conn *kube.Connection
}

// Make creates the object and returns what the API server made of it.
func (k Kind[T, L]) Make(t testing.TB, obj T) T {
	t.Helper()
	made, err := k.Create(t.Context(), obj)
	if err != nil {
		t.Fatalf("creating %s %s: %v", k.Resource.GVK.Kind, KeyOf(obj), err)
	}
	// With what the API server made of it.
	stored, err := k.Get(t.Context(), made.GetNamespace(), made.GetName())
	if err != nil {
		t.Fatalf("reading %s %s: %v", k.Resource.GVK.Kind, KeyOf(made), err)
	}
	return stored
}

// Edit changes the object as it is now, again if somebody else changed it meanwhile.
func (k Kind[T, L]) Edit(t testing.TB, key kube.Key, edit func(T)) T {
	t.Helper()
	var edited T
	Eventually(t, fmt.Sprintf("%s %s is edited", k.Resource.GVK.Kind, key), func(ctx context.Context) error {
		before, err := k.Get(ctx, key.Namespace, key.Name)
		if err != nil {
			return err
		}
		edited = before.DeepCopyObject().(T)
		edit(edited)
		_, err = k.Patch(ctx, before, edited)
		return err
	})
	return edited
}

// EditStatus is Edit for the status, which a test changes only to play the part of an agent or to tell a lie.
func (k Kind[T, L]) EditStatus(t testing.TB, key kube.Key, edit func(T)) {
	t.Helper()
	Eventually(t, fmt.Sprintf("the status of %s %s is edited", k.Resource.GVK.Kind, key), func(ctx context.Context) error {
		before, err := k.Get(ctx, key.Namespace, key.Name)
		if err != nil {
			return err
		}
		after := before.DeepCopyObject().(T)
		edit(after)
		_, err = k.PatchStatus(ctx, before, after)
		return err
	})
}

// Remove asks for the object to be deleted, whatever its state. It does not wait: see AwaitGone.
func (k Kind[T, L]) Remove(t testing.TB, key kube.Key) {
	t.Helper()
	Eventually(t, fmt.Sprintf("%s %s is deleted", k.Resource.GVK.Kind, key), func(ctx context.Context) error {
		obj, err := k.Get(ctx, key.Namespace, key.Name)
		if err != nil {
			return err
		}
		return k.Delete(ctx, obj)
	})
}

// Await returns the object as soon as ok accepts it; the error of ok says what is still missing. If ok never accepts it, the
// test fails with that error and with the conditions and events of the object.
func (k Kind[T, L]) Await(t testing.TB, key kube.Key, ok func(T) error) T {
	t.Helper()
	var seen T
	found := false
	err := poll(t.Context(), Patience, func(ctx context.Context) error {
		obj, err := k.Get(ctx, key.Namespace, key.Name)
		if err != nil {
			return err
		}
		seen, found = obj, true
		return ok(obj)
	})
	if err != nil {
		t.Fatalf("waiting for %s %s: %v%s", k.Resource.GVK.Kind, key, err, k.describe(seen, found))
	}
	return seen
}

// AwaitCondition returns the object as soon as it has a condition with the type and the status of want, with its reason if it
// names one, and with a message that contains its message. A condition about an older generation of the object does not count.
func (k Kind[T, L]) AwaitCondition(t testing.TB, key kube.Key, want fleet.Condition) T {
	t.Helper()
	return k.Await(t, key, func(obj T) error { return hasCondition(obj, want) })
}

// AwaitReady returns the object as soon as its condition Ready is True.
func (k Kind[T, L]) AwaitReady(t testing.TB, key kube.Key) T {
	t.Helper()
	return k.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionReady, Status: "True"})
}

// AwaitGone returns as soon as there is no object of that name any more.
func (k Kind[T, L]) AwaitGone(t testing.TB, key kube.Key) {
	t.Helper()
	var seen T
	found := false
	err := poll(t.Context(), Patience, func(ctx context.Context) error {
		obj, err := k.Get(ctx, key.Namespace, key.Name)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		seen, found = obj, true
		return fmt.Errorf("is there, deletionTimestamp %v, finalizers %q", obj.GetDeletionTimestamp(), obj.GetFinalizers())
	})
	if err != nil {
		t.Fatalf("waiting until %s %s is gone: %v%s", k.Resource.GVK.Kind, key, err, k.describe(seen, found))
	}
}

// All returns the objects of a namespace, or of all with an empty one, that have these labels.
func (k Kind[T, L]) All(t testing.TB, namespace string, with labels.Set) L {
	t.Helper()
	list, err := k.List(t.Context(), namespace, with.AsSelector())
	if err != nil {
		t.Fatalf("listing %s in %q: %v", k.Resource.Plural, namespace, err)
	}
	return list
}

// KeyOf returns namespace and name of an object.
func KeyOf(obj interface {
	GetNamespace() string
	GetName() string
},
) kube.Key {
	return kube.Key{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}
