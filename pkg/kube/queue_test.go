package kube

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// harness runs a queue whose reconcile function is given per test, and records
// the keys that it saw.
type harness struct {
	t     *testing.T
	queue *Queue
	runs  chan Key
}

func start(t *testing.T, opts QueueOptions, reconcile Reconcile) *harness {
	t.Helper()
	h := &harness{t: t, runs: make(chan Key, 1000)}
	log := logrus.New()
	log.SetOutput(io.Discard)
	opts.Name, opts.Log = "test", log
	opts.Reconcile = func(ctx context.Context, key Key) (time.Duration, error) {
		recheck, err := reconcile(ctx, key)
		h.runs <- key
		return recheck, err
	}
	h.queue = NewQueue(opts)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { h.queue.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return h
}

func (h *harness) wantRun(name string) {
	h.t.Helper()
	select {
	case key := <-h.runs:
		if key.Name != name {
			h.t.Fatalf("reconciled %q, want %q", key.Name, name)
		}
	case <-time.After(10 * time.Second):
		h.t.Fatalf("%q was not reconciled", name)
	}
}

func (h *harness) wantQuiet(d time.Duration) {
	h.t.Helper()
	select {
	case key := <-h.runs:
		h.t.Fatalf("reconciled %q, want nothing", key.Name)
	case <-time.After(d):
	}
}

func TestQueueRunsWokenKey(t *testing.T) {
	h := start(t, QueueOptions{}, func(context.Context, Key) (time.Duration, error) { return 0, nil })
	h.queue.Wake(Key{Name: "a"})
	h.wantRun("a")
	h.wantQuiet(50 * time.Millisecond)
}

func TestQueueRechecksAtTheComputedInstant(t *testing.T) {
	var once sync.Once
	h := start(t, QueueOptions{}, func(context.Context, Key) (recheck time.Duration, _ error) {
		once.Do(func() { recheck = time.Millisecond })
		return recheck, nil
	})
	h.queue.Wake(Key{Name: "a"})
	h.wantRun("a")
	h.wantRun("a")
	h.wantQuiet(50 * time.Millisecond)
}

func TestQueueRetriesFailureAndForgetsItOnSuccess(t *testing.T) {
	failures := 3
	h := start(t, QueueOptions{MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond},
		func(context.Context, Key) (time.Duration, error) {
			if failures--; failures >= 0 {
				return 0, errors.New("not yet")
			}
			return 0, nil
		})
	h.queue.Wake(Key{Name: "a"})
	for range 4 {
		h.wantRun("a")
	}
	h.wantQuiet(50 * time.Millisecond)
}

func TestQueueEventEndsBackoff(t *testing.T) {
	h := start(t, QueueOptions{MinBackoff: time.Hour, MaxBackoff: time.Hour},
		func(context.Context, Key) (time.Duration, error) { return 0, errors.New("down") })
	h.queue.Wake(Key{Name: "a"})
	h.wantRun("a")
	h.queue.Wake(Key{Name: "a"})
	h.wantRun("a")
}

func TestQueueLeavesPermanentErrorUntilAnEvent(t *testing.T) {
	h := start(t, QueueOptions{MinBackoff: time.Millisecond},
		func(context.Context, Key) (time.Duration, error) { return 0, Permanent(errors.New("bad selector")) })
	h.queue.Wake(Key{Name: "a"})
	h.wantRun("a")
	h.wantQuiet(50 * time.Millisecond)
}

func TestQueuePanicIsAnErrorOfItsKeyAlone(t *testing.T) {
	h := start(t, QueueOptions{Workers: 1, MinBackoff: time.Hour, MaxBackoff: time.Hour},
		func(_ context.Context, key Key) (time.Duration, error) {
			if key.Name == "bad" {
				defer func() { panic("poison") }()
			}
			return 0, nil
		})
	h.queue.Wake(Key{Name: "bad"})
	h.queue.Wake(Key{Name: "good"})
	h.wantRun("good")
}

func TestQueueCoalescesIntoOneRunPerWindow(t *testing.T) {
	const window = 300 * time.Millisecond
	h := start(t, QueueOptions{Window: window}, func(context.Context, Key) (time.Duration, error) { return 0, nil })
	started := time.Now()
	h.queue.Coalesce(Key{Name: "a"})
	h.wantRun("a") // the first one at once
	for range 100 {
		h.queue.Coalesce(Key{Name: "a"})
	}
	h.wantRun("a") // all others together
	if took := time.Since(started); took < window {
		t.Errorf("second run after %s, want at least the window of %s", took, window)
	}
	h.wantQuiet(2 * window)
}

// While deployments are written in great numbers, what yields to them waits;
// when they are done it runs.
func TestQueueYieldsToHeavyLoad(t *testing.T) {
	load := &Load{}
	h := start(t, QueueOptions{YieldTo: load}, func(context.Context, Key) (time.Duration, error) { return 0, nil })
	key, now := Key{Name: "a"}, time.Now()
	load.Add(heavyLoad)
	if !h.queue.yields(key, now) {
		t.Error("it does not yield to a heavy load")
	}
	if h.queue.yields(key, now.Add(maxYield)) {
		t.Error("it yields for ever")
	}
	load.Done()
	if h.queue.yields(key, now) {
		t.Error("it yields to a light load")
	}
	load.Add(1)
	h.queue.Wake(key)
	for range heavyLoad {
		load.Done()
	}
	h.wantRun("a")
}
