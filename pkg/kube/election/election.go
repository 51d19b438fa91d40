// Package election has one of several processes work at a time: the one that holds a Lease.
package election

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The lease: a leader that is cut off stops after renewDeadline, before another
// one takes over after leaseDuration.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
)

// ErrLost says that the lease was lost while the work was being done.
var ErrLost = errors.New("lost the lease: another replica leads, or the API server cannot be reached")

// Options of Run.
type Options struct {
	Namespace, Name string
	// Identity names this process. One that was killed and comes back with the same is at once what it was.
	Identity string
	// Leases returns what the lease is read and written with; end gives the lease up because of what was seen there, and
	// has Run return that error.
	Leases func(end func(error)) coordinationclient.LeasesGetter
	// Retry is how often the lease is renewed, and how often another one is asked for: waiting takes up to twice as long.
	Retry time.Duration
	// Waits, if set, is told whether another process leads, whenever that changes.
	Waits func(bool)
}

// Run runs f while this process holds the lease. The lease is given back only
// when f has returned, so that no two processes ever act at once. Its error
// includes ErrLost if the lease was lost: f may act no more.
func Run(ctx context.Context, o Options, f func(context.Context) error) error {
	lease, end := context.WithCancelCause(context.WithoutCancel(ctx))
	release := func() { end(nil) }
	defer release()
	led := &leadership{f: f, stop: ctx, release: release, result: make(chan error, 1)}
	defer context.AfterFunc(ctx, led.giveUp)()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: o.Name,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: o.Name, Namespace: o.Namespace},
			Client:     o.Leases(end),
			LockConfig: resourcelock.ResourceLockConfig{Identity: o.Identity},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: o.Retry,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: led.lead,
			OnStoppedLeading: func() {},
			OnNewLeader: func(leader string) {
				if o.Waits != nil {
					o.Waits(leader != o.Identity)
				}
			},
		},
	})
	if err != nil {
		return fmt.Errorf("preparing leader election: %w", err)
	}
	elector.Run(lease)
	if cause := context.Cause(lease); cause != nil && !errors.Is(cause, context.Canceled) {
		if led.started() {
			return errors.Join(cause, <-led.result)
		}
		return cause
	}
	if !led.started() {
		return ctx.Err()
	}
	// The lease is gone, or f is done: either way f returns.
	return <-led.result
}

// leadership runs f from the moment that the lease is held.
type leadership struct {
	f       func(context.Context) error
	stop    context.Context //nolint:containedctx // bridges the callbacks of the elector
	release context.CancelFunc
	result  chan error

	mu      sync.Mutex
	leading bool
}

func (l *leadership) lead(lease context.Context) {
	l.mu.Lock()
	l.leading = l.stop.Err() == nil
	leading := l.leading
	l.mu.Unlock()
	defer l.release()
	if !leading {
		return
	}
	ctx, cancel := context.WithCancel(lease)
	defer cancel()
	defer context.AfterFunc(l.stop, cancel)() //nolint:contextcheck // stop is the other end of both contexts
	err := l.f(ctx)
	if lease.Err() != nil {
		err = errors.Join(ErrLost, err)
	}
	l.result <- err
}

// giveUp stops waiting for the lease; a process that leads gives it back when
// f has returned.
func (l *leadership) giveUp() {
	if !l.started() {
		l.release()
	}
}

func (l *leadership) started() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leading
}
