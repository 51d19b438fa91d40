package garbagecollector

import (
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// taskKind is what is to be done.
type taskKind uint8

const (
	// taskBundle judges deployments of a bundle.
	taskBundle taskKind = iota
	// taskRelease lets a deployment go that its agent has taken down.
	taskRelease
	// taskRepo and taskHelmOp judge the bundles of a GitRepo or HelmOp.
	taskRepo
	taskHelmOp
	// taskCluster unregisters a cluster.
	taskCluster
	// taskNamespace sweeps a namespace whose cluster was unregistered.
	taskNamespace
	taskContent
	taskSecret
)

// String returns the kind's name in logs and metrics.
func (k taskKind) String() string {
	return [...]string{"gc-bundles", "gc-releases", "gc-gitrepos", "gc-helmops", "gc-clusters", "gc-namespaces", "gc-contents", "gc-secrets"}[k]
}

// priority is that of a task nothing more is known of.
func (k taskKind) priority() ownership.Priority {
	switch k {
	case taskBundle, taskRelease:
		return ownership.PriorityUntargeted
	case taskRepo, taskHelmOp, taskCluster, taskNamespace:
		return ownership.PriorityChildren
	case taskContent, taskSecret:
	}
	return ownership.PriorityLeftovers
}

// task is one thing to do. It is never done twice at once.
type task struct {
	kind taskKind
	key  kube.Key
}

func taskOf(kind taskKind, id ownership.ID) task {
	if id.Kind == ownership.KindHelmOp {
		kind = taskHelmOp
	}
	return task{kind, kube.Key{Namespace: id.Namespace(), Name: id.Name()}}
}

// taskQueue hands out tasks by priority, and in their order within one.
type taskQueue struct {
	lanes *lanes
	queue workqueue.TypedRateLimitingInterface[task]
}

func newTaskQueue(l *lanes) *taskQueue {
	plain := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[task]{Name: "gc", Queue: l})
	delaying := workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[task]{Name: "gc", Queue: plain})
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[task](kube.DefaultMinBackoff, kube.DefaultMaxBackoff)
	return &taskQueue{
		lanes: l,
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[task]{Name: "gc", DelayingQueue: delaying}),
	}
}

// add has the task done, also if it waits after a failure.
func (q *taskQueue) add(t task, p ownership.Priority) {
	q.lanes.want(t, p)
	q.queue.Add(t)
}

// ended notes that a task was done. One that failed comes back as urgent as it
// was.
func (q *taskQueue) ended(t task, err error) {
	if urgency := q.lanes.taken(t); err != nil {
		q.lanes.keep(t, urgency)
	}
}

// lanes keeps waiting tasks by priority. It is the storage of a workqueue,
// which says under its own lock what waits; how urgent that is comes before.
type lanes struct {
	now func() time.Time

	mu sync.Mutex
	// wanted is how urgent a task is that was added and not handed out.
	wanted map[task]ownership.Priority
	// standing is the lane where a waiting task stands. Where a lane holds it
	// in addition, from before it became more urgent, that does not count.
	standing map[task]ownership.Priority
	since    map[task]time.Time
	// handed is how urgent a task was when it was handed out.
	handed map[task]ownership.Priority
	queues [ownership.Priorities][]task
}

func newLanes(now func() time.Time) *lanes {
	return &lanes{
		now: now, wanted: map[task]ownership.Priority{}, standing: map[task]ownership.Priority{}, since: map[task]time.Time{},
		handed: map[task]ownership.Priority{},
	}
}

// want says how urgent a task is, before it is added. The most urgent word
// counts until the task is handed out.
func (l *lanes) want(t task, p ownership.Priority) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have, ok := l.wanted[t]; !ok || p < have {
		l.wanted[t] = p
	}
	if _, ok := l.since[t]; !ok {
		l.since[t] = l.now()
	}
}

// taken returns how urgent a task was that was handed out.
func (l *lanes) taken(t task) ownership.Priority {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.handed[t]
	delete(l.handed, t)
	return p
}

// keep has a task that failed come back as urgent as it was, unless it became
// more urgent meanwhile. The time until then does not count as waiting.
func (l *lanes) keep(t task, p ownership.Priority) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have, ok := l.wanted[t]; !ok || p < have {
		l.wanted[t] = p
	}
}

// Touch moves a waiting task forward that became more urgent.
func (l *lanes) Touch(t task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lane, ok := l.standing[t]; ok && l.priorityOf(t) < lane {
		l.stand(t)
	}
}

// Push takes a task in.
func (l *lanes) Push(t task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.since[t]; !ok {
		l.since[t] = l.now()
	}
	l.stand(t)
}

// Len returns how many tasks wait.
func (l *lanes) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.standing)
}

// Pop hands out the most urgent task.
func (l *lanes) Pop() (t task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.queues {
		for len(l.queues[p]) > 0 {
			t, l.queues[p] = l.queues[p][0], l.queues[p][1:]
			if lane, ok := l.standing[t]; ok && int(lane) == p {
				delete(l.standing, t)
				l.handed[t] = lane
				delete(l.wanted, t)
				delete(l.since, t)
				return t
			}
		}
	}
	return task{}
}

func (l *lanes) stand(t task) {
	p := l.priorityOf(t)
	l.standing[t] = p
	l.queues[p] = append(l.queues[p], t)
}

func (l *lanes) priorityOf(t task) ownership.Priority {
	if p, ok := l.wanted[t]; ok {
		return p
	}
	return t.kind.priority()
}

// waiting returns how many tasks of each priority wait, and for how long the
// oldest has.
func (l *lanes) waiting() (depth [ownership.Priorities]int, oldest [ownership.Priorities]time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for t, p := range l.standing {
		depth[p]++
		oldest[p] = max(oldest[p], now.Sub(l.since[t]))
	}
	return depth, oldest
}
