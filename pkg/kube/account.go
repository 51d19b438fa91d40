package kube

import (
	"regexp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Account is a sum that a controller keeps by events, and that can be counted
// anew to see whether it is right.
type Account struct {
	// Kind is that of the objects whose status shows the sum.
	Kind string
	// Events says that a mismatch is no sum that is wrong, but an event that
	// nobody has noticed.
	Events bool
	// Keys returns those objects.
	Keys func() ([]Key, error)
	// Mismatch counts anew and returns how the status of one object would have
	// to change, as Difference writes it; empty if it is right.
	Mismatch func(key Key) (string, error)
	// Repair replaces what was kept for one object by what is counted now.
	Repair func(key Key) error
}

// KeysOf returns the keys of objects.
func KeysOf[T Named](objects []T) []Key {
	keys := make([]Key, 0, len(objects))
	for _, o := range objects {
		keys = append(keys, KeyOf(o))
	}
	return keys
}

// Difference returns the JSON merge patch from one status to the other, empty
// if there is none. Times of conditions are left out, so that the same
// difference reads the same later.
func Difference(told, right metav1.Object) (string, error) {
	patch, err := MergePatch(told, right, "status")
	if err != nil {
		return "", err
	}
	times := regexp.MustCompile(`,?"last(Transition|Update)Time":"[^"]*"`)
	return string(times.ReplaceAll(patch, nil)), nil
}
