// Package gauge keeps numbers that watches keep up to date, and waits for them.
package gauge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/dev/bench/stream"
)

// Stall is for how long nothing may change before a wait is given up.
const Stall = 2 * time.Minute

// Gauge is a number that a watch keeps up to date.
type Gauge struct {
	stop context.CancelFunc
	done chan struct{}

	mu    sync.Mutex
	value int
	// since is when the value became what it is.
	since   time.Time
	changed chan struct{}
	err     error
}

// Follow has see called for every event of a resource, one after the other, until the gauge is closed.
func Follow(ctx context.Context, client rest.Interface, resource schema.GroupVersionResource, see func(*Gauge, stream.Event)) *Gauge {
	ctx, stop := context.WithCancel(ctx)
	g := New()
	g.stop = stop
	go func() {
		defer close(g.done)
		if err := stream.Watch(ctx, client, resource, func(e stream.Event) { see(g, e) }); err != nil {
			g.Fail(err)
		}
	}()
	return g
}

// New returns a gauge that is 0 and that nothing but its methods changes.
func New() *Gauge {
	return &Gauge{stop: func() {}, done: make(chan struct{}), changed: make(chan struct{})}
}

// Close ends the watch.
func (g *Gauge) Close() {
	g.stop()
	<-g.done
}

// Add changes the number.
func (g *Gauge) Add(step int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.value += step
	g.since = time.Now()
	g.wake()
}

// Fail has whoever waits fail.
func (g *Gauge) Fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	g.wake()
}

func (g *Gauge) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// Await returns when the value became what it should be. It shows the value as it goes, and gives up when it stands still.
func (g *Gauge) Await(ctx context.Context, want int, show func(string)) (time.Time, error) {
	patience := time.NewTimer(Stall)
	defer patience.Stop()
	for {
		g.mu.Lock()
		value, since, changed, err := g.value, g.since, g.changed, g.err
		g.mu.Unlock()
		switch {
		case err != nil:
			return time.Time{}, err
		case value == want:
			return since, nil
		}
		show(fmt.Sprintf("%d of %d", value, want))
		select {
		case <-changed:
			patience.Reset(Stall)
		case <-patience.C:
			return time.Time{}, fmt.Errorf("there are %d instead of %d, and nothing has changed for %s", value, want, Stall)
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// Quietly shows nothing.
func Quietly(string) {}
