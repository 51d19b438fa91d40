// Package bundles keeps the deployments of every Bundle at what its targets
// ask for, and the Bundle's status at what its deployments say.
//
// It creates and changes BundleDeployments, Contents and the Secrets of their
// values. It deletes nothing: that is the garbage collector's work alone.
package bundles

import (
	"context"
	"sync"
	"time"

	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
)

// Deps is what the controller needs.
type Deps struct {
	Hub      *kube.Hub
	Recorder kube.Recorder
	Log      logrus.FieldLogger
	Clock    clock.PassiveClock
	// Workers is how many bundles are reconciled at once.
	Workers int
	// Parallel is how many deployments of one bundle are written at once.
	Parallel int
	// Observe, if set, is told of every reconcile.
	Observe func(controller string) func(time.Duration, error)
}

type controller struct {
	Deps
	bundles     generic.CacheInterface[*fleet.Bundle]
	clusters    generic.CacheInterface[*fleet.Cluster]
	groups      generic.CacheInterface[*fleet.ClusterGroup]
	mappings    generic.CacheInterface[*fleet.BundleNamespaceMapping]
	deployments generic.CacheInterface[*fleet.BundleDeployment]
	contents    generic.CacheInterface[*fleet.Content]
	secrets     generic.CacheInterface[*corev1.Secret]
	namespaces  generic.CacheInterface[*corev1.Namespace]

	// targets runs when what a bundle should deploy may have changed; status
	// when what its deployments say has.
	targets, status *kube.Queue

	mu        sync.Mutex
	outcomes  map[kube.Key]outcome
	contentOf map[kube.Key]knownContent
}

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
		contents:    deps.Hub.Contents.Cache(),
		secrets:     deps.Hub.Secrets.Cache(),
		namespaces:  deps.Hub.Namespaces.Cache(),
		outcomes:    map[kube.Key]outcome{},
		contentOf:   map[kube.Key]knownContent{},
	}
	c.targets = kube.NewQueue(kube.QueueOptions{
		Name: "bundles", Reconcile: c.reconcile, Log: deps.Log, Workers: deps.Workers, Observe: deps.Observe("bundles"),
	})
	c.status = kube.NewQueue(kube.QueueOptions{
		Name: "bundles-status", Reconcile: c.report, Log: deps.Log, Workers: deps.Workers, Observe: deps.Observe("bundles-status"),
	})
	c.wake()
	return func(ctx context.Context) {
		var queues sync.WaitGroup
		queues.Go(func() { c.targets.Run(ctx) })
		queues.Go(func() { c.status.Run(ctx) })
		queues.Wait()
	}
}

// reconcile brings the bundle's deployments to its targets.
func (c *controller) reconcile(ctx context.Context, key kube.Key) (time.Duration, error) {
	world, err := c.observe(ctx, key)
	if err != nil {
		c.fail(key, err)
		return 0, err
	}
	if world == nil {
		c.forget(key)
		return 0, nil
	}
	plan := rollout.Next(world.World)
	actErr := c.act(ctx, world, plan)
	c.conclude(key, world, plan, actErr)
	return 0, actErr
}
