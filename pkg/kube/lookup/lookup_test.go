package lookup

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

func TestAnswersAreRememberedUntilSomethingChanges(t *testing.T) {
	key := kube.Key{Namespace: "a", Name: "b"}
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	reads, answer, failure := 0, "one", error(nil)
	var during func()
	l := New(Options[string]{Clock: clock, Read: func(context.Context, string, string) (string, error) {
		reads++
		read := answer
		if during != nil {
			during()
		}
		return read, failure
	}})
	var heard []kube.Key
	l.OnChange(func(k kube.Key) { heard = append(heard, k) })
	want := func(what, value string, total int) {
		t.Helper()
		got, err := l.Get(t.Context(), key)
		if (err == nil && got != value) || reads != total {
			t.Errorf("%s: %q, %v after %d reads; want %q after %d", what, got, err, reads, value, total)
		}
	}
	want("first", "one", 1)
	want("again", "one", 1)
	answer = "two"
	l.changed(key, false)
	want("changed", "two", 2)
	l.changed(kube.Key{Namespace: "a", Name: "c"}, false)
	want("another one changed", "two", 2)
	clock.SetTime(clock.Now().Add(maxAge))
	want("old", "two", 3)
	l.changed(key, false)
	during = func() { answer = "three"; l.changed(key, false); during = nil }
	want("changed while it is read", "two", 4)
	want("and is read again", "three", 5)
	failure = apierrors.NewNotFound(corev1.Resource("secrets"), "b")
	l.changed(key, false)
	for range 2 {
		if _, err := l.Get(t.Context(), key); !apierrors.IsNotFound(err) || reads != 6 {
			t.Errorf("it is gone: %v after %d reads", err, reads)
		}
	}
	failure = errors.New("away")
	l.changed(key, false)
	for i := range 2 {
		if _, err := l.Get(t.Context(), key); err == nil || reads != 7+i {
			t.Errorf("a failure is remembered: %v after %d reads", err, reads)
		}
	}
	if len(heard) != 6 {
		t.Errorf("%d changes were told", len(heard))
	}
	// What is there when the watch begins is news only to who looked before.
	l.changed(kube.Key{Namespace: "a", Name: "d"}, true)
	l.changed(key, true)
	if len(heard) != 7 {
		t.Errorf("%d changes were told", len(heard))
	}
}
