package kube

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
)

// Worker does one thing for the items of a work queue, and says of each when
// it is done again. A panic of one item is an error of that item alone.
type Worker[T comparable] struct {
	Queue workqueue.TypedRateLimitingInterface[T]
	// Do does it. It is never run twice at once for one item. A positive recheck
	// has it run again after that time.
	Do func(ctx context.Context, item T) (recheck time.Duration, err error)
	// LogOf returns what the item is logged with.
	LogOf func(item T) logrus.FieldLogger
	Clock clock.PassiveClock
	// Defer, if set, is asked before: a positive time puts the item off.
	Defer func(item T, now time.Time) time.Duration
	// Done, if set, is told of every run, before the item can run again.
	Done func(item T, took time.Duration, err error)
}

// Run does items, so many at once, until ctx ends and all have come back.
func (w *Worker[T]) Run(ctx context.Context, parallel int) {
	var running sync.WaitGroup
	for range parallel {
		running.Go(func() {
			for w.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	w.Queue.ShutDown()
	running.Wait()
}

func (w *Worker[T]) next(ctx context.Context) bool {
	item, shutdown := w.Queue.Get()
	if shutdown {
		return false
	}
	defer w.Queue.Done(item)
	if ctx.Err() != nil {
		return false
	}
	started := w.Clock.Now()
	if w.Defer != nil {
		if wait := w.Defer(item, started); wait > 0 {
			w.Queue.AddAfter(item, wait)
			return true
		}
	}
	recheck, err := w.try(ctx, item)
	if w.Done != nil {
		w.Done(item, w.Clock.Since(started), err)
	}
	w.after(ctx, item, recheck, err)
	return true
}

func (w *Worker[T]) try(ctx context.Context, item T) (recheck time.Duration, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return w.Do(ctx, item)
}

// after decides when the item is done again.
func (w *Worker[T]) after(ctx context.Context, item T, recheck time.Duration, err error) {
	var wait *WaitError
	switch {
	case err == nil:
		w.settled(item, recheck)
	case ctx.Err() != nil:
		// Stopping: what was cut short is found again at the next start.
	case errors.As(err, &wait):
		w.settled(item, wait.After)
	case IsPermanent(err):
		w.LogOf(item).WithError(err).Warn("Reconcile needs a change by a user")
		w.settled(item, recheck)
	default:
		w.again(item, err)
	}
}

func (w *Worker[T]) settled(item T, recheck time.Duration) {
	w.Queue.Forget(item)
	if recheck > 0 {
		w.Queue.AddAfter(item, recheck)
	}
}

// again has an item that failed done after a while: after as long as the API
// server asks for, else after longer each time.
func (w *Worker[T]) again(item T, err error) {
	log := w.LogOf(item).WithError(err)
	var panicked *PanicError
	if errors.As(err, &panicked) {
		log = log.WithField("stack", string(panicked.Stack))
	}
	if seconds, asked := apierrors.SuggestsClientDelay(err); asked && seconds > 0 {
		log.Warn("The API server asks to wait")
		w.Queue.AddAfter(item, time.Duration(seconds)*time.Second)
		return
	}
	if apierrors.IsConflict(err) {
		log.Debug("Reconcile read an old state, trying again")
	} else {
		log.Warn("Reconcile failed, trying again")
	}
	w.Queue.AddRateLimited(item)
}

// Bounds of the back-off, where nothing else is said.
const (
	DefaultMinBackoff = 100 * time.Millisecond
	DefaultMaxBackoff = 2 * time.Minute
)
