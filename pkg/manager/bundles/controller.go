// Package bundles keeps the deployments of every Bundle at what its targets
// ask for, and the Bundle's status at what its deployments say.
//
// It creates and changes BundleDeployments, Contents and the Secrets of their
// values. It deletes nothing: that is the garbage collector's work alone.
//
// What it knows of a bundle it keeps between reconciles, in a book; events
// mark the clusters that have to be looked at again. So a reconcile costs what
// has changed, however large the fleet is.
package bundles

import (
	"context"
	"sync"
	"time"

	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// Deps is what the controller needs.
type Deps struct {
	Hub *kube.Hub
	// Secrets and ConfigMaps are the objects of workspaces that deployments have copied to their clusters.
	Secrets    Lookup[*corev1.Secret]
	ConfigMaps Lookup[*corev1.ConfigMap]
	Recorder   kube.Recorder
	Log        logrus.FieldLogger
	Clock      clock.PassiveClock
	// Workers is how many bundles are reconciled at once.
	Workers int
	// Parallel is how many deployments are written at once, of all bundles
	// together.
	Parallel int
	// Observe, if set, is told of every reconcile.
	Observe func(controller string) func(time.Duration, error)
	// Account, if set, is given how to count the status of bundles anew.
	Account func(kube.Account)
}

// Lookup reads objects that users write.
type Lookup[T any] interface {
	Get(ctx context.Context, key kube.Key) (T, error)
	OnChange(func(kube.Key))
}

type controller struct {
	Deps
	bundles     generic.CacheInterface[*fleet.Bundle]
	clusters    generic.CacheInterface[*fleet.Cluster]
	groups      generic.CacheInterface[*fleet.ClusterGroup]
	mappings    generic.CacheInterface[*fleet.BundleNamespaceMapping]
	deployments generic.CacheInterface[*fleet.BundleDeployment]
	contents    kube.Contents
	secrets     generic.CacheInterface[*corev1.Secret]
	namespaces  generic.CacheInterface[*corev1.Namespace]

	restrictions generic.CacheInterface[*fleet.GitRepoRestriction]
	policies     generic.CacheInterface[*fleet.Policy]
	gitrepos     generic.CacheInterface[*fleet.GitRepo]
	helmops      generic.CacheInterface[*fleet.HelmOp]

	// targets runs when what a bundle should deploy may have changed; status
	// when what its deployments say has.
	targets, status *kube.Queue
	// marks are the clusters that have to be looked at again, by bundle.
	marks    *kube.Marks[part]
	requests *kube.Requests

	rollups *rollups
	told    kube.Echoes[fleet.BundleStatus]

	readers readers

	mu    sync.Mutex
	books map[kube.Key]*book
	// groupUsers are the bundles whose targets may depend on cluster groups; a
	// bundle that is not in it may, too.
	groupUsers map[kube.Key]bool
	index      *targeting.Clusters
}

// maxTargetsWindow is how long a bundle may collect events of its clusters
// while very many come, as when a fleet joins. A lone event acts at once.
const maxTargetsWindow = 400 * time.Millisecond

// Register prepares the controller; its queues run until ctx ends once the
// returned function is called.
func Register(deps Deps) (run func(ctx context.Context)) {
	c := &controller{
		Deps:        deps,
		bundles:     deps.Hub.Bundles.Cache(),
		clusters:    deps.Hub.Clusters.Cache(),
		groups:      deps.Hub.ClusterGroups.Cache(),
		mappings:    deps.Hub.BundleNamespaceMappings.Cache(),
		deployments: deps.Hub.BundleDeployments.Cache(),
		contents:    kube.NewContents(deps.Hub),
		secrets:     deps.Hub.Secrets.Cache(),
		namespaces:  deps.Hub.Namespaces.Cache(),

		restrictions: deps.Hub.GitRepoRestrictions.Cache(),
		policies:     deps.Hub.Policies.Cache(),
		gitrepos:     deps.Hub.GitRepos.Cache(),
		helmops:      deps.Hub.HelmOps.Cache(),

		readers:    readers{of: map[source]map[kube.Key]bool{}, by: map[kube.Key][]source{}},
		marks:      kube.NewMarks[part](),
		rollups:    newRollups(),
		requests:   kube.NewRequests(deps.Parallel, &deps.Hub.Load),
		books:      map[kube.Key]*book{},
		groupUsers: map[kube.Key]bool{},
		index:      targeting.NewClusters(),
	}
	c.targets = kube.NewQueue(kube.QueueOptions{
		Name: "bundles", Reconcile: c.reconcile, Log: deps.Log, Workers: deps.Workers, Observe: deps.Observe("bundles"),
		MaxWindow: maxTargetsWindow,
	})
	c.status = kube.NewQueue(kube.QueueOptions{
		Name: "bundles-status", Reconcile: c.report, Log: deps.Log, Workers: statusWorkers, Observe: deps.Observe("bundles-status"),
		MaxWindow: maxStatusWindow, YieldTo: &deps.Hub.Load,
	})
	c.wake()
	if deps.Account != nil {
		deps.Account(c.account())
		deps.Account(c.targetsAccount())
	}
	return func(ctx context.Context) {
		var queues sync.WaitGroup
		queues.Go(func() { c.targets.Run(ctx) })
		queues.Go(func() { c.status.Run(ctx) })
		queues.Wait()
	}
}

// reconcile brings the bundle's deployments to its targets.
func (c *controller) reconcile(ctx context.Context, key kube.Key) (time.Duration, error) {
	b, err := c.bundles.Get(key.Namespace, key.Name)
	switch {
	case apierrors.IsNotFound(err):
		c.forget(key)
		return 0, nil
	case err != nil:
		return 0, err
	case b.DeletionTimestamp != nil:
		c.concludeDeletion(key, b)
		return 0, nil
	}
	marked := c.marks.Take(key)
	now, err := c.observe(ctx, key, b, marked)
	if err != nil {
		// The book may be half of the old and half of the new.
		c.marks.Restore(key, marked)
		c.marks.AddAll(key)
		c.fail(key, err)
		return 0, err
	}
	plan, err := c.proceed(ctx, now)
	c.conclude(key, now, plan, err)
	return now.unseen(), err
}

// proceed carries out what is to be done until only events can bring more. It
// returns the last plan.
func (c *controller) proceed(ctx context.Context, b *book) (rollout.Plan, error) {
	created := 0
	for turn := 0; ; turn++ {
		plan := rollout.Next(rollout.World{Bundle: b.bundle, Targets: b.targets})
		created += plan.NewlyCreated
		plan.NewlyCreated = created
		if err := c.act(ctx, b, plan); err != nil || len(plan.Create)+len(plan.Update) == 0 || turn > len(plan.Partitions) {
			return plan, err
		}
		// What was written may let the next partition begin.
	}
}

// unseen returns when to look for what was written and no watch has shown yet;
// zero if there is nothing.
func (b *book) unseen() time.Duration {
	for i := range b.entries {
		if b.entries[i].wrote != nil {
			return unseenLimit
		}
	}
	return 0
}

func (c *controller) book(key kube.Key) *book {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.books[key]
}

func (c *controller) setBook(key kube.Key, b *book) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b == nil {
		delete(c.books, key)
		return
	}
	c.books[key] = b
}

func (c *controller) setUsesGroups(key kube.Key, uses bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.groupUsers[key] = uses
}

// mayUseGroups says whether the bundle's targets may depend on cluster groups.
func (c *controller) mayUseGroups(key kube.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	uses, known := c.groupUsers[key]
	return uses || !known
}

// forget drops all that is known of a bundle.
func (c *controller) forget(key kube.Key) {
	c.marks.Take(key)
	c.mu.Lock()
	delete(c.books, key)
	delete(c.groupUsers, key)
	c.mu.Unlock()
	c.readers.set(key, nil)
	c.rollups.forget(key)
}

// candidates returns the clusters of a namespace that the matcher can match.
func (c *controller) candidates(namespace string, m *targeting.Matcher) []*fleet.Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []*fleet.Cluster
	c.index.Candidates(namespace, m, func(cluster *fleet.Cluster) { found = append(found, cluster) })
	return found
}

func (c *controller) cluster(key kube.Key) *fleet.Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index.Get(key.Namespace, key.Name)
}
