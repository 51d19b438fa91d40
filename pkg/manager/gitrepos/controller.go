// Package gitrepos turns GitRepos into Bundles.
//
// It asks the repository for its head when a poll is due, fetches what is new
// into a mirror on disk, reads the folders, and writes the bundles that
// changed. Bundles whose folder is gone are marked, not deleted: deleting is
// the garbage collector's work alone.
package gitrepos

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/polling"
	"github.com/flotilla-gitops/flotilla/pkg/source"
)

// Mirrors fetches repositories.
type Mirrors interface {
	// Ask asks the repository for the commit that the request names.
	Ask(ctx context.Context, q source.Question) (source.Answer, error)
	// Fetch brings that commit into the mirror.
	Fetch(ctx context.Context, r source.Request) (*source.Snapshot, error)
	// Open returns a commit that was fetched before, without a network.
	Open(ctx context.Context, r source.Request, commit string) (*source.Snapshot, error)
	// Prune removes from disk what no request in keep uses, and nobody reads. It
	// returns when to look again.
	Prune(keep []source.Request) (again time.Duration, err error)
}

// Inputs reads objects of one kind that users write, by name, and tells which
// of them have changed.
type Inputs[T any] interface {
	Get(ctx context.Context, key kube.Key) (T, error)
	OnChange(f func(kube.Key))
}

// Deps is what the controller needs.
type Deps struct {
	Hub     *kube.Hub
	Mirrors Mirrors
	Secrets Inputs[*corev1.Secret]
	// KnownHosts reads the ConfigMap known-hosts of Namespace.
	KnownHosts Inputs[*corev1.ConfigMap]
	Namespace  string
	Charts     bundlereader.ChartSource
	Recorder   kube.Recorder
	Log        logrus.FieldLogger
	Clock      clock.PassiveClock
	// Fetches is how many repositories are asked at once. They mostly wait, so
	// that a few that hang keep nobody else waiting.
	Fetches int
	// Readers is how many commits are read into memory at once.
	Readers int
	// Observe, if set, is told of every reconcile.
	Observe func(controller string) func(time.Duration, error)
	// Account, if set, is given how to count the status of GitRepos anew.
	Account func(kube.Account)
}

type controller struct {
	Deps
	gitrepos     generic.CacheInterface[*fleet.GitRepo]
	bundles      generic.CacheInterface[*fleet.Bundle]
	clusters     generic.CacheInterface[*fleet.Cluster]
	deployments  generic.CacheInterface[*fleet.BundleDeployment]
	restrictions generic.CacheInterface[*fleet.GitRepoRestriction]
	policies     generic.CacheInterface[*fleet.Policy]

	sync, status, prune *kube.Queue
	readers             chan struct{}
	rollups             *rollups
	told                kube.Echoes[fleet.GitRepoStatus]

	mu     sync.Mutex
	states map[kube.Key]state
	// checks counts, by GitRepo, how often its bundles are to be compared
	// again; wanted holds, by bundle, the digest of what it should be.
	checks map[kube.Key]int
	// demands is what events ask for, by GitRepo.
	demands map[kube.Key]polling.Demand
	// requests is what each GitRepo was last asked with: what its mirror is for.
	requests map[kube.Key]source.Request
	wanted   map[kube.Key][sha256.Size]byte
}

// Register prepares the controller; it works until ctx ends once the returned
// function is called.
func Register(deps Deps) (run func(ctx context.Context)) {
	hub := deps.Hub
	c := &controller{
		Deps:         deps,
		gitrepos:     hub.GitRepos.Cache(),
		bundles:      hub.Bundles.Cache(),
		clusters:     hub.Clusters.Cache(),
		deployments:  hub.BundleDeployments.Cache(),
		restrictions: hub.GitRepoRestrictions.Cache(),
		policies:     hub.Policies.Cache(),
		readers:      make(chan struct{}, max(deps.Readers, 1)),
		states:       map[kube.Key]state{},
		checks:       map[kube.Key]int{},
		demands:      map[kube.Key]polling.Demand{},
		requests:     map[kube.Key]source.Request{},
		wanted:       map[kube.Key][sha256.Size]byte{},
		rollups:      newRollups(),
	}
	c.sync = kube.NewQueue(kube.QueueOptions{
		Name: "gitrepos", Reconcile: c.reconcile, Log: deps.Log, Workers: deps.Fetches,
		MinBackoff: 500 * time.Millisecond, MaxBackoff: 30 * time.Second, Observe: deps.Observe("gitrepos"),
	})
	c.status = kube.NewQueue(kube.QueueOptions{
		Name: "gitrepos-status", Reconcile: c.report, Log: deps.Log, Workers: statusWorkers, Observe: deps.Observe("gitrepos-status"),
		MaxWindow: maxStatusWindow, YieldTo: &hub.Load,
	})
	c.prune = kube.NewQueue(kube.QueueOptions{
		Name: "gitrepos-mirrors", Reconcile: c.pruneMirrors, Log: deps.Log, Workers: 1, Window: pruneWindow, Observe: deps.Observe("gitrepos-mirrors"),
	})
	c.wake()
	if deps.Account != nil {
		deps.Account(c.account())
	}
	// GitRepos may have gone while nobody looked.
	c.prune.Wake(kube.Key{})
	return func(ctx context.Context) {
		var queues sync.WaitGroup
		queues.Go(func() { c.sync.Run(ctx) })
		queues.Go(func() { c.status.Run(ctx) })
		queues.Go(func() { c.prune.Run(ctx) })
		queues.Wait()
	}
}

// reconcile brings the GitRepo's bundles to the newest commit that its
// repository has, as far as a poll is due.
func (c *controller) reconcile(ctx context.Context, key kube.Key) (time.Duration, error) {
	repo, err := c.gitrepos.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		c.forget(key)
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading gitrepo: %w", err)
	}
	before := c.state(key, repo)
	after, recheck, err := c.advance(ctx, repo, before)
	c.remember(key, after)
	if before.outcome.differs(after.outcome) {
		c.status.Wake(key)
	}
	return recheck, err
}

// advance does what is due for the GitRepo and returns its new state.
func (c *controller) advance(ctx context.Context, repo *fleet.GitRepo, st state) (state, time.Duration, error) {
	st.outcome.generation = repo.Generation
	if repo.DeletionTimestamp != nil {
		// The generation in status tells the garbage collector that no bundle
		// will be made any more.
		return st, 0, nil
	}
	if repo, st.outcome.refused = c.ruled(repo); st.outcome.refused != nil {
		return st, 0, nil
	}
	if err := c.ensureFinalizer(ctx, repo); err != nil {
		return st, 0, err
	}
	var err error
	if st.outcome.webhook, err = c.webhookProblem(ctx, repo); err != nil {
		return st, 0, err
	}
	request, err := c.request(ctx, repo)
	if err != nil {
		return st.unasked(err)
	}
	book, goesOn := st.Restored(repo, request.Identity())
	st.Book, st.outcome.known = book, st.outcome.known || goesOn
	c.uses(kube.KeyOf(repo), request)
	wanted := c.demanded(kube.KeyOf(repo))
	next := polling.Next(repo, st.Book, wanted, c.Clock.Now())
	var tree fs.FS
	var away error
	if next.Due {
		st, tree, away = c.fetch(ctx, repo, st, asking{request, next, wanted})
		if away != nil && !st.Current(repo) {
			return st, 0, away
		}
		next = polling.Next(repo, st.Book, wanted, c.Clock.Now())
	}
	// A repository that cannot be asked holds up nothing that its last commit is enough for, such as other targets.
	checks := c.askedChecks(kube.KeyOf(repo))
	again, in := st.RetryDue(c.Clock.Now())
	if st.upToDate(repo, checks) && !again {
		return st, sooner(next.Wait(), in), away
	}
	// Whatever fails from here on is tried again.
	st.brought = ""
	if tree == nil {
		if st, tree, err = c.reopen(ctx, st, request); err != nil {
			return st, 0, err
		}
	}
	st.checks = checks
	st, err = c.bring(ctx, repo, st, tree)
	_, in = st.RetryDue(c.Clock.Now())
	return st, sooner(next.Wait(), in), errors.Join(away, err)
}
