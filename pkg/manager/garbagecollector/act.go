package garbagecollector

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// each calls f for 0 to n-1. All calls of the garbage collector together take
// as many slots as the API server takes writes well. It returns the first few
// errors; one does not keep the others waiting.
func (c *controller) each(n int, f func(i int) error) error {
	// Statuses wait for what runs where it should not.
	c.Hub.Load.Add(n)
	var next atomic.Int64
	var errs failures
	var workers sync.WaitGroup
	for range min(n, cap(c.slots)) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				c.slots <- struct{}{}
				err := f(i)
				<-c.slots
				c.Hub.Load.Done()
				errs.add(err)
			}
		})
	}
	workers.Wait()
	return errs.join()
}

// failures collects errors from calls that run side by side. It keeps the first
// few: a hub that is away must not make a message as long as the fleet.
type failures struct {
	mu    sync.Mutex
	errs  []error
	total int
}

const maxFailures = 3

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
