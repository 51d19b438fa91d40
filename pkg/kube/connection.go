package kube

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	lassocache "github.com/rancher/lasso/pkg/cache"
	"github.com/rancher/lasso/pkg/client"
	"github.com/sirupsen/logrus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// neverResync is the resync period of every cache. Lasso reads zero as ten
// hours, so "never" has to be spelled as a long time; events alone wake keys.
const neverResync = 100 * 365 * 24 * time.Hour

// Options of a Connection.
type Options struct {
	// UserAgent names the program in the API server's audit log and metrics.
	UserAgent string
	// Namespace limits every cache to one namespace; empty means all.
	Namespace string
	// Selectors limits the caches of single kinds by label or field.
	Selectors map[schema.GroupVersionKind]lassocache.TweakListOptionsFunc
	// LongestReconnect, if set, has watches wait while the API server is away,
	// as Reconnecting says; Log is told when it goes and comes.
	LongestReconnect time.Duration
	Log              logrus.FieldLogger
}

// Connection is the set of clients and shared caches for one API server.
type Connection struct {
	// Config is the configuration that every client of the connection uses.
	// Its own throttle is off: the API server's priority and fairness decides.
	Config *rest.Config
	// Kubernetes is the typed client for built-in kinds.
	Kubernetes kubernetes.Interface
	// Scheme knows the built-in kinds and Fleet's.
	Scheme *runtime.Scheme
	// Load is the writes that others yield to.
	Load Load

	clients client.SharedClientFactory
	opts    Options

	mu      sync.Mutex
	started bool
	synced  map[string]cache.InformerSynced
	caches  map[schema.GroupVersionKind]cache.SharedIndexInformer
}

// NewScheme returns a scheme with the built-in kinds and Fleet's.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering built-in kinds: %w", err)
	}
	if err := fleet.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering %s: %w", fleet.SchemeGroupVersion, err)
	}
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering the metadata of objects: %w", err)
	}
	return scheme, nil
}

// Connect prepares clients and caches for the API server of config. It makes
// no request: an API server that is away shows when the caches start.
func Connect(config *rest.Config, opts Options) (*Connection, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, 0
	if opts.UserAgent != "" {
		config.UserAgent = opts.UserAgent
	}
	if opts.LongestReconnect > 0 {
		config = Reconnecting(config, opts.LongestReconnect, opts.Log)
	}
	scheme, err := NewScheme()
	if err != nil {
		return nil, err
	}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making client: %w", err)
	}
	clients, err := client.NewSharedClientFactory(config, &client.SharedClientFactoryOptions{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("making client factory: %w", err)
	}
	return &Connection{
		Config: config, Kubernetes: typed, Scheme: scheme, clients: clients, opts: opts,
		synced: map[string]cache.InformerSynced{}, caches: map[schema.GroupVersionKind]cache.SharedIndexInformer{},
	}, nil
}

// Start starts the watches of every cache that was taken and returns when all
// of them hold a full list, and every event of those lists was delivered, or
// when ctx ends.
func (c *Connection) Start(ctx context.Context) error {
	c.mu.Lock()
	c.started = true
	synced := make(map[string]cache.InformerSynced, len(c.synced))
	for name, f := range c.synced {
		synced[name] = f
	}
	for _, informer := range c.caches {
		go informer.Run(ctx.Done())
	}
	c.mu.Unlock()

	names := make([]string, 0, len(synced))
	for name := range synced {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if !cache.WaitForCacheSync(ctx.Done(), synced[name]) {
			return fmt.Errorf("waiting for the cache of %s: %w", name, ctx.Err())
		}
	}
	return nil
}

// Synced says whether every cache holds a full list: decisions that a missing
// object could turn must not be made before.
func (c *Connection) Synced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.started {
		return false
	}
	for _, f := range c.synced {
		if !f() {
			return false
		}
	}
	return true
}

// informer returns the shared informer of a kind and has Start wait for it.
// It panics after Start: such a cache would stay empty without a word.
func (c *Connection) informer(r Resource) cache.SharedIndexInformer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if informer := c.caches[r.GVK]; informer != nil {
		return informer
	}
	if c.started {
		panic(fmt.Sprintf("kube: cache of %s taken after Start", r.GVK))
	}
	obj, list, err := c.clients.NewObjects(r.GVK)
	if err != nil {
		panic(fmt.Sprintf("kube: no informer for %s: %v", r.GVK, err))
	}
	// Not from lasso's factory of caches: its caches stop listing after one list that failed until the API server answers a
	// question of another kind, which is asked every 15 s, whether or not anybody still wants to know.
	informer := lassocache.NewCache(obj, list, c.clients.ForResourceKind(r.gvr(), r.GVK.Kind, r.Namespaced), &lassocache.Options{
		Namespace: c.opts.Namespace, Resync: neverResync, TweakList: c.opts.Selectors[r.GVK],
	})
	if err := informer.SetTransform(r.transform); err != nil {
		panic(fmt.Sprintf("kube: transform for %s: %v", r.GVK, err))
	}
	c.caches[r.GVK] = informer
	c.synced[r.GVK.String()] = informer.HasSynced
	return informer
}

// awaitHandler has Start and Synced wait for one event handler as well.
func (c *Connection) awaitHandler(name string, f cache.InformerSynced) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.synced[fmt.Sprintf("%s handler %d", name, len(c.synced))] = f
}
