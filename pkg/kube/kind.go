package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/rancher/lasso/pkg/client"
	"github.com/rancher/wrangler/v3/pkg/generic"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// Object is what a Kind handles: a pointer to an API type.
type Object = generic.RuntimeMetaObject

// Resource names an API kind as the API server serves it.
type Resource struct {
	GVK        schema.GroupVersionKind
	Plural     string
	Namespaced bool
	// Trim drops what no reader of the cache needs, to save memory. It may
	// change the object it is given. managedFields always go.
	Trim func(obj any)
}

func (r Resource) gvr() schema.GroupVersionResource {
	return r.GVK.GroupVersion().WithResource(r.Plural)
}

func (r Resource) transform(obj any) (any, error) {
	if o, ok := obj.(metav1.Object); ok {
		o.SetManagedFields(nil)
		if r.Trim != nil {
			r.Trim(obj)
		}
	}
	return obj, nil
}

// Event is a change that a watch reported. Old is nil for a new object, New is
// nil for one that is gone (Old is then its last known state).
type Event[T Object] struct {
	Old, New T
}

// Object returns the newest state that the event carries.
func (e Event[T]) Object() T {
	var zero T
	if e.New != zero {
		return e.New
	}
	return e.Old
}

// Kind is the typed handle on one API kind.
type Kind[T Object, L runtime.Object] struct {
	Resource Resource

	conn     *Connection
	client   *client.Client
	objType  reflect.Type
	listType reflect.Type
}

// NewKind returns the handle on r over conn. It starts no watch until Cache or
// OnEvent is called.
func NewKind[T Object, L runtime.Object](conn *Connection, r Resource) *Kind[T, L] {
	var obj T
	var list L
	return &Kind[T, L]{
		Resource: r, conn: conn,
		client:   conn.clients.ForResourceKind(r.gvr(), r.GVK.Kind, r.Namespaced),
		objType:  reflect.TypeOf(obj).Elem(),
		listType: reflect.TypeOf(list).Elem(),
	}
}

func (k *Kind[T, L]) newObject() T { return reflect.New(k.objType).Interface().(T) }

// Cache returns the kind's cache. It must be taken before Connection.Start.
// What it returns is shared: copy before changing.
func (k *Kind[T, L]) Cache() generic.CacheInterface[T] {
	return generic.NewCache[T](k.conn.informer(k.Resource).GetIndexer(), k.Resource.gvr().GroupResource())
}

// Seen returns the resourceVersion up to which the kind's cache has been told
// what happened; it is empty until the cache is filled.
func (k *Kind[T, L]) Seen() string { return k.conn.informer(k.Resource).LastSyncResourceVersion() }

// OnEvent calls f for every change of an object of the kind, one at a time, in
// the order of the watch; f must not block. It must be called before
// Connection.Start, which returns when f has seen the whole first list.
func (k *Kind[T, L]) OnEvent(f func(Event[T])) {
	informer := k.conn.informer(k.Resource)
	reg, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { f(Event[T]{New: obj.(T)}) },
		UpdateFunc: func(before, after any) {
			o, n := before.(T), after.(T)
			// A relist shows objects that did not change.
			if o.GetResourceVersion() != n.GetResourceVersion() {
				f(Event[T]{Old: o, New: n})
			}
		},
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if o, ok := obj.(T); ok {
				f(Event[T]{Old: o})
			}
		},
	})
	if err != nil {
		panic(fmt.Sprintf("kube: adding handler for %s: %v", k.Resource.GVK, err))
	}
	k.conn.awaitHandler(k.Resource.GVK.String(), reg.HasSynced)
}

// Get reads the object from the API server, past the cache.
func (k *Kind[T, L]) Get(ctx context.Context, namespace, name string) (T, error) {
	obj := k.newObject()
	err := k.client.Get(ctx, namespace, name, obj, metav1.GetOptions{})
	return obj, err
}

// List reads all objects that match from the API server, past the cache.
func (k *Kind[T, L]) List(ctx context.Context, namespace string, selector labels.Selector) (L, error) {
	list := reflect.New(k.listType).Interface().(L)
	opts := metav1.ListOptions{}
	if selector != nil {
		opts.LabelSelector = selector.String()
	}
	err := k.client.List(ctx, namespace, list, opts)
	return list, err
}

// Create posts obj and returns it with the metadata that the API server gave
// it. What the API server made of the rest comes with the watch.
func (k *Kind[T, L]) Create(ctx context.Context, obj T) (T, error) {
	return answered(k.request("POST", obj).Body(obj).Do(ctx), obj)
}

// Patch writes the difference between before and after, leaving status out,
// and fails with a conflict if the object is no longer as before says. It
// returns false, and makes no request, if there is no difference.
func (k *Kind[T, L]) Patch(ctx context.Context, before, after T) (bool, error) {
	_, changed, err := k.patch(ctx, before, after, "")
	return changed, err
}

// Change is Patch that returns the object as it is then: after with the
// metadata that the API server gave it, or before, if there is no difference.
func (k *Kind[T, L]) Change(ctx context.Context, before, after T) (T, error) {
	written, _, err := k.patch(ctx, before, after, "")
	return written, err
}

// PatchStatus is Patch for the status subresource alone.
func (k *Kind[T, L]) PatchStatus(ctx context.Context, before, after T) (bool, error) {
	_, changed, err := k.patch(ctx, before, after, "status")
	return changed, err
}

// ChangeStatus is PatchStatus that returns the object as it is then, as Change
// does.
func (k *Kind[T, L]) ChangeStatus(ctx context.Context, before, after T) (T, error) {
	written, _, err := k.patch(ctx, before, after, "status")
	return written, err
}

func (k *Kind[T, L]) patch(ctx context.Context, before, after T, subresource string) (T, bool, error) {
	data, err := MergePatch(before, after, subresource)
	if err != nil || data == nil {
		return before, false, err
	}
	var sub []string
	if subresource != "" {
		sub = []string{subresource}
	}
	request := k.request("PATCH", before).Name(before.GetName()).SubResource(sub...)
	written, err := answered(request.SetHeader("Content-Type", string(types.MergePatchType)).Body(data).Do(ctx), after)
	return written, true, err
}

// MergeStatus writes single fields of a status, given as JSON, whatever else
// has changed meanwhile: for fields that have one writer of their own. It fails
// with a conflict if the name belongs to another object by now.
func (k *Kind[T, L]) MergeStatus(ctx context.Context, obj T, fields map[string]any) error {
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": obj.GetUID()}, "status": fields,
	})
	if err != nil {
		return fmt.Errorf("encoding the status of %s/%s: %w", obj.GetNamespace(), obj.GetName(), err)
	}
	return k.request("PATCH", obj).Name(obj.GetName()).SubResource("status").
		SetHeader("Content-Type", string(types.MergePatchType)).Body(data).Do(ctx).Error()
}

// Delete deletes exactly the object that obj is a state of: it fails with a
// conflict if the name belongs to another object by now, or if the object has
// changed since. Dependents go in the background.
func (k *Kind[T, L]) Delete(ctx context.Context, obj T) error {
	uid, version := obj.GetUID(), obj.GetResourceVersion()
	background := metav1.DeletePropagationBackground
	return k.client.Delete(ctx, obj.GetNamespace(), obj.GetName(), metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
		PropagationPolicy: &background,
	})
}

// AddIndex adds an index to the kind's cache; GetByIndex of the cache reads
// it. It must be called before Connection.Start. Adding the same name twice is
// refused by the cache, so every index has one owner.
func (k *Kind[T, L]) AddIndex(name string, values func(T) []string) {
	err := k.conn.informer(k.Resource).AddIndexers(cache.Indexers{
		name: func(obj any) ([]string, error) { return values(obj.(T)), nil },
	})
	if err != nil {
		panic(fmt.Sprintf("kube: adding index %s to %s: %v", name, k.Resource.GVK, err))
	}
}
