package kube

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// Requests makes many requests at once: as many as an API server takes well,
// whoever asks for them.
type Requests struct {
	slots chan struct{}
	load  *Load
}

// NewRequests returns requests of which parallel are made at once. Writes count
// as load.
func NewRequests(parallel int, load *Load) *Requests {
	return &Requests{slots: make(chan struct{}, max(parallel, 1)), load: load}
}

// Read calls f for 0 to n-1 and returns when all calls have come back. One that
// fails, or panics, does not keep the others waiting; the error names the first
// few. When ctx ends, what has not begun does not begin.
func (r *Requests) Read(ctx context.Context, n int, f func(i int) error) error {
	_, err := r.each(ctx, n, f)
	return err
}

// Write is Read for requests that change what runs somewhere: statuses wait
// for them.
func (r *Requests) Write(ctx context.Context, n int, f func(i int) error) error {
	r.load.Add(n)
	begun, err := r.each(ctx, n, func(i int) error {
		defer r.load.Done()
		return f(i)
	})
	r.load.Add(begun - n)
	return err
}

func (r *Requests) each(ctx context.Context, n int, f func(i int) error) (begun int, err error) {
	var errs failures
	var running sync.WaitGroup
	for i := range n {
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			running.Wait()
			return i, ctx.Err()
		}
		running.Go(func() {
			defer func() { <-r.slots }()
			errs.add(Guarded(func() error { return f(i) })())
		})
	}
	running.Wait()
	return n, errs.join()
}

// Guarded returns f with panics turned into errors. Whatever runs in a
// goroutine of its own needs that: nobody else could catch its panic, and one
// bad object would end the process.
func Guarded(f func() error) func() error {
	return func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = &PanicError{Value: r, Stack: debug.Stack()}
			}
		}()
		return f()
	}
}

// failures collects errors from calls that run side by side. It keeps the first
// few: a fleet that is away must not make a message as long as itself.
type failures struct {
	mu    sync.Mutex
	errs  []error
	total int
}

const maxFailures = 5

func (f *failures) add(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	if len(f.errs) < maxFailures {
		f.errs = append(f.errs, err)
	}
}

func (f *failures) join() error {
	if f.total > len(f.errs) {
		return errors.Join(append(f.errs, fmt.Errorf("and %d more", f.total-len(f.errs)))...)
	}
	return errors.Join(f.errs...)
}
