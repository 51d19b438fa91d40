package watchset

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource is a kind of object as the API server serves it.
type Resource = schema.GroupVersionResource

// counts knows who wants what.
type counts struct {
	byOwner    map[string][]Resource
	byResource map[Resource]map[string]bool
}

func newCounts() *counts {
	return &counts{byOwner: map[string][]Resource{}, byResource: map[Resource]map[string]bool{}}
}

// set makes wanted all that owner wants. It returns the resources that nobody
// wanted before, and those that nobody wants any more.
func (c *counts) set(owner string, wanted []Resource) (started, stopped []Resource) {
	for _, r := range wanted {
		owners := c.byResource[r]
		if owners == nil {
			owners = map[string]bool{}
			c.byResource[r] = owners
			started = append(started, r)
		}
		owners[owner] = true
	}
	for _, r := range c.byOwner[owner] {
		if slices.Contains(wanted, r) {
			continue
		}
		delete(c.byResource[r], owner)
		if len(c.byResource[r]) == 0 {
			delete(c.byResource, r)
			stopped = append(stopped, r)
		}
	}
	if len(wanted) == 0 {
		delete(c.byOwner, owner)
	} else {
		c.byOwner[owner] = slices.Clone(wanted)
	}
	return started, stopped
}

// owners returns who wants a resource.
func (c *counts) owners(r Resource) []string {
	owners := make([]string, 0, len(c.byResource[r]))
	for owner := range c.byResource[r] {
		owners = append(owners, owner)
	}
	slices.Sort(owners)
	return owners
}

// wanted returns what an owner wants.
func (c *counts) wanted(owner string) []Resource { return c.byOwner[owner] }
