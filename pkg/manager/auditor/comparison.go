package auditor

import (
	"context"
	"fmt"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// Cache is what the manager holds of one kind, and how to ask the API server for the same. Versions are
// resourceVersions; that of an object which is not there is empty.
type Cache struct {
	Kind   string
	cached func(kube.Key) (version string, err error)
	keys   func() ([]kube.Key, error)
	list   func(ctx context.Context, each func(key kube.Key, version string)) error
	live   func(ctx context.Context, key kube.Key) (version string, err error)
}

// pageSize is how many objects one request of a list asks for.
const pageSize = 500

// CacheOf returns the cache of a kind. It must be called before the connection is started.
func CacheOf[T kube.Object, L runtime.Object](kind *kube.Kind[T, L]) Cache {
	cache, versions := kind.Cache(), kind.Versions()
	return Cache{
		Kind: kind.Resource.GVK.Kind,
		cached: func(key kube.Key) (string, error) {
			obj, err := cache.Get(key.Namespace, key.Name)
			if apierrors.IsNotFound(err) {
				return "", nil
			}
			if err != nil {
				return "", err
			}
			return obj.GetResourceVersion(), nil
		},
		keys: func() ([]kube.Key, error) {
			all, err := cache.List("", labels.Everything())
			return kube.KeysOf(all), err
		},
		list: func(ctx context.Context, each func(kube.Key, string)) error {
			return versions.Each(ctx, pageSize, each)
		},
		live: versions.Of,
	}
}

// comparison holds the cache of one kind against the API server.
type comparison struct {
	Cache
	metrics *Metrics
	log     logrus.FieldLogger
	// differing are objects whose state in the cache was not that of the list; outdated are those of them that were behind
	// at the second look, by the version that the cache had.
	differing map[kube.Key]bool
	outdated  map[kube.Key]string
}

// maxLive bounds how many objects are read one by one. More than that differ only if nothing is right any more, and
// then these few say enough.
const maxLive = 1000

func (c *comparison) look(ctx context.Context) error {
	c.reset()
	there := map[kube.Key]bool{}
	var failed error
	err := c.list(ctx, func(key kube.Key, version string) {
		there[key] = true
		cached, err := c.cached(key)
		if err != nil {
			failed = err
		}
		if cached != version {
			c.note(key)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("listing %s: %w", c.Kind, err)
	}
	keys, err := c.keys()
	if err != nil {
		return fmt.Errorf("listing the cache of %s: %w", c.Kind, err)
	}
	for _, key := range keys {
		if !there[key] {
			c.note(key)
		}
	}
	return nil
}

func (c *comparison) note(key kube.Key) {
	if len(c.differing) < maxLive {
		c.differing[key] = true
	}
}

// confirm asks, at the second look, what the API server has now; at the third, a cache that has not moved from a state
// that was outdated then has missed something.
func (c *comparison) confirm(ctx context.Context) error {
	for key, before := range c.outdated {
		delete(c.outdated, key)
		cached, err := c.cached(key)
		if err != nil {
			return fmt.Errorf("reading the cache of %s: %w", c.Kind, err)
		}
		if cached != before {
			continue
		}
		c.metrics.missed(c.Kind)
		c.log.WithFields(logrus.Fields{"namespace": key.Namespace, "name": key.Name, "resourceVersion": before}).
			Error("The watch has missed a change: restart the manager, and report this as a bug")
	}
	for key := range c.differing {
		delete(c.differing, key)
		cached, err := c.cached(key)
		if err != nil {
			return fmt.Errorf("reading the cache of %s: %w", c.Kind, err)
		}
		live, err := c.live(ctx, key)
		if err != nil {
			return fmt.Errorf("reading %s %s: %w", c.Kind, key, err)
		}
		if live != cached {
			c.outdated[key] = cached
		}
	}
	return nil
}

func (c *comparison) open() bool { return len(c.differing)+len(c.outdated) > 0 }

func (c *comparison) reset() {
	c.differing, c.outdated = map[kube.Key]bool{}, map[kube.Key]string{}
}
