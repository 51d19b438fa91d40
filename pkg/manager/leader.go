package manager

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The lease: a leader that is cut off stops after renewDeadline, before another
// one takes over after leaseDuration.
const (
	leaseName     = "flotilla-manager"
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

var errLostLease = errors.New("lost the lease: another replica leads, or the API server cannot be reached")

// whileLeading runs f while this replica holds the lease. The lease is given
// back only when f has returned, so that no two replicas ever act at once. A
// replica that loses it returns an error: its process ends.
func (m *process) whileLeading(ctx context.Context, f func(context.Context) error) error {
	if !m.LeaderElection {
		return f(ctx)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("naming this replica: %w", err)
	}
	lease, end := context.WithCancelCause(context.WithoutCancel(ctx))
	release := func() { end(nil) }
	defer release()
	led := &leadership{f: f, stop: ctx, release: release, result: make(chan error, 1)}
	defer context.AfterFunc(ctx, led.giveUp)()
	identity := host + "_" + string(uuid.NewUUID())
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: leaseName,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: leaseName, Namespace: m.Namespace},
			Client:     &rewind{LeasesGetter: m.conn.Kubernetes.CoordinationV1(), found: func() { end(errRewound) }},
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: led.lead,
			OnStoppedLeading: func() { m.log.Info("Stopped leading") },
			OnNewLeader:      func(leader string) { m.ready.waits(leader != identity) },
		},
	})
	if err != nil {
		return fmt.Errorf("preparing leader election: %w", err)
	}
	elector.Run(lease)
	if errors.Is(context.Cause(lease), errRewound) {
		m.log.Error("The hub was restored from a backup")
		if led.started() {
			return errors.Join(errRewound, <-led.result)
		}
		return errRewound
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
		err = errors.Join(errLostLease, err)
	}
	l.result <- err
}

// giveUp stops waiting for the lease; a replica that leads gives it back when
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
