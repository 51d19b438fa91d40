package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/kube/election"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// turnPeriod is how often the lease among agents of one namespace is renewed.
const turnPeriod = 2 * time.Second

// takeTurns works whenever no other agent of the namespace does. Until then it
// rehearses, so that whoever replaces one agent by another knows whether the new
// one will do before the old one goes. A lease that is lost is waited for again.
func (a *agent) takeTurns(ctx context.Context, client kubernetes.Interface, updates <-chan *credentials) error {
	for {
		waiting, called := context.WithCancel(ctx)
		rehearsed := inBackground(waiting, func(ctx context.Context) { a.rehearse(ctx, updates) })
		err := election.Run(ctx, election.Options{
			Namespace: a.config.Namespace, Name: names.LeaseAgent, Identity: a.holder(), Retry: turnPeriod,
			Leases: func(func(error)) coordinationclient.LeasesGetter { return client.CoordinationV1() },
		}, func(ctx context.Context) error {
			rehearsed()
			return a.work(ctx, updates)
		})
		rehearsed()
		called()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, election.ErrLost) {
			return fmt.Errorf("waiting for the other agent of the namespace to go: %w", err)
		}
		a.log.WithError(err).Warn("Another agent may work now; waiting for it to go")
	}
}

// rehearse does, with the credentials that are there, what a session begins
// with, and changes nothing, until ctx ends.
func (a *agent) rehearse(ctx context.Context, updates <-chan *credentials) {
	end := func() {}
	defer func() {
		end()
		a.rehearsed.Store(false)
	}()
	begin := func(c *credentials) {
		end()
		s := &session{agent: a, credentials: c, line: newLine(c.token)}
		end = inBackground(ctx, func(ctx context.Context) { a.rehearsed.Store(s.reachesHub(ctx)) })
	}
	if c := a.newest.Load(); c != nil {
		begin(c)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-updates:
			begin(c)
		}
	}
}

// reachesHub asks the hub until it answers as it does to an agent that may
// work. It returns false when ctx ends before.
func (s *session) reachesHub(ctx context.Context) bool {
	log := s.log()
	conn, err := kube.Connect(s.line.through(s.credentials.hub), kube.Options{UserAgent: "flotilla-agent", Namespace: s.credentials.namespace})
	if err != nil {
		log.WithError(err).Error("Session with the hub cannot begin")
		return false
	}
	if _, err := s.hubID(ctx, conn, log); err != nil {
		return false
	}
	log.Info("The hub answers; waiting for the agent that works to go")
	return true
}
