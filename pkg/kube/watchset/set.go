package watchset

import (
	"context"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
)

// Event says that an object appeared, changed or went.
type Event struct {
	Resource  Resource
	Namespace string
	Name      string
	// Version is the object's resourceVersion.
	Version string
	// Label is the value of the label of Options.Label.
	Label string
	// Gone says that the object is no longer there.
	Gone bool
}

// Options of a Set.
type Options struct {
	// Client makes the watches.
	Client metadata.Interface
	// Label is the label that objects must have to be watched.
	Label string
	// OnEvent is called for every event, also for objects that are there when a watch starts. It must not block.
	OnEvent func(Event)
	// OnState is called for every owner of a watch that becomes complete, fails or recovers: see Problems. It must not
	// block.
	OnState func(owner string)
	// Log of the set.
	Log logrus.FieldLogger
}

// Set is a set of watches.
type Set struct {
	opts Options
	// The watches run until this context ends.
	ctx     context.Context
	running sync.WaitGroup

	mu      sync.Mutex
	counts  *counts
	watches map[Resource]*watch
}

// watch is one running watch.
type watch struct {
	stop     context.CancelFunc
	informer cache.SharedIndexInformer
	problem  error
	synced   bool
}

// New returns an empty set. Its watches end with ctx at the latest.
func New(ctx context.Context, opts Options) *Set {
	return &Set{opts: opts, ctx: ctx, counts: newCounts(), watches: map[Resource]*watch{}}
}

// Want makes resources all that owner wants to hear of; none means nothing.
// Watches that this needs are started, those that nobody needs any more are
// stopped.
func (s *Set) Want(owner string, resources []Resource) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	started, stopped := s.counts.set(owner, resources)
	for _, r := range stopped {
		s.watches[r].stop()
		delete(s.watches, r)
		s.opts.Log.WithField("resource", r.String()).Debug("Watch stopped")
	}
	for _, r := range started {
		if err := s.start(r); err != nil {
			return err
		}
	}
	return nil
}

// Watched returns how many watches run.
func (s *Set) Watched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.watches)
}

// Problems returns, for each resource that owner wants and whose watch is not
// complete, the error of its last attempt; nil if there was none yet.
func (s *Set) Problems(owner string) map[Resource]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	problems := map[Resource]error{}
	for _, r := range s.counts.wanted(owner) {
		if w := s.watches[r]; w != nil && (!w.synced || w.problem != nil) {
			problems[r] = w.problem
		}
	}
	return problems
}

// Wait returns when every watch has ended: the context of the set must have.
func (s *Set) Wait() { s.running.Wait() }

func (s *Set) start(r Resource) error {
	ctx, stop := context.WithCancel(s.ctx)
	w := &watch{stop: stop}
	w.informer = cache.NewSharedIndexInformer(s.listWatch(r, w), &metav1.PartialObjectMetadata{}, 0, cache.Indexers{})
	if err := s.prepare(r, w); err != nil {
		stop()
		return fmt.Errorf("watching %s: %w", r, err)
	}
	s.watches[r] = w
	s.opts.Log.WithField("resource", r.String()).Debug("Watch started")
	s.running.Go(func() { w.informer.RunWithContext(ctx) })
	s.running.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), w.informer.HasSynced) {
			s.changed(r, w, func() { w.synced = true })
		}
	})
	return nil
}

// listWatch makes the requests of a watch, and notes how they fare.
func (s *Set) listWatch(r Resource, w *watch) cache.ListerWatcher {
	client := s.opts.Client.Resource(r)
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			opts.LabelSelector = s.opts.Label
			list, err := client.List(ctx, opts)
			s.attempted(r, w, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (apiwatch.Interface, error) {
			opts.LabelSelector = s.opts.Label
			started, err := client.Watch(ctx, opts)
			s.attempted(r, w, err)
			return started, err
		},
	}, s.opts.Client)
}

// attempted notes how a request of a watch ended. A problem is what the API
// server says about this resource; that the API server is away for a while, or
// forgot the version it is asked for, is none.
func (s *Set) attempted(r Resource, w *watch, err error) {
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err):
		s.changed(r, w, func() { w.problem = err })
	}
}

func (s *Set) prepare(r Resource, w *watch) error {
	if err := w.informer.SetTransform(s.trim); err != nil {
		return err
	}
	_, err := w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { s.event(r, obj, false) },
		UpdateFunc: func(_, obj any) { s.event(r, obj, false) },
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			s.event(r, obj, true)
		},
	})
	return err
}

// trim keeps of an object only what an Event says.
func (s *Set) trim(obj any) (any, error) {
	meta, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	return &metav1.PartialObjectMetadata{
		TypeMeta: meta.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion,
			Labels: map[string]string{s.opts.Label: meta.Labels[s.opts.Label]},
		},
	}, nil
}

// event passes on what a watch saw.
func (s *Set) event(r Resource, obj any, gone bool) {
	meta, ok := obj.(metav1.Object)
	if !ok {
		return
	}
	s.opts.OnEvent(Event{
		Resource: r, Namespace: meta.GetNamespace(), Name: meta.GetName(), Version: meta.GetResourceVersion(),
		Label: meta.GetLabels()[s.opts.Label], Gone: gone,
	})
}

// changed makes a change to a watch, and tells its owners if the watch came to
// work, or ceased to.
func (s *Set) changed(r Resource, w *watch, change func()) {
	s.mu.Lock()
	if s.watches[r] != w {
		s.mu.Unlock()
		return // stopped meanwhile
	}
	before := w.synced && w.problem == nil
	failed := w.problem != nil
	change()
	var owners []string
	if before != (w.synced && w.problem == nil) || failed != (w.problem != nil) {
		owners = s.counts.owners(r)
	}
	s.mu.Unlock()
	for _, owner := range owners {
		s.opts.OnState(owner)
	}
}
