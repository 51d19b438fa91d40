package deployments

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

const (
	// maxContent is the size that a content may have when it is unpacked.
	maxContent = 64 << 20
	// maxCached is the size of the unpacked contents that are kept.
	maxCached = 32 << 20
)

// contents reads contents from the hub and keeps the last ones: an attempt
// that failed is repeated with the same content.
type contents struct {
	hub ContentReader

	mu     sync.Mutex
	size   int
	byName map[string]*list.Element
	recent *list.List // the front was used last
}

type cachedContent struct {
	name      string
	size      int
	resources []fleet.BundleResource
}

func newContents(hub ContentReader) *contents {
	return &contents{hub: hub, byName: map[string]*list.Element{}, recent: list.New()}
}

// get returns the resources of a content. The name is a digest of what it
// holds, and whoever knows it can read that, so it appears in no message.
func (c *contents) get(ctx context.Context, name string) ([]fleet.BundleResource, error) {
	if known, ok := c.cached(name); ok {
		return known, nil
	}
	content, err := c.hub.Get(ctx, "", name)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("the content of the bundle is not on the hub any more: change the bundle, or force an update, to have it written again")
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("the agent may not read the content of the bundle on the hub: import the cluster again")
	case err != nil:
		return nil, &HubError{Op: "reading the content of the bundle", Err: err}
	}
	resources, err := bundle.Open(content, maxContent)
	if err != nil {
		return nil, fmt.Errorf("reading the content of the bundle: %w", err)
	}
	c.keep(name, resources)
	return resources, nil
}

func (c *contents) cached(name string) ([]fleet.BundleResource, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.byName[name]
	if !ok {
		return nil, false
	}
	c.recent.MoveToFront(element)
	return element.Value.(*cachedContent).resources, true
}

func (c *contents) keep(name string, resources []fleet.BundleResource) {
	size := 0
	for _, r := range resources {
		size += len(r.Name) + len(r.Content)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byName[name]; ok || size > maxCached {
		return
	}
	c.byName[name] = c.recent.PushFront(&cachedContent{name: name, size: size, resources: resources})
	for c.size += size; c.size > maxCached; {
		oldest := c.recent.Remove(c.recent.Back()).(*cachedContent)
		delete(c.byName, oldest.name)
		c.size -= oldest.size
	}
}

// HubError says that the hub did not answer a request. The text of the cause
// is left out: it would name what was asked for.
type HubError struct {
	Op  string
	Err error
}

func (e *HubError) Error() string { return e.Op + ": the hub does not answer" }

// Unwrap returns the cause.
func (e *HubError) Unwrap() error { return e.Err }
