// Package lookup reads single objects by name, remembers them, and forgets
// what a watch says has changed.
//
// The watch carries the metadata of objects alone, so that of all Secrets of a
// cluster only those come into memory that somebody asked for by name.
package lookup

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

const (
	// maxAge is how long an answer is believed: a watch that is cut off hides
	// changes, and says so late.
	maxAge = 5 * time.Minute
	// maxEntries is from how many answers on old ones are cleared away.
	maxEntries = 1024
)

// Options of a Lookup.
type Options[T any] struct {
	// Metadata makes the watch.
	Metadata metadata.Interface
	// Resource is the kind of the objects.
	Resource schema.GroupVersionResource
	// Namespace and FieldSelector limit the watch; empty means all. What is
	// outside is not to be asked for.
	Namespace, FieldSelector string
	// Read reads an object from the API server.
	Read func(ctx context.Context, namespace, name string) (T, error)
	// Clock tells the time; the real one if nil.
	Clock clock.PassiveClock
}

// Lookup reads objects of one kind by name. It is safe for concurrent use.
type Lookup[T any] struct {
	opts Options[T]

	mu      sync.Mutex
	entries map[kube.Key]*entry[T]
	hear    []func(kube.Key)
}

// entry is what is known of one name: the object, or that there is none.
type entry[T any] struct {
	// changes counts what the watch told of the name.
	changes int
	known   bool
	at      time.Time
	object  T
	err     error
}

// New returns a lookup that reads past its memory until Run.
func New[T any](opts Options[T]) *Lookup[T] {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	return &Lookup[T]{opts: opts, entries: map[kube.Key]*entry[T]{}}
}

// OnChange has f called for every object that appears, changes or goes while
// Run runs; f must not block. It must be called before Run.
func (l *Lookup[T]) OnChange(f func(kube.Key)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hear = append(l.hear, f)
}

// Get returns the object, which is shared: copy before changing. The error of
// one that is not there is the API server's.
func (l *Lookup[T]) Get(ctx context.Context, key kube.Key) (T, error) {
	l.mu.Lock()
	e := l.entry(key)
	if e.known && l.opts.Clock.Since(e.at) < maxAge {
		defer l.mu.Unlock()
		return e.object, e.err
	}
	began, changes := l.opts.Clock.Now(), e.changes
	l.mu.Unlock()

	object, err := l.opts.Read(ctx, key.Namespace, key.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		var none T
		return none, fmt.Errorf("reading %s %s: %w", l.opts.Resource.Resource, key, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// What changed while it was read is read again by the next one.
	if e.changes == changes {
		e.known, e.at, e.object, e.err = true, began, object, err
	}
	return object, err
}

// entry returns what is known of a name. The caller holds the lock.
func (l *Lookup[T]) entry(key kube.Key) *entry[T] {
	e, ok := l.entries[key]
	if !ok {
		if len(l.entries) >= maxEntries {
			l.clear()
		}
		e = &entry[T]{}
		l.entries[key] = e
	}
	return e
}

func (l *Lookup[T]) clear() {
	for key, e := range l.entries {
		if l.opts.Clock.Since(e.at) >= maxAge {
			delete(l.entries, key)
		}
	}
}

// changed forgets an object that changed, and tells who wants to hear of it.
func (l *Lookup[T]) changed(key kube.Key, first bool) {
	l.mu.Lock()
	e, asked := l.entries[key]
	if asked {
		var none T
		e.changes++
		e.known, e.object, e.err = false, none, nil
	}
	hear := l.hear
	l.mu.Unlock()
	// What is there when the watch begins is news only to who has looked before.
	if first && !asked {
		return
	}
	for _, f := range hear {
		f(key)
	}
}

// Run watches until ctx ends.
func (l *Lookup[T]) Run(ctx context.Context) error {
	informer := cache.NewSharedIndexInformer(l.listWatch(), &metav1.PartialObjectMetadata{}, 0, cache.Indexers{})
	if err := informer.SetTransform(bare); err != nil {
		return fmt.Errorf("watching %s: %w", l.opts.Resource.Resource, err)
	}
	tell := func(obj any, first bool) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if m, ok := obj.(metav1.Object); ok {
			l.changed(kube.KeyOf(m), first)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, first bool) { tell(obj, first) },
		UpdateFunc: func(before, after any) {
			if version(before) != version(after) {
				tell(after, false)
			}
		},
		DeleteFunc: func(obj any) { tell(obj, false) },
	})
	if err != nil {
		return fmt.Errorf("watching %s: %w", l.opts.Resource.Resource, err)
	}
	informer.RunWithContext(ctx)
	return nil
}

func (l *Lookup[T]) listWatch() cache.ListerWatcher {
	client := l.opts.Metadata.Resource(l.opts.Resource).Namespace(l.opts.Namespace)
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			opts.FieldSelector = l.opts.FieldSelector
			return client.List(ctx, opts)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (apiwatch.Interface, error) {
			opts.FieldSelector = l.opts.FieldSelector
			return client.Watch(ctx, opts)
		},
	}, l.opts.Metadata)
}

// bare keeps of an object what tells it from others.
func bare(obj any) (any, error) {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
	}}, nil
}

func version(obj any) string {
	if m, ok := obj.(metav1.Object); ok {
		return m.GetResourceVersion()
	}
	return ""
}
