package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/flotilla-gitops/flotilla/pkg/agent/registration"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// joining has the agent register where it is given something to register with, and keeps the token of an agent that did.
type joining struct {
	registrar *registration.Registrar
	// informer watches what the agent registers with; it runs once.
	informer func() cache.SharedIndexInformer
	log      logrus.FieldLogger
	clock    clock.WithTicker
	// changed has something to take when something may have to be done.
	changed chan struct{}

	mu    sync.Mutex
	state situation
	tries int
}

// situation is what is known about the agent's membership.
type situation struct {
	// known says that own is known, also if it is nil.
	known bool
	// own is the agent's Secret, bootstrap what it can register with.
	own       *corev1.Secret
	bootstrap *registration.Bootstrap
	// rejected says that the hub does not accept what own says.
	rejected bool
}

// errand is what is to be done.
type errand int

const (
	nothing errand = iota
	register
	renew
)

// next says what is to be done, and from when on. An agent that was installed from the hub is left to it.
func (s situation) next() (errand, time.Time) {
	if !s.known {
		return nothing, time.Time{}
	}
	if s.bootstrap != nil {
		if s.own == nil {
			return register, time.Time{}
		}
		with := s.own.Annotations[names.AnnotationRegistered]
		if with != "" && (with != s.bootstrap.Identity() || s.rejected) {
			return register, time.Time{}
		}
	}
	if due, mine := registration.Due(s.own); mine {
		return renew, due
	}
	return nothing, time.Time{}
}

func newJoining(client kubernetes.Interface, namespace string, log logrus.FieldLogger) *joining {
	return &joining{
		registrar: &registration.Registrar{Local: client, Namespace: namespace},
		informer:  func() cache.SharedIndexInformer { return secretInformer(client, namespace, names.SecretAgentBootstrap) },
		log:       log.WithField("controller", "registration"), clock: clock.RealClock{},
		changed: make(chan struct{}, 1),
	}
}

// owns is told of the agent's own Secret; nil if there is none.
func (j *joining) owns(secret *corev1.Secret) {
	j.change(func(s *situation) { s.known, s.own, s.rejected = true, secret, false })
}

// rejected is told that the hub does not accept the agent's token.
func (j *joining) rejected() {
	j.mu.Lock()
	before := j.state.rejected
	j.state.rejected = true
	j.mu.Unlock()
	if !before {
		j.wake()
	}
}

func (j *joining) change(edit func(*situation)) {
	j.mu.Lock()
	edit(&j.state)
	j.tries = 0
	j.mu.Unlock()
	j.wake()
}

func (j *joining) wake() {
	select {
	case j.changed <- struct{}{}:
	default: // It is known already.
	}
}

// run works until ctx ends.
func (j *joining) run(ctx context.Context) error {
	read := func(obj any) {
		secret, ok := obj.(*corev1.Secret)
		if !ok {
			return
		}
		b, err := registration.Read(secret)
		if err != nil {
			j.log.WithError(err).WithField("secret", names.SecretAgentBootstrap).Error("Secret cannot be registered with; waiting for it to be put right")
			return
		}
		j.change(func(s *situation) { s.bootstrap = &b })
	}
	informer := j.informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: read, UpdateFunc: func(_, obj any) { read(obj) },
		DeleteFunc: func(any) { j.change(func(s *situation) { s.bootstrap = nil }) },
	})
	if err != nil {
		return fmt.Errorf("watching Secret %s: %w", names.SecretAgentBootstrap, err)
	}
	go informer.RunWithContext(ctx)
	var again time.Duration
	for ctx.Err() == nil {
		j.mu.Lock()
		state := j.state
		j.mu.Unlock()
		what, due := state.next()
		wait := again
		if !due.IsZero() {
			wait = max(wait, due.Sub(j.clock.Now()))
		}
		if what != nothing && wait <= 0 {
			again = j.do(ctx, what, state)
			continue
		}
		again = 0
		j.await(ctx, what, wait)
	}
	return ctx.Err()
}

// await returns when something has changed, when ctx has ended or, if there is an errand, when its time has come.
func (j *joining) await(ctx context.Context, what errand, wait time.Duration) {
	var due <-chan time.Time
	if what != nothing {
		timer := j.clock.NewTimer(wait)
		defer timer.Stop()
		due = timer.C()
	}
	select {
	case <-ctx.Done():
	case <-j.changed:
	case <-due:
	}
}

// do does the errand, and returns after how much time it is to be tried again.
func (j *joining) do(ctx context.Context, what errand, state situation) time.Duration {
	log := j.log
	var own *corev1.Secret
	var err error
	if what == register {
		log = log.WithFields(logrus.Fields{"hub": state.bootstrap.Hub.URL, "namespace": state.bootstrap.Workspace})
		log.Info("Registering with the hub")
		own, err = j.registrar.Register(ctx, *state.bootstrap)
	} else {
		own, err = j.registrar.Renew(ctx, state.own)
	}
	if err == nil {
		log.Info([...]string{register: "Registered with the hub", renew: "Fetched a new token"}[what])
		j.owns(own)
		return 0
	}
	if ctx.Err() != nil {
		return 0
	}
	j.mu.Lock()
	j.tries++
	tries := j.tries
	j.mu.Unlock()
	again := pause(tries, err)
	if what == renew {
		log.WithError(err).Debug("The token is not renewed yet, asking again")
		return again
	}
	log.WithError(err).WithField("again", again.Round(time.Second).String()).Error("Registration failed, trying again")
	return again
}

// pause returns how long to wait after so many tries have failed: seconds for what passes, a minute and more for what a person
// has to do something about. What changes in between ends it.
func pause(tries int, err error) time.Duration {
	shortest, longest := time.Second, time.Minute
	var refused *registration.RefusedError
	if errors.As(err, &refused) {
		shortest, longest = 30*time.Second, 10*time.Minute
	}
	wait := shortest << min(tries-1, 10)
	return min(wait, longest) + rand.N(shortest) //nolint:gosec // jitter
}
