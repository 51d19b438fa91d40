// Package garbagecollector deletes what has lost its reason to exist. It is
// the only place on the hub that deletes what Flotilla made.
//
// Caches propose: events wake an owner, and the objects that it no longer
// justifies become candidates. The API server disposes: before anything goes,
// every cause of the decision is read once more from the API server, the
// decision is made again from that, and the delete carries the UID and the
// resourceVersion of what was decided about. What is not known is kept.
package garbagecollector

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
)

// Deps is what the garbage collector needs.
type Deps struct {
	Hub      *kube.Hub
	Recorder kube.Recorder
	Log      logrus.FieldLogger
	Clock    clock.PassiveClock
	Metrics  *Metrics
	// ContentGrace is how long a Content that nothing refers to is kept.
	ContentGrace time.Duration
	// Parallel is how many objects of one owner are deleted at once.
	Parallel int
	// Observe, if set, is told of every reconcile.
	Observe func(controller string) func(time.Duration, error)
}

type controller struct {
	Deps
	gitrepos    generic.CacheInterface[*fleet.GitRepo]
	bundles     generic.CacheInterface[*fleet.Bundle]
	deployments generic.CacheInterface[*fleet.BundleDeployment]
	contents    generic.CacheInterface[*fleet.Content]
	clusters    generic.CacheInterface[*fleet.Cluster]
	groups      generic.CacheInterface[*fleet.ClusterGroup]
	mappings    generic.CacheInterface[*fleet.BundleNamespaceMapping]
	namespaces  generic.CacheInterface[*corev1.Namespace]
	secrets     generic.CacheInterface[*corev1.Secret]

	// One queue per owner, so that a bundle that fails keeps no other waiting.
	bundleQueue, releaseQueue, repoQueue, clusterQueue, contentQueue, secretQueue *kube.Queue
}

// Register prepares the garbage collector; it works until ctx ends once the
// returned function is called. That must not be before every cache is synced.
func Register(deps Deps) (run func(ctx context.Context)) {
	hub := deps.Hub
	c := &controller{
		Deps:        deps,
		gitrepos:    hub.GitRepos.Cache(),
		bundles:     hub.Bundles.Cache(),
		deployments: hub.BundleDeployments.Cache(),
		contents:    hub.Contents.Cache(),
		clusters:    hub.Clusters.Cache(),
		groups:      hub.ClusterGroups.Cache(),
		mappings:    hub.BundleNamespaceMappings.Cache(),
		namespaces:  hub.Namespaces.Cache(),
		secrets:     hub.Secrets.Cache(),
	}
	c.bundleQueue = c.queue("gc-bundles", c.collectDeployments)
	c.releaseQueue = c.queue("gc-releases", c.release)
	c.repoQueue = c.queue("gc-gitrepos", c.collectBundles)
	c.clusterQueue = c.queue("gc-clusters", c.unregister)
	c.contentQueue = c.queue("gc-contents", c.collectContent)
	c.secretQueue = c.queue("gc-secrets", c.collectSecret)
	c.wake()
	return func(ctx context.Context) {
		var queues sync.WaitGroup
		for _, q := range []*kube.Queue{c.bundleQueue, c.releaseQueue, c.repoQueue, c.clusterQueue, c.contentQueue, c.secretQueue} {
			queues.Go(func() { q.Run(ctx) })
		}
		queues.Wait()
	}
}

func (c *controller) queue(name string, reconcile kube.Reconcile) *kube.Queue {
	return kube.NewQueue(kube.QueueOptions{
		Name: name, Reconcile: reconcile, Log: c.Log, Workers: 8, Observe: c.Observe(name),
	})
}
