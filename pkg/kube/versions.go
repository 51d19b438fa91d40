package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
)

// Versions tells which objects of a kind the API server has, and in which
// state, without their contents.
type Versions struct {
	resource Resource
	client   metadata.Getter
}

// Versions returns them, past the cache.
func (k *Kind[T, L]) Versions() *Versions {
	// The connection has clients of this very configuration, so another cannot fail.
	return &Versions{resource: k.Resource, client: metadata.NewForConfigOrDie(k.conn.Config).Resource(k.Resource.gvr())}
}

// Each calls f for every object, with its resourceVersion; size of them are
// asked for at a time.
func (v *Versions) Each(ctx context.Context, size int64, f func(key Key, version string)) error {
	opts := metav1.ListOptions{Limit: size}
	for {
		page, err := v.client.List(ctx, opts)
		if err != nil {
			return fmt.Errorf("listing %s: %w", v.resource.Plural, err)
		}
		for i := range page.Items {
			f(KeyOf(&page.Items[i]), page.Items[i].ResourceVersion)
		}
		if opts.Continue = page.Continue; opts.Continue == "" {
			return nil
		}
	}
}

// Of returns the resourceVersion of one object; empty if it is not there.
func (v *Versions) Of(ctx context.Context, key Key) (string, error) {
	var client metadata.ResourceInterface = v.client
	if v.resource.Namespaced {
		client = v.client.Namespace(key.Namespace)
	}
	obj, err := client.Get(ctx, key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading %s %s: %w", v.resource.Plural, key, err)
	}
	return obj.ResourceVersion, nil
}
