package release

import (
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/utils/clock"
)

// refreshEvery is the shortest time between two readings of the API's kinds,
// so that many releases that miss a kind do not read them over and over.
const refreshEvery = time.Second

// cluster is what all releases share of the knowledge about the API server:
// its kinds and its version. It is read once, and again when a kind is asked
// for that is not known.
type cluster struct {
	live   discovery.DiscoveryInterface
	cached discovery.CachedDiscoveryInterface
	mapper *restmapper.DeferredDiscoveryRESTMapper
	clock  clock.PassiveClock
	log    logrus.FieldLogger

	mu           sync.Mutex
	refreshed    time.Time
	capabilities *chartutil.Capabilities
}

func newCluster(config *rest.Config, clk clock.PassiveClock, log logrus.FieldLogger) (*cluster, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making discovery client: %w", err)
	}
	cached := memory.NewMemCacheClient(client)
	return &cluster{
		live: client, cached: cached, mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached),
		clock: clk, log: log,
	}, nil
}

// refresh forgets what is known of the API's kinds, at most once per
// refreshEvery. It says whether it did.
func (c *cluster) refresh() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	// A clock that was set back must not keep it from looking.
	if since := now.Sub(c.refreshed); since >= 0 && since < refreshEvery {
		return false
	}
	c.refreshed = now
	c.forget()
	return true
}

// Reset forgets what is known of the API's kinds.
func (c *cluster) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
}

func (c *cluster) forget() {
	c.capabilities = nil
	c.mapper.Reset()
}

// helmCapabilities returns what templates can ask about the API server.
func (c *cluster) helmCapabilities() (*chartutil.Capabilities, error) {
	c.mu.Lock()
	known := c.capabilities
	c.mu.Unlock()
	if known != nil {
		return known.Copy(), nil
	}
	version, err := c.cached.ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("reading API server version: %w", err)
	}
	kinds, err := action.GetVersionSet(c.cached)
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, fmt.Errorf("reading API kinds: %w", err)
	}
	known = &chartutil.Capabilities{
		APIVersions: kinds,
		KubeVersion: chartutil.KubeVersion{Version: version.GitVersion, Major: version.Major, Minor: version.Minor},
		HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
	}
	c.mu.Lock()
	c.capabilities = known
	c.mu.Unlock()
	return known.Copy(), nil
}

// The methods below make cluster a meta.RESTMapper that looks again before it
// says that it does not know a kind.

func retry[T any](c *cluster, ask func() (T, error)) (T, error) {
	answer, err := ask()
	if err != nil && meta.IsNoMatchError(err) && c.refresh() {
		c.log.Debug("Reading the kinds of the API server again")
		return ask()
	}
	return answer, err
}

func (c *cluster) KindFor(resource schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	return retry(c, func() (schema.GroupVersionKind, error) { return c.mapper.KindFor(resource) })
}

func (c *cluster) KindsFor(resource schema.GroupVersionResource) ([]schema.GroupVersionKind, error) {
	return retry(c, func() ([]schema.GroupVersionKind, error) { return c.mapper.KindsFor(resource) })
}

func (c *cluster) ResourceFor(input schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	return retry(c, func() (schema.GroupVersionResource, error) { return c.mapper.ResourceFor(input) })
}

func (c *cluster) ResourcesFor(input schema.GroupVersionResource) ([]schema.GroupVersionResource, error) {
	return retry(c, func() ([]schema.GroupVersionResource, error) { return c.mapper.ResourcesFor(input) })
}

func (c *cluster) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	return retry(c, func() (*meta.RESTMapping, error) { return c.mapper.RESTMapping(gk, versions...) })
}

func (c *cluster) RESTMappings(gk schema.GroupKind, versions ...string) ([]*meta.RESTMapping, error) {
	return retry(c, func() ([]*meta.RESTMapping, error) { return c.mapper.RESTMappings(gk, versions...) })
}

func (c *cluster) ResourceSingularizer(resource string) (string, error) {
	return c.mapper.ResourceSingularizer(resource)
}

var _ meta.ResettableRESTMapper = (*cluster)(nil)
