// Package garbagecollector deletes what has lost its reason to exist. It is
// the only place on the hub that deletes what Flotilla made.
//
// Watches feed the graph of owners, which has one writer. An event has those
// deployments judged that it can turn, and no others: candidates wait on one
// queue, by priority. Caches propose and the API server disposes: before
// anything goes, every cause of the decision is read once more, for all
// candidates of a bundle together; the decision is made again from that, and
// the delete carries the UID and the resourceVersion of what was judged. What
// is not known is kept, and what nobody asked for by name is held once it is
// much.
package garbagecollector

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// Deps is what the garbage collector needs.
type Deps struct {
	Hub      *kube.Hub
	Recorder kube.Recorder
	Log      logrus.FieldLogger
	Clock    clock.PassiveClock
	Metrics  *Metrics
	// Debug, if set, serves the graph of owners.
	Debug *Debug
	// ContentGrace is how long a Content that nothing refers to is kept.
	ContentGrace time.Duration
	// Parallel is how many objects are deleted or read at once.
	Parallel int
	// Limits are those of the brake; defaults where they are zero.
	Limits ownership.Limits
	// Observe is told of every run.
	Observe func(controller string) func(time.Duration, error)
}

type controller struct {
	Deps
	gitrepos    generic.CacheInterface[*fleet.GitRepo]
	helmops     generic.CacheInterface[*fleet.HelmOp]
	bundles     generic.CacheInterface[*fleet.Bundle]
	deployments generic.CacheInterface[*fleet.BundleDeployment]
	contents    generic.CacheInterface[*fleet.Content]
	clusters    generic.CacheInterface[*fleet.Cluster]
	groups      generic.CacheInterface[*fleet.ClusterGroup]
	mappings    generic.CacheInterface[*fleet.BundleNamespaceMapping]
	namespaces  generic.CacheInterface[*corev1.Namespace]
	secrets     generic.CacheInterface[*corev1.Secret]
	metadata    metadata.Interface
	// lists are the reads of whole namespaces that candidates share.
	lists *sharedLists

	feed *feed
	// graphs guards graph, which only the writer changes.
	graphs sync.RWMutex
	graph  *ownership.Graph
	// started says that everything that was there at the start is in the graph.
	started atomic.Bool

	queue    *taskQueue
	requests *kube.Requests

	ledgers    *ledgers
	folders    *folders
	departures *departures

	bundleReports, repoReports *kube.Queue
	joins                      joins
}

// Register prepares the garbage collector; it works until ctx ends once the
// returned function is called. That must not be before every cache is synced.
func Register(deps Deps) (run func(ctx context.Context)) {
	hub := deps.Hub
	deps.Limits = deps.Limits.OrDefaults()
	c := &controller{
		Deps:        deps,
		gitrepos:    hub.GitRepos.Cache(),
		helmops:     hub.HelmOps.Cache(),
		bundles:     hub.Bundles.Cache(),
		deployments: hub.BundleDeployments.Cache(),
		contents:    hub.Contents.Cache(),
		clusters:    hub.Clusters.Cache(),
		groups:      hub.ClusterGroups.Cache(),
		mappings:    hub.BundleNamespaceMappings.Cache(),
		namespaces:  hub.Namespaces.Cache(),
		secrets:     hub.Secrets.Cache(),
		// The hub has clients of this very configuration, so another cannot fail.
		metadata:   metadata.NewForConfigOrDie(hub.Config),
		feed:       newFeed(),
		graph:      ownership.NewGraph(),
		requests:   kube.NewRequests(deps.Parallel, &hub.Load),
		ledgers:    newLedgers(),
		folders:    newFolders(),
		departures: newDepartures(),
	}
	// What a GitRepo may do decides about its bundles: without these nothing is
	// decided either.
	hub.GitRepoRestrictions.Cache()
	hub.Policies.Cache()
	c.lists = newSharedLists(c.listClusters)
	c.queue = newTaskQueue(newLanes(c.Clock.Now))
	c.bundleReports = c.reports("gc-bundle-reports", c.reportBundle)
	c.repoReports = c.reports("gc-gitrepo-reports", c.reportRepo)
	c.registerJoins()
	c.wake()
	return c.run
}

// worker does the tasks.
func (c *controller) worker() *kube.Worker[task] {
	observe := map[taskKind]func(time.Duration, error){}
	for kind := taskBundle; kind <= taskSecret; kind++ {
		observe[kind] = c.Observe(kind.String())
	}
	return &kube.Worker[task]{
		Queue: c.queue.queue, Do: c.do, Clock: c.Clock,
		LogOf: func(t task) logrus.FieldLogger {
			return c.Log.WithFields(logrus.Fields{"controller": t.kind.String(), "namespace": t.key.Namespace, "name": t.key.Name})
		},
		Done: func(t task, took time.Duration, err error) {
			observe[t.kind](took, err)
			c.queue.ended(t, err)
		},
	}
}

func (c *controller) reports(name string, reconcile kube.Reconcile) *kube.Queue {
	return kube.NewQueue(kube.QueueOptions{
		Name: name, Reconcile: reconcile, Log: c.Log, Workers: 2, Window: reportWindow, Observe: c.Observe(name),
	})
}

// run works until ctx ends.
func (c *controller) run(ctx context.Context) {
	// The watches have delivered their first lists: nothing is decided before
	// all of them are in the graph.
	c.apply(c.feed.drain())
	c.started.Store(true)
	c.Metrics.report(c.snapshot)
	if c.Debug != nil {
		c.Debug.source.Store(c)
	}
	var running sync.WaitGroup
	running.Go(func() { c.write(ctx) })
	running.Go(func() { c.worker().Run(ctx, max(c.Parallel, 1)) })
	running.Go(func() { c.bundleReports.Run(ctx) })
	running.Go(func() { c.repoReports.Run(ctx) })
	running.Go(func() { c.joins.registrations.Run(ctx) })
	running.Go(func() { c.joins.tokens.Run(ctx) })
	running.Wait()
}

// do does one task. A positive duration has it done again after that time.
func (c *controller) do(ctx context.Context, t task) (time.Duration, error) {
	switch t.kind {
	case taskBundle:
		return 0, c.collectBundle(ctx, t.key)
	case taskRelease:
		return 0, c.collectRemoved(ctx, t.key)
	case taskRepo:
		return 0, c.collectRepo(ctx, t.key)
	case taskHelmOp:
		return 0, c.collectHelmOp(ctx, t.key)
	case taskCluster:
		return 0, c.unregister(ctx, t.key)
	case taskNamespace:
		return 0, c.sweep(ctx, t.key)
	case taskContent:
		return c.collectContent(ctx, t.key)
	case taskSecret:
		return c.collectSecret(ctx, t.key)
	}
	return 0, nil
}

// departed notes that a deployment is gone.
func (c *controller) departed(id ownership.ID, now time.Time) {
	if took, due := c.departures.end(id, now); due {
		c.Metrics.departed(took)
	}
}

// snapshot is the state that gauges tell.
func (c *controller) snapshot() snapshot {
	s := snapshot{}
	s.waiting, s.oldest = c.queue.lanes.waiting()
	held, orphans := c.ledgers.totals()
	s.held = map[ownership.Kind]int{ownership.KindDeployment: held, ownership.KindBundle: c.folders.total()}
	s.orphans = map[ownership.Kind]int{ownership.KindDeployment: orphans, ownership.KindBundle: 0}
	c.graphs.RLock()
	defer c.graphs.RUnlock()
	s.nodes = c.graph.Len()
	for id, state := range c.graph.Nodes(ownership.KindBundle) {
		if owner, ok := c.graph.Ref(id, ownership.KindGitRepo); ok && state == ownership.Present && c.graph.State(owner) == ownership.Absent {
			s.orphans[ownership.KindBundle]++
		}
	}
	return s
}
