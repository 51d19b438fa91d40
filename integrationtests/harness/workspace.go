package harness

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const cleanupTimeout = 20 * time.Second

// Workspace makes a namespace with a name of its own and returns it. When the test ends, what Fleet's kinds hold there is taken
// away with force, so that nothing of one test keeps the manager of the next one busy. A test about deletion looks for
// itself before that.
func (e *Environment) Workspace(t testing.TB) string {
	t.Helper()
	ns := e.Namespaces.Make(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "workspace-"}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		if err := e.discardWorkspace(ctx, ns.Name); err != nil {
			t.Logf("cleaning up workspace %s: %v", ns.Name, err)
		}
	})
	return ns.Name
}

func (e *Environment) discardWorkspace(ctx context.Context, workspace string) error {
	clusters, err := e.Clusters.List(ctx, workspace, nil)
	if err != nil {
		return fmt.Errorf("listing clusters: %w", err)
	}
	// Sources first: else the manager would make anew what is taken away.
	steps := []func() error{
		func() error { return e.GitRepos.discardAll(ctx, workspace) },
		func() error { return e.HelmOps.discardAll(ctx, workspace) },
		func() error { return e.Bundles.discardAll(ctx, workspace) },
		func() error { return e.Clusters.discardAll(ctx, workspace) },
	}
	for _, cluster := range clusters.Items {
		ns := names.ClusterNamespace(cluster.Namespace, cluster.Name)
		steps = append(steps,
			func() error { return e.BundleDeployments.discardAll(ctx, ns) },
			func() error { return e.deleteNamespace(ctx, ns) },
		)
	}
	steps = append(steps, func() error { return e.deleteNamespace(ctx, workspace) })
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (e *Environment) deleteNamespace(ctx context.Context, name string) error {
	err := e.Kubernetes.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting namespace %s: %w", name, err)
	}
	return nil
}

// discardAll deletes all objects of the kind in a namespace, and takes off the finalizers that keep them.
func (k Kind[T, L]) discardAll(ctx context.Context, namespace string) error {
	list, err := k.List(ctx, namespace, nil)
	if err != nil {
		return fmt.Errorf("listing %s: %w", k.Resource.Plural, err)
	}
	return meta.EachListItem(list, func(item runtime.Object) error {
		obj, ok := item.(T)
		if !ok {
			return fmt.Errorf("a list of %s holds a %T", k.Resource.Plural, item)
		}
		return poll(ctx, cleanupTimeout, func(ctx context.Context) error { return k.discard(ctx, obj) })
	})
}

// discard brings an object one step closer to its end, and returns nil when it is gone.
func (k Kind[T, L]) discard(ctx context.Context, obj T) error {
	now, err := k.Get(ctx, obj.GetNamespace(), obj.GetName())
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	if now.GetDeletionTimestamp() == nil {
		err = k.Delete(ctx, now)
	} else if len(now.GetFinalizers()) > 0 {
		free, ok := now.DeepCopyObject().(T)
		if !ok {
			return fmt.Errorf("a copy of %T is none", now)
		}
		free.SetFinalizers(nil)
		_, err = k.Patch(ctx, now, free)
	}
	return errors.Join(errors.New("is still there"), err)
}
