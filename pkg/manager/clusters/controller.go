// Package clusters gives every Cluster its place on the hub and, where the Cluster says how, its agent.
//
// The place is the cluster namespace, with the identity of the agent and exactly the access that the agent needs. A
// Cluster with a kubeconfig is imported: its agent is installed downstream with a token that is renewed in time. The
// status of a Cluster is rolled up from its deployments and from what acting on it came to.
//
// A Cluster whose agent has joined by itself gets its agent as a deployment of its own, once the agent says that it may.
//
// The controller deletes nothing on the hub. When a Cluster is deleted, the garbage collector takes its access away.
package clusters

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// Deps is what the controller needs.
type Deps struct {
	Hub      *kube.Hub
	Recorder kube.Recorder
	Log      logrus.FieldLogger
	Clock    clock.PassiveClock
	// Secrets tells which Secrets of users have changed.
	Secrets Changes
	// AgentURL and AgentCA (PEM) are the address of the hub for agents; those of Hub where empty. The Secret of a Cluster
	// may say otherwise.
	AgentURL string
	AgentCA  []byte
	// AgentImage is the image of the agents that are installed.
	AgentImage string
	// Observe is told of every reconcile.
	Observe func(controller string) func(time.Duration, error)
	// Account, if set, is given how to count the status of clusters anew.
	Account func(kube.Account)
}

// Changes tells of objects that have appeared, changed or gone.
type Changes interface {
	OnChange(f func(kube.Key))
}

type controller struct {
	Deps
	hub         kube.Applier
	downstream  func(*rest.Config) (kube.Applier, error)
	address     kube.Address
	clusters    generic.CacheInterface[*fleet.Cluster]
	deployments generic.CacheInterface[*fleet.BundleDeployment]
	namespaces  generic.CacheInterface[*corev1.Namespace]
	contents    kube.Contents

	// access gives clusters their place on the hub; imports installs agents; status rolls up. Importing waits for
	// clusters that may be far away, so it has workers of its own and keeps nothing else waiting.
	access, imports, status *kube.Queue

	rollups rollups
	told    kube.Echoes[fleet.ClusterStatus]

	shared shared
	beats  heartbeats
	// watching is since when heartbeats are noted.
	watching time.Time

	mu       sync.Mutex
	outcomes map[kube.Key]outcome
	// owners holds, by the name of the namespace that it needs, every cluster.
	owners map[string]kube.Key
}

const (
	// accessWorkers mostly wait for the API server, too: a hub may get many clusters at once.
	accessWorkers = 32
	// importWorkers is generous: they mostly wait, and clusters that do not answer must not keep others waiting.
	importWorkers = 256
	// statusWorkers are fewer: a status says only what was done. They yield to deployments altogether.
	statusWorkers = 8
)

// Register prepares the controller; it works until ctx ends once the returned function is called. That must not be
// before every cache is synced.
func Register(deps Deps) (run func(ctx context.Context)) {
	c := &controller{
		Deps: deps,
		// Hub has clients of this very configuration, so another cannot fail.
		hub:         kube.Applier{Client: dynamic.NewForConfigOrDie(deps.Hub.Config)},
		downstream:  connect,
		address:     kube.Address{URL: deps.AgentURL, CA: deps.AgentCA}.Or(kube.AddressOf(deps.Hub.Config)),
		clusters:    deps.Hub.Clusters.Cache(),
		deployments: deps.Hub.BundleDeployments.Cache(),
		namespaces:  deps.Hub.Namespaces.Cache(),
		contents:    kube.NewContents(deps.Hub),
		owners:      map[string]kube.Key{},
		beats:       newHeartbeats(),
		watching:    deps.Clock.Now(),
		outcomes:    map[kube.Key]outcome{},
		rollups:     rollups{namespaces: map[string]*status.ClusterRollup{}},
	}
	c.access = c.queue(kube.QueueOptions{Name: "clusters", Workers: accessWorkers, Reconcile: c.grant})
	c.imports = c.queue(kube.QueueOptions{Name: "clusters-import", Workers: importWorkers, Reconcile: c.bringAgent})
	c.status = c.queue(kube.QueueOptions{
		Name: "clusters-status", Workers: statusWorkers, Reconcile: c.report, MaxWindow: maxStatusWindow, Rate: statusRate, YieldTo: &deps.Hub.Load,
	})
	c.wake()
	if deps.Account != nil {
		deps.Account(c.account())
	}
	return func(ctx context.Context) {
		var queues sync.WaitGroup
		for _, q := range []*kube.Queue{c.access, c.imports, c.status} {
			queues.Go(func() { q.Run(ctx) })
		}
		queues.Wait()
	}
}

func (c *controller) queue(options kube.QueueOptions) *kube.Queue {
	options.Log, options.Observe = c.Log, c.Observe(options.Name)
	options.MinBackoff, options.MaxBackoff = 200*time.Millisecond, time.Minute
	return kube.NewQueue(options)
}

// grant gives the cluster its place on the hub.
func (c *controller) grant(ctx context.Context, key kube.Key) (time.Duration, error) {
	cluster, err := c.cluster(key)
	if err != nil || cluster == nil || cluster.DeletionTimestamp != nil {
		return 0, err
	}
	c.own(cluster)
	err = c.place(ctx, cluster)
	c.conclude(ctx, cluster, err, func(o outcome) outcome { return o.placed(cluster, err) })
	if err == nil {
		c.imports.Wake(key)
	}
	return 0, settled(err)
}

// place makes what the cluster needs on the hub.
func (c *controller) place(ctx context.Context, cluster *fleet.Cluster) error {
	if err := c.ensureShared(ctx); err != nil {
		return fmt.Errorf("preparing the access of agents: %w", err)
	}
	if err := c.ensureFinalizer(ctx, cluster); err != nil {
		return err
	}
	namespace, err := c.ensureNamespace(ctx, cluster)
	if err != nil {
		return err
	}
	return c.ensureAccess(ctx, cluster, namespace)
}

// bringAgent installs the agent of a cluster that says how it is reached, and renews the agent's token in time.
func (c *controller) bringAgent(ctx context.Context, key kube.Key) (time.Duration, error) {
	cluster, err := c.cluster(key)
	if err != nil || cluster == nil || cluster.DeletionTimestamp != nil || !hasAgent(cluster) {
		return 0, err
	}
	if c.outcomeOf(key).namespaceOf(cluster) == "" {
		// Once there is a place for it, this is woken again.
		return 0, nil
	}
	if joined(cluster) {
		next, err := c.ensureJoined(ctx, cluster)
		var installed *installation
		if err == nil {
			installed, err = c.ensureDelivery(ctx, cluster)
		}
		c.conclude(ctx, cluster, err, func(o outcome) outcome { return o.joined(cluster, installed, err) })
		return next, err
	}
	if _, err := c.ensureDelivery(ctx, cluster); err != nil {
		return 0, err
	}
	next, installed, err := c.ensureAgent(ctx, cluster)
	c.conclude(ctx, cluster, err, func(o outcome) outcome { return o.brought(cluster, installed, err) })
	return next, err
}

// ensureAgent returns after how much time the agent's token is to be renewed, and what the agent's settings are.
func (c *controller) ensureAgent(ctx context.Context, cluster *fleet.Cluster) (time.Duration, *installation, error) {
	facts, err := c.observeImport(ctx, cluster)
	if err != nil {
		return 0, nil, err
	}
	config, wrong := downstreamConfig(facts.kubeconfig)
	if wrong != nil {
		return 0, nil, wrong
	}
	token, err := c.ensureCredential(ctx, cluster, facts.credential, facts.now)
	if err != nil {
		return 0, nil, err
	}
	manifests, digest, err := facts.plan(token, config.Host)
	if err != nil {
		return 0, nil, err
	}
	if token.Delivered != digest {
		if err := c.deliver(ctx, config, manifests); err != nil {
			return 0, nil, err
		}
		token.Delivered, token.Namespace = digest, agentNamespace(cluster)
		if err := c.keepCredential(ctx, cluster, token); err != nil {
			return 0, nil, err
		}
		c.Log.WithFields(logrus.Fields{"cluster": kube.KeyOf(cluster).String(), "server": redacted(config.Host)}).Info("Installed agent")
	}
	return token.Renew.Sub(facts.now), installationOf(cluster, facts.hub), nil
}

// joined says whether the agent of the cluster registered itself, so that it fetches its token where it is kept.
func joined(cluster *fleet.Cluster) bool {
	return cluster.Spec.KubeConfigSecret == "" && cluster.Annotations[names.AnnotationRegistered] != ""
}

// hasAgent says whether the cluster's agent gets its token from here.
func hasAgent(cluster *fleet.Cluster) bool {
	return cluster.Spec.KubeConfigSecret != "" || joined(cluster)
}

// ensureJoined keeps the token of an agent that registered itself, and returns after how much time it is to be renewed.
func (c *controller) ensureJoined(ctx context.Context, cluster *fleet.Cluster) (time.Duration, error) {
	now := c.Clock.Now()
	have, err := c.credential(ctx, cluster)
	if err != nil {
		return 0, err
	}
	token, err := c.ensureCredential(ctx, cluster, have, now)
	if err != nil {
		return 0, err
	}
	if c.AgentURL != "" && !token.Hub.Is(c.address) {
		token.Hub = c.address
		if err := c.keepCredential(ctx, cluster, token); err != nil {
			return 0, err
		}
	}
	return token.Renew.Sub(now), nil
}
