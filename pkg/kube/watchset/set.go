package watchset

import (
	"context"
	"fmt"
	"maps"
	"slices"
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
	// Marked is what Options.Mark says of the object.
	Marked bool
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
	// OnKinds, if set, is called when kinds may have come to be served that some owner wants, before OnState is called
	// for such owners. It must not block.
	OnKinds func()
	// Mark, if set, is asked of every object; its answer is in Event.Marked, and Marked finds the object by it.
	Mark func(*metav1.PartialObjectMetadata) bool
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
	kinds   *kinds
}

// watch is one running watch.
type watch struct {
	resource Resource

	stop     context.CancelFunc
	informer cache.SharedIndexInformer
	problem  error
	synced   bool
}

// New returns an empty set. Its watches end with ctx at the latest.
func New(ctx context.Context, opts Options) *Set {
	s := &Set{opts: opts, ctx: ctx, counts: newCounts(), watches: map[Resource]*watch{}}
	s.kinds = &kinds{client: opts.Client, ctx: ctx, running: &s.running, changed: s.kindsChanged, waiting: map[Resource]*queue{}}
	return s
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
	w := &watch{resource: r, stop: stop}
	w.informer = cache.NewSharedIndexInformer(s.listWatch(w), &metav1.PartialObjectMetadata{}, 0, cache.Indexers{byMark: s.markOf})
	if err := s.prepare(r, w); err != nil {
		stop()
		return fmt.Errorf("watching %s: %w", r, err)
	}
	s.watches[r] = w
	s.opts.Log.WithField("resource", r.String()).Debug("Watch started")
	s.running.Go(func() { w.informer.RunWithContext(ctx) })
	s.running.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), w.informer.HasSynced) {
			s.changed(w, func() { w.synced = true })
		}
	})
	return nil
}

// listWatch makes the requests of a watch, and notes how they fare.
func (s *Set) listWatch(w *watch) cache.ListerWatcher {
	client := s.opts.Client.Resource(w.resource)
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			opts.LabelSelector = s.opts.Label
			return served(ctx, s, w, func() (runtime.Object, error) { return client.List(ctx, opts) })
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (apiwatch.Interface, error) {
			opts.LabelSelector = s.opts.Label
			return served(ctx, s, w, func() (apiwatch.Interface, error) { return client.Watch(ctx, opts) })
		},
	}, s.opts.Client)
}

// everything makes the requests of a watch of all objects of a resource.
func everything(client metadata.Getter, source metadata.Interface) cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, opts)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (apiwatch.Interface, error) {
			return client.Watch(ctx, opts)
		},
	}, source)
}

// attempted notes how a request of a watch ended. A problem is what the API
// server says about this resource; that the API server is away for a while, or
// forgot the version it is asked for, is none.
func (s *Set) attempted(w *watch, err error) {
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err):
		s.changed(w, func() { w.problem = err })
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
			Labels: s.labels(meta),
		},
	}, nil
}

// byMark is the index of marked objects by the value of the label, and the
// label that notes the mark.
const byMark = "marked"

// labels returns what is kept of an object's labels, and whether it is marked.
func (s *Set) labels(meta *metav1.PartialObjectMetadata) map[string]string {
	kept := map[string]string{s.opts.Label: meta.Labels[s.opts.Label]}
	if s.opts.Mark != nil && s.opts.Mark(meta) {
		kept[byMark] = ""
	}
	return kept
}

func (s *Set) markOf(obj any) ([]string, error) {
	meta, ok := obj.(metav1.Object)
	if !ok {
		return nil, nil
	}
	if _, marked := meta.GetLabels()[byMark]; !marked {
		return nil, nil
	}
	return []string{meta.GetLabels()[s.opts.Label]}, nil
}

// Marked returns the marked objects with the given value of the label that are
// known now.
func (s *Set) Marked(label string) []Event {
	s.mu.Lock()
	watches := slices.Collect(maps.Values(s.watches))
	s.mu.Unlock()
	var marked []Event
	for _, w := range watches {
		found, err := w.informer.GetIndexer().ByIndex(byMark, label)
		if err != nil {
			continue // only for an index that does not exist
		}
		for _, obj := range found {
			if meta, ok := obj.(metav1.Object); ok {
				marked = append(marked, s.eventOf(w.resource, meta))
			}
		}
	}
	return marked
}

// event passes on what a watch saw.
func (s *Set) event(r Resource, obj any, gone bool) {
	meta, ok := obj.(metav1.Object)
	if !ok {
		return
	}
	e := s.eventOf(r, meta)
	e.Gone = gone
	s.opts.OnEvent(e)
}

func (s *Set) eventOf(r Resource, meta metav1.Object) Event {
	_, marked := meta.GetLabels()[byMark]
	return Event{
		Resource: r, Namespace: meta.GetNamespace(), Name: meta.GetName(), Version: meta.GetResourceVersion(),
		Label: meta.GetLabels()[s.opts.Label], Marked: marked,
	}
}

// kindsChanged tells the owners of resources that may have come to be served,
// perhaps under other names than they were wanted by.
func (s *Set) kindsChanged(resources []Resource) {
	if s.opts.OnKinds != nil {
		s.opts.OnKinds()
	}
	owners := map[string]bool{}
	s.mu.Lock()
	for _, r := range resources {
		for _, owner := range s.counts.owners(r) {
			owners[owner] = true
		}
	}
	s.mu.Unlock()
	for owner := range owners {
		s.opts.OnState(owner)
	}
}

// changed makes a change to a watch, and tells its owners if the watch came to
// work, or ceased to.
func (s *Set) changed(w *watch, change func()) {
	s.mu.Lock()
	if s.watches[w.resource] != w {
		s.mu.Unlock()
		return // stopped meanwhile
	}
	before := w.synced && w.problem == nil
	failed := w.problem != nil
	change()
	var owners []string
	if before != (w.synced && w.problem == nil) || failed != (w.problem != nil) {
		owners = s.counts.owners(w.resource)
	}
	s.mu.Unlock()
	for _, owner := range owners {
		s.opts.OnState(owner)
	}
}
