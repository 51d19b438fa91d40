package kube

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
)

// Key names what a Queue reconciles: an object, by namespace and name.
type Key = types.NamespacedName

// Reconcile brings the thing that key names one step closer to what it should
// be. It is never run twice at once for one key. A positive recheck has it run
// again after that time, whatever happens in between.
type Reconcile func(ctx context.Context, key Key) (recheck time.Duration, err error)

// QueueOptions configure a Queue. Zero values choose what the comments say.
type QueueOptions struct {
	Name      string
	Reconcile Reconcile
	Log       logrus.FieldLogger
	// Workers is how many keys are reconciled at once; 4.
	Workers int
	// Window is the shortest time between two runs of a key that Coalesce
	// wakes; 50 ms. It doubles up to MaxWindow while each run has to do with
	// many events; without MaxWindow it stays.
	Window, MaxWindow time.Duration
	// Rate is how many runs a second Coalesce wakes of all keys together, but
	// for the first few dozen after a pause; no limit if zero. Keys wait for
	// their turn.
	Rate int
	// YieldTo, if set, is a load that the queue yields to: while it is heavy,
	// keys wait, but none for longer than five seconds.
	YieldTo *Load
	// MinBackoff and MaxBackoff bound the wait after a failure, which doubles
	// with each failure of the key in a row; 100 ms and 2 min.
	MinBackoff, MaxBackoff time.Duration
	// Clock tells the time; the real one.
	Clock clock.WithTicker
	// Observe, if set, is told of every run: its duration and its error.
	Observe func(took time.Duration, err error)
}

// Queue runs one reconcile function over keys. A panic of one key is an error
// of that key alone.
type Queue struct {
	opts  QueueOptions
	queue workqueue.TypedRateLimitingInterface[Key]

	mu   sync.Mutex
	pace *pace
}

// NewQueue returns a queue that does nothing until Run.
func NewQueue(opts QueueOptions) *Queue {
	setDefault(&opts.Workers, 4)
	setDefault(&opts.Window, 50*time.Millisecond)
	setDefault(&opts.MinBackoff, DefaultMinBackoff)
	setDefault(&opts.MaxBackoff, DefaultMaxBackoff)
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	opts.Log = opts.Log.WithField("controller", opts.Name)
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[Key](opts.MinBackoff, opts.MaxBackoff)
	return &Queue{
		opts: opts,
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(limiter,
			workqueue.TypedRateLimitingQueueConfig[Key]{Name: opts.Name, Clock: opts.Clock}),
		pace: newPace(opts.Window, opts.MaxWindow, opts.Rate),
	}
}

func setDefault[T int | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// Wake has key reconciled as soon as a worker is free, also if it is waiting
// after a failure.
func (q *Queue) Wake(key Key) { q.queue.Add(key) }

// WakeAfter has key reconciled after d; zero is Wake.
func (q *Queue) WakeAfter(key Key, d time.Duration) { q.queue.AddAfter(key, d) }

// Coalesce has key reconciled at once if its last run is at least one window
// ago, else when the window is over: however many events come, one run per
// window.
func (q *Queue) Coalesce(key Key) {
	q.mu.Lock()
	after, due := q.pace.event(key, q.opts.Clock.Now())
	q.mu.Unlock()
	if due {
		q.queue.AddAfter(key, after)
	}
}

// Len returns how many keys wait for a worker.
func (q *Queue) Len() int { return q.queue.Len() }

// Run reconciles keys until ctx ends and every worker has returned.
func (q *Queue) Run(ctx context.Context) {
	worker := &Worker[Key]{
		Queue: q.queue, Do: q.opts.Reconcile, Clock: q.opts.Clock, Defer: q.deferred,
		LogOf: func(key Key) logrus.FieldLogger {
			return q.opts.Log.WithFields(logrus.Fields{"namespace": key.Namespace, "name": key.Name})
		},
	}
	if q.opts.Observe != nil {
		worker.Done = func(_ Key, took time.Duration, err error) { q.opts.Observe(took, err) }
	}
	worker.Run(ctx, q.opts.Workers)
}

func (q *Queue) deferred(key Key, now time.Time) time.Duration {
	if q.yields(key, now) {
		return yieldFor
	}
	return 0
}

// yields says whether the key has to wait because of a heavy load; if not, it
// runs now.
func (q *Queue) yields(key Key, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.opts.YieldTo.Heavy() && q.pace.yield(key, now) {
		return true
	}
	q.pace.runs(key, now)
	return false
}
