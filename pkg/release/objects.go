package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/releaseutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
)

// atOnce is how many requests one removal makes at once.
const atOnce = 16

// objects reads, deletes and hands over live objects. It reads their metadata
// only.
type objects struct {
	cluster *cluster
	client  metadata.Interface
}

// removal is a list of objects that a release gives up.
type removal struct {
	release Key
	// set is the object set that the release applies: see names.ObjectSetHash.
	set     string
	objects []Object
	// except are objects that stay, each with the namespace that it has in the cluster.
	except []Object
}

// located is an object and where the API server serves it.
type located struct {
	Object
	resource schema.GroupVersionResource
}

// remove deletes those of the objects that the release may delete and returns
// the ones that are still there. It does not wait for them.
func (o *objects) remove(ctx context.Context, r removal) ([]Remaining, error) {
	list, err := o.locate(ctx, r.release, r.objects)
	if err != nil {
		return nil, err
	}
	list = leave(list, r.except)
	var mu sync.Mutex
	var doomed []located
	var failed []error
	for _, wave := range waves(list) {
		each(wave, func(obj located) {
			going, err := guarded(func() (bool, error) { return o.removeOne(ctx, r, obj) })
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, err)
			}
			if going {
				doomed = append(doomed, obj)
			}
		})
	}
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	return o.remaining(ctx, r, doomed)
}

// leave returns the objects that are not in except, once each. It compares
// what was located: only then it is known which namespace an object is in.
func leave(list []located, except []Object) []located {
	seen := make(map[identity]bool, len(list)+len(except))
	for _, obj := range except {
		seen[obj.identity()] = true
	}
	var rest []located
	for _, obj := range list {
		if !seen[obj.identity()] {
			seen[obj.identity()] = true
			rest = append(rest, obj)
		}
	}
	return rest
}

// each calls f for every object, several at once.
func each(list []located, f func(located)) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, obj := range list {
		group.Go(func() error {
			f(obj)
			return nil
		})
	}
	_ = group.Wait() // f keeps its errors itself
}

// removeOne says whether the object is on its way out.
func (o *objects) removeOne(ctx context.Context, r removal, obj located) (bool, error) {
	if obj.Keep {
		return false, nil
	}
	live, err := o.get(ctx, obj)
	if err != nil || live == nil {
		return false, err
	}
	switch fateOf(live, r.release, r.set) {
	case FateTerminating:
		return true, nil
	case FateKept, FateMoved, FateUnmarked:
		return false, nil
	case FateDelete:
	}
	// What somebody else writes to the object in between does not matter, but who it belongs to does.
	uid, version, background := live.GetUID(), live.GetResourceVersion(), metav1.DeletePropagationBackground
	err = o.in(obj).Delete(ctx, obj.Name, metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
		PropagationPolicy: &background,
	})
	switch {
	case err == nil, apierrors.IsNotFound(err):
		return true, nil
	case apierrors.IsConflict(err):
		return o.removeAgain(ctx, r, obj)
	default:
		return false, fmt.Errorf("deleting %s: %w", obj, err)
	}
}

// removeAgain deletes an object that changed between being read and being
// deleted: status writers do that all the time. The UID alone is required to
// be as it was read, right after the marks were looked at once more.
func (o *objects) removeAgain(ctx context.Context, r removal, obj located) (bool, error) {
	live, err := o.get(ctx, obj)
	if err != nil || live == nil {
		return false, err
	}
	if fate := fateOf(live, r.release, r.set); fate != FateDelete {
		return fate == FateTerminating, nil
	}
	uid, background := live.GetUID(), metav1.DeletePropagationBackground
	err = o.in(obj).Delete(ctx, obj.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background,
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("deleting %s: %w", obj, err)
	}
	return true, nil
}

// remaining returns those of the objects that are still there and the
// release's.
func (o *objects) remaining(ctx context.Context, r removal, list []located) ([]Remaining, error) {
	var mu sync.Mutex
	var left []Remaining
	var failed []error
	each(list, func(obj located) {
		live, err := o.get(ctx, obj)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			failed = append(failed, err)
		case live != nil:
			if fate := fateOf(live, r.release, r.set); fate == FateDelete || fate == FateTerminating {
				left = append(left, Remaining{Object: obj.Object, Finalizers: live.GetFinalizers()})
			}
		}
	})
	sortRemaining(left)
	return left, errors.Join(failed...)
}

// handOver makes the objects that belong to one release belong to another.
func (o *objects) handOver(ctx context.Context, from, to Key, list []Object) error {
	located, err := o.locate(ctx, from, list)
	if err != nil {
		return err
	}
	for _, obj := range located {
		live, err := o.get(ctx, obj)
		if err != nil {
			return err
		}
		if live == nil || fateOf(live, from, "") == FateMoved {
			continue
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"resourceVersion": live.GetResourceVersion(),
			"labels":          map[string]string{"app.kubernetes.io/managed-by": "Helm"},
			"annotations":     map[string]string{annotationReleaseName: to.Name, annotationReleaseNamespace: to.Namespace},
		}})
		if err != nil {
			return fmt.Errorf("encoding the marks of %s: %w", to, err)
		}
		if _, err := o.in(obj).Patch(ctx, obj.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("handing %s over to release %s: %w", obj, to, err)
		}
	}
	return nil
}

// get returns the metadata of an object, or nil if it does not exist.
func (o *objects) get(ctx context.Context, obj located) (*metav1.PartialObjectMetadata, error) {
	live, err := o.in(obj).Get(ctx, obj.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", obj, err)
	}
	return live, nil
}

func (o *objects) in(obj located) metadata.ResourceInterface {
	if obj.Namespace == "" {
		return o.client.Resource(obj.resource)
	}
	return o.client.Resource(obj.resource).Namespace(obj.Namespace)
}

// locate finds out where the objects of a release are served. Objects of kinds
// that are not served are left out: there are none of them.
func (o *objects) locate(ctx context.Context, release Key, list []Object) ([]located, error) {
	found := make([]located, 0, len(list))
	for _, obj := range list {
		mapping, err := o.cluster.RESTMapping(obj.GroupKind(), obj.Version)
		if meta.IsNoMatchError(err) {
			gone, err := o.unserved(ctx, obj.GroupVersionKind)
			if err != nil {
				return nil, err
			}
			if gone {
				continue
			}
			return nil, fmt.Errorf("looking for %s: its kind appeared just now", obj)
		}
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", obj, err)
		}
		switch {
		case mapping.Scope.Name() == meta.RESTScopeNameRoot:
			obj.Namespace = ""
		case obj.Namespace == "":
			obj.Namespace = release.Namespace
		}
		found = append(found, located{Object: obj, resource: mapping.Resource})
	}
	return found, nil
}

// unserved says whether the API server serves no such kind. It asks the API
// server: what is remembered may be old, and an aggregated API that does not
// answer is not one that is gone.
func (o *objects) unserved(ctx context.Context, gvk schema.GroupVersionKind) (bool, error) {
	if _, err := o.cluster.RESTMapping(gvk.GroupKind(), gvk.Version); err == nil {
		return false, nil
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	list, err := o.cluster.live.ServerResourcesForGroupVersion(gvk.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking for kind %s: %w", gvk, err)
	}
	return !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == gvk.Kind }), nil
}

// waves groups objects by kind in the order in which they are to be deleted.
// Kinds that Helm does not know come first: their controllers may be in the
// same release, and have finalizers to see to.
func waves(list []located) [][]located {
	rank := map[string]int{}
	for i, kind := range releaseutil.UninstallOrder {
		rank[kind] = i + 1
	}
	byRank := make([][]located, len(releaseutil.UninstallOrder)+1)
	for _, obj := range list {
		byRank[rank[obj.Kind]] = append(byRank[rank[obj.Kind]], obj)
	}
	return slices.DeleteFunc(byRank, func(wave []located) bool { return len(wave) == 0 })
}
