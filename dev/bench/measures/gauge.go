package measures

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/flotilla-gitops/flotilla/dev/bench/stream"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// stall is for how long nothing may change before a wait is given up.
const stall = 2 * time.Minute

// gauge is a number that a watch keeps up to date.
type gauge struct {
	stop context.CancelFunc
	done chan struct{}

	mu    sync.Mutex
	value int
	// since is when the value became what it is.
	since   time.Time
	changed chan struct{}
	err     error
}

// follow has see called for every event of a resource, one after the other, until the gauge is closed.
func (r *Run) follow(ctx context.Context, resource schema.GroupVersionResource, see func(*gauge, stream.Event)) *gauge {
	ctx, stop := context.WithCancel(ctx)
	g := newGauge()
	g.stop = stop
	go func() {
		defer close(g.done)
		if err := stream.Watch(ctx, r.hub.REST(), resource, func(e stream.Event) { see(g, e) }); err != nil {
			g.fail(err)
		}
	}()
	return g
}

func newGauge() *gauge {
	return &gauge{stop: func() {}, done: make(chan struct{}), changed: make(chan struct{})}
}

// close ends the watch.
func (g *gauge) close() {
	g.stop()
	<-g.done
}

func (g *gauge) add(step int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.value += step
	g.since = time.Now()
	g.wake()
}

func (g *gauge) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	g.wake()
}

func (g *gauge) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// await returns when the value became what it should be. It shows the value as it goes, and gives up when it stands still.
func (g *gauge) await(ctx context.Context, want int, show func(string)) (time.Time, error) {
	patience := time.NewTimer(stall)
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
			patience.Reset(stall)
		case <-patience.C:
			return time.Time{}, fmt.Errorf("there are %d instead of %d, and nothing has changed for %s", value, want, stall)
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// quietly shows nothing.
func quietly(string) {}

// countDeployments counts BundleDeployments without looking at them, and returns when those that are there are counted.
func (r *Run) countDeployments(ctx context.Context, there int) (*gauge, error) {
	g := r.follow(ctx, fleet.SchemeGroupVersion.WithResource("bundledeployments"), count)
	if _, err := g.await(ctx, there, quietly); err != nil {
		g.close()
		return nil, fmt.Errorf("counting deployments: %w", err)
	}
	return g, nil
}

func count(g *gauge, e stream.Event) {
	switch e.Type {
	case stream.Added:
		g.add(1)
	case stream.Deleted:
		g.add(-1)
	}
}
