package watchset

import (
	"context"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
)

// Times between two questions for a kind that is not served, where no event
// tells that it may be: kinds of aggregated APIs have no definition to watch,
// and a new definition takes a moment to work.
const (
	firstQuestion = 50 * time.Millisecond
	lastQuestion  = 30 * time.Second
)

// definitions are what kinds of objects are defined by.
func definitions() Resource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// kinds has the requests for resources that are not served wait until they may
// be. While one waits, and only then, it watches the definitions of kinds.
type kinds struct {
	client metadata.Interface
	// ctx ends the watch, and running waits for that.
	ctx     context.Context
	running *sync.WaitGroup
	// changed is called with the waiting resources of the group of a definition that appears or changes.
	changed func([]Resource)

	mu      sync.Mutex
	waiting map[Resource]*queue
	stop    context.CancelFunc
}

// queue is who waits for one resource.
type queue struct {
	members int
	// again is closed when it is time to ask again.
	again chan struct{}
}

// enter has events of the definition of r noted until leave.
func (k *kinds) enter(r Resource) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.waiting[r] == nil {
		k.waiting[r] = &queue{again: make(chan struct{})}
	}
	k.waiting[r].members++
	if k.stop == nil {
		k.start()
	}
}

func (k *kinds) leave(r Resource) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.waiting[r].members--; k.waiting[r].members == 0 {
		delete(k.waiting, r)
	}
	if len(k.waiting) == 0 {
		k.stop()
		k.stop = nil
	}
}

// wait returns when the definition of r changes, or after d. It says whether
// it was the former.
func (k *kinds) wait(ctx context.Context, r Resource, d time.Duration) bool {
	k.mu.Lock()
	again := k.waiting[r].again
	k.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-again:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// start starts the watch of definitions; the caller holds the lock.
func (k *kinds) start() {
	ctx, stop := context.WithCancel(k.ctx)
	k.stop = stop
	if ctx.Err() != nil {
		return // nobody waits for long any more
	}
	informer := cache.NewSharedIndexInformer(everything(k.client.Resource(definitions()), k.client), &metav1.PartialObjectMetadata{}, 0, cache.Indexers{})
	// Neither can fail for an informer that was not started.
	_ = informer.SetTransform(nameOnly)
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: k.event, UpdateFunc: func(_, obj any) { k.event(obj) },
	})
	k.running.Go(func() { informer.RunWithContext(ctx) })
}

// nameOnly keeps of a definition what event needs.
func nameOnly(obj any) (any, error) {
	if meta, ok := obj.(*metav1.PartialObjectMetadata); ok {
		return &metav1.PartialObjectMetadata{
			TypeMeta: meta.TypeMeta, ObjectMeta: metav1.ObjectMeta{Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion},
		}, nil
	}
	return obj, nil
}

// event has those ask again who wait for the kind that a definition defines.
// The name of a definition is "plural.group".
func (k *kinds) event(obj any) {
	meta, ok := obj.(metav1.Object)
	if !ok {
		return
	}
	_, group, _ := strings.Cut(meta.GetName(), ".")
	var affected []Resource
	k.mu.Lock()
	for r, q := range k.waiting {
		if r.Group == group {
			affected = append(affected, r)
		}
		if r.GroupResource().String() == meta.GetName() {
			close(q.again)
			q.again = make(chan struct{})
		}
	}
	k.mu.Unlock()
	if len(affected) > 0 {
		k.changed(affected)
	}
}

// served makes a request of a watch until the API server serves its resource.
// While it does not, the request waits for the definition of the kind.
func served[T any](ctx context.Context, s *Set, w *watch, ask func() (T, error)) (T, error) {
	answer, err := ask()
	s.attempted(w, err)
	if !apierrors.IsNotFound(err) {
		return answer, err
	}
	s.kinds.enter(w.resource) //nolint:contextcheck // the watch of definitions outlives the request that needs it
	defer s.kinds.leave(w.resource)
	// The definition may have appeared before its events were noted.
	for pause := firstQuestion; apierrors.IsNotFound(err) && ctx.Err() == nil; {
		if s.kinds.wait(ctx, w.resource, pause) {
			pause = firstQuestion
		} else {
			pause = min(2*pause, lastQuestion)
		}
		answer, err = ask()
		s.attempted(w, err)
	}
	return answer, err
}
