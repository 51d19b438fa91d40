package garbagecollector

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

func named(kind taskKind, name string) task { return task{kind, kube.Key{Name: name}} }

func TestLanesHandOutTheMostUrgentFirst(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLanes(func() time.Time { return now })
	push := func(x task, p ownership.Priority) { l.want(x, p); l.Push(x) }
	push(named(taskSecret, "a"), ownership.PriorityLeftovers)
	push(named(taskBundle, "deleted"), ownership.PriorityChildren)
	push(named(taskRepo, "deleted"), ownership.PriorityChildren)
	now = now.Add(time.Minute)
	push(named(taskBundle, "relabelled"), ownership.PriorityUntargeted)
	push(named(taskContent, "a"), ownership.PriorityLeftovers)
	// One that waits becomes more urgent, and counts once.
	l.want(named(taskRepo, "deleted"), ownership.PriorityUntargeted)
	l.Touch(named(taskRepo, "deleted"))
	// One that waits is not put back.
	l.want(named(taskBundle, "relabelled"), ownership.PriorityLeftovers)
	l.Touch(named(taskBundle, "relabelled"))
	depth, oldest := l.waiting()
	if depth != [...]int{2, 1, 2} || oldest != [...]time.Duration{time.Minute, time.Minute, time.Minute} {
		t.Errorf("%v wait, the oldest for %v", depth, oldest)
	}
	if l.Len() != 5 {
		t.Errorf("%d wait, want 5", l.Len())
	}
	var got []string
	for l.Len() > 0 {
		x := l.Pop()
		got = append(got, x.kind.String()+" "+x.key.Name)
	}
	want := []string{"gc-bundles relabelled", "gc-gitrepos deleted", "gc-bundles deleted", "gc-secrets a", "gc-contents a"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if p := l.taken(named(taskBundle, "deleted")); p != ownership.PriorityChildren {
		t.Errorf("it was handed out as %s", p)
	}
	// What failed comes back as urgent as it was.
	l.keep(named(taskBundle, "deleted"), ownership.PriorityChildren)
	l.Push(named(taskBundle, "deleted"))
	push(named(taskBundle, "later"), ownership.PriorityUntargeted)
	if got := l.Pop(); got.key.Name != "later" {
		t.Errorf("%s overtakes", got.key.Name)
	}
	l.Pop()
	if len(l.wanted)+len(l.since)+len(l.standing) != 0 {
		t.Error("something is remembered of tasks that were handed out")
	}
}

// startQueue runs a queue whose tasks do is told of.
func startQueue(t *testing.T, workers int, do func(task) (time.Duration, error)) *taskQueue {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	q := newTaskQueue(newLanes(time.Now))
	worker := &kube.Worker[task]{
		Queue: q.queue, Clock: clock.RealClock{},
		Do:    func(_ context.Context, x task) (time.Duration, error) { return do(x) },
		LogOf: func(task) logrus.FieldLogger { return log },
		Done:  func(x task, _ time.Duration, err error) { q.ended(x, err) },
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { worker.Run(ctx, workers) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return q
}

func TestWorkThatIsUrgentOvertakes(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan string, 10)
	q := startQueue(t, 1, func(x task) (time.Duration, error) {
		if x.key.Name == "first" {
			close(began)
			<-goOn
		}
		done <- x.key.Name
		return 0, nil
	})
	q.add(named(taskSecret, "first"), ownership.PriorityLeftovers)
	<-began
	q.add(named(taskSecret, "leftover"), ownership.PriorityLeftovers)
	q.add(named(taskBundle, "children"), ownership.PriorityChildren)
	q.add(named(taskBundle, "untargeted"), ownership.PriorityUntargeted)
	close(goOn)
	for _, want := range []string{"first", "untargeted", "children", "leftover"} {
		if got := <-done; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestFailureKeepsNobodyElseWaiting(t *testing.T) {
	done := make(chan string, 100)
	failures := map[string]int{}
	q := startQueue(t, 1, func(x task) (time.Duration, error) {
		failures[x.key.Name]++
		switch {
		case x.key.Name == "panics" && failures[x.key.Name] == 1:
			defer func() { panic("poison") }()
		case x.key.Name == "fails" && failures[x.key.Name] <= 2:
			return 0, errors.New("not yet")
		}
		done <- x.key.Name
		return 0, nil
	})
	q.add(named(taskBundle, "panics"), ownership.PriorityUntargeted)
	q.add(named(taskBundle, "fails"), ownership.PriorityUntargeted)
	q.add(named(taskBundle, "works"), ownership.PriorityUntargeted)
	var got []string
	for range 4 {
		got = append(got, <-done)
	}
	if got[0] != "panics" || got[1] != "works" {
		t.Errorf("got %q", got)
	}
	if !slices.Contains(got[2:], "fails") || !slices.Contains(got[2:], "panics") {
		t.Errorf("what failed was not done again: %q", got)
	}
}

func TestAPIServerThatAsksToWaitIsWaitedFor(t *testing.T) {
	var asked time.Time
	done := make(chan time.Duration, 1)
	q := startQueue(t, 1, func(task) (time.Duration, error) {
		if asked.IsZero() {
			asked = time.Now()
			return 0, &apierrors.StatusError{ErrStatus: metav1.Status{
				Reason: metav1.StatusReasonTooManyRequests, Details: &metav1.StatusDetails{RetryAfterSeconds: 1},
			}}
		}
		done <- time.Since(asked)
		return 0, nil
	})
	q.add(named(taskBundle, "a"), ownership.PriorityUntargeted)
	if waited := <-done; waited < time.Second {
		t.Errorf("it was asked again after %s, it said a second", waited)
	}
}
