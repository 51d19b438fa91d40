package gitrepos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/source"
)

// pruneWindow is the shortest time between two looks at the mirrors on disk.
const pruneWindow = 5 * time.Second

// uses notes what a GitRepo's repository is asked with. The mirror of another
// address or credential, which it was asked with before, may have no user left.
func (c *controller) uses(key kube.Key, request source.Request) {
	c.mu.Lock()
	before, known := c.requests[key]
	c.requests[key] = request
	c.mu.Unlock()
	if !known || before.Identity() != request.Identity() {
		c.prune.Coalesce(kube.Key{})
	}
}

// pruneMirrors removes the mirrors that no GitRepo uses. Before every GitRepo
// was looked at, nobody knows which these are.
func (c *controller) pruneMirrors(context.Context, kube.Key) (time.Duration, error) {
	repos, err := c.gitrepos.List("", labels.Everything())
	if err != nil {
		return 0, fmt.Errorf("listing gitrepos: %w", err)
	}
	c.mu.Lock()
	looked := !slices.ContainsFunc(kube.KeysOf(repos), func(key kube.Key) bool { _, ok := c.states[key]; return !ok })
	keep := slices.Collect(maps.Values(c.requests))
	c.mu.Unlock()
	if !looked {
		return 0, nil // The last one to be looked at asks again.
	}
	again, err := c.Mirrors.Prune(keep)
	if err != nil {
		return 0, fmt.Errorf("removing mirrors that nobody uses: %w", err)
	}
	return again, nil
}
