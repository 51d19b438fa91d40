// Package auditor looks, at a low rate, for what no event has announced.
//
// It counts the status of every parent anew and holds it against what the hub says and what the controllers keep, looks
// for the targets of every bundle anew, and holds every cache against the API server's own lists. What is merely on its way settles by itself, so a difference
// counts only if it is the same at a second look, when everything that was on its way must have come. Such a difference is
// a bug, ours or a library's: it is counted, logged, and, unless it is a cache that is behind, put right.
//
// Nothing depends on it: with the auditor off, the hub says and does the same.
package auditor

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// Deps is what the auditor needs.
type Deps struct {
	// Every is the time from the end of one audit to the next.
	Every time.Duration
	// Accounts are the sums that are counted anew, Caches what is held against lists.
	Accounts []kube.Account
	Caches   []Cache
	Metrics  *Metrics
	Log      logrus.FieldLogger
	Observe  func(controller string) func(time.Duration, error)
}

// maxSettle is how long what is on its way may take to arrive.
const maxSettle = 10 * time.Second

// check looks for differences of one kind.
type check interface {
	// look notes everything that differs.
	look(ctx context.Context) error
	// confirm looks again at what is noted, some time later, and acts on what still differs.
	confirm(ctx context.Context) error
	// open says whether something is noted that has to be confirmed yet.
	open() bool
	// reset forgets what is noted.
	reset()
}

type auditor struct {
	Deps
	checks []check
}

// Register prepares the auditor; it works until ctx ends once the returned function is called.
func Register(deps Deps) (run func(ctx context.Context)) {
	a := &auditor{Deps: deps}
	log := deps.Log.WithField("controller", "auditor")
	// The kinds of either counter.
	var accounts, caches []string
	for _, account := range deps.Accounts {
		if account.Events {
			caches = append(caches, account.Kind)
		} else {
			accounts = append(accounts, account.Kind)
		}
		a.checks = append(a.checks, &recount{Account: account, metrics: deps.Metrics, log: log.WithField("kind", account.Kind)})
	}
	for _, cache := range deps.Caches {
		caches = append(caches, cache.Kind)
		a.checks = append(a.checks, &comparison{Cache: cache, metrics: deps.Metrics, log: log.WithField("kind", cache.Kind)})
	}
	deps.Metrics.begin(accounts, caches)
	queue := kube.NewQueue(kube.QueueOptions{
		Name: "auditor", Reconcile: a.reconcile, Log: deps.Log, Workers: 1, Observe: deps.Observe("auditor"),
		MinBackoff: a.settle(), MaxBackoff: max(deps.Every, a.settle()),
	})
	queue.WakeAfter(kube.Key{Name: "everything"}, deps.Every)
	return queue.Run
}

// settle is how long differences get to go away.
func (a *auditor) settle() time.Duration { return min(a.Every/2, maxSettle) }

// reconcile begins an audit, or goes on with one, and returns when to go on.
func (a *auditor) reconcile(ctx context.Context, _ kube.Key) (time.Duration, error) {
	begun := a.open()
	for _, c := range a.checks {
		step := c.look
		if begun {
			step = c.confirm
		}
		if err := step(ctx); err != nil {
			for _, c := range a.checks {
				c.reset()
			}
			return 0, err
		}
	}
	if a.open() {
		return a.settle(), nil
	}
	a.Metrics.audited()
	return a.Every, nil
}

func (a *auditor) open() bool {
	for _, c := range a.checks {
		if c.open() {
			return true
		}
	}
	return false
}
