package charts

import (
	"context"
	"fmt"
	"sync"
)

// flights lets callers that want the same thing at the same time share the
// work. Unlike a plain single flight, the work ends when nobody waits for it
// any more, and does not end because one of several callers went away.
type flights[T any] struct {
	mu  sync.Mutex
	all map[string]*flight[T]
}

type flight[T any] struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	value   T
	err     error
}

// do returns what work returns. work gets a context of its own.
func (g *flights[T]) do(ctx context.Context, key string, work func(context.Context) (T, error)) (T, error) {
	f := g.join(ctx, key, work)
	defer g.leave(key, f)
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

func (g *flights[T]) join(ctx context.Context, key string, work func(context.Context) (T, error)) *flight[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f, ok := g.all[key]; ok {
		f.waiting++
		return f
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // leave calls cancel
	f := &flight[T]{waiting: 1, cancel: cancel, done: make(chan struct{})}
	if g.all == nil {
		g.all = map[string]*flight[T]{}
	}
	g.all[key] = f
	go func() {
		defer close(f.done)
		defer g.forget(key, f)
		// What is worked on comes from outside, and this goroutine has nobody
		// above it: a panic would end the process.
		defer func() {
			if cause := recover(); cause != nil {
				f.err = fmt.Errorf("internal error: %v", cause)
			}
		}()
		f.value, f.err = work(own)
	}()
	return f
}

// leave ends the work if this was the last to wait for it.
func (g *flights[T]) leave(key string, f *flight[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if g.all[key] == f {
			delete(g.all, key)
		}
	}
}

func (g *flights[T]) forget(key string, f *flight[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all[key] == f {
		delete(g.all, key)
	}
}
