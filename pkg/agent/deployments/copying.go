package deployments

import (
	"maps"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/flotilla-gitops/flotilla/pkg/drift"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// copying is what is remembered of the copies of a deployment.
type copying struct {
	// versions are those that the copies had when they were provided. One that is not in it is to be looked at.
	versions map[release.CopyKey]string
	// gone are copies that went since they began to be provided.
	gone map[release.CopyKey]bool
	// ignored are copies that bear the mark of the deployment and are not taken for its own.
	ignored map[release.CopyKey]bool
	// bout is the struggle with whoever changes them back, or with what hinders; it is about these inputs.
	bout   drift.Bout
	inputs string
	// problem says what went wrong last.
	problem string
}

func (c *copying) ignore(key release.CopyKey) {
	if c.ignored == nil {
		c.ignored = map[release.CopyKey]bool{}
	}
	c.ignored[key] = true
}

// see returns what is known of the copies of a deployment. wrote are the
// versions that the agent wrote last, for whichever deployment.
func (c *copying) see(held []release.HeldCopy, wanted []release.CopyKey, wrote map[release.CopyKey]string) CopiesSeen {
	seen := CopiesSeen{Due: c.bout.Due(), Problem: c.problem}
	current := map[release.CopyKey]string{}
	for _, h := range held {
		current[h.Key] = h.Version
		if !c.ignored[h.Key] {
			seen.Held = append(seen.Held, h)
		}
	}
	for _, key := range wanted {
		known, ok := c.versions[key]
		version, is := current[key]
		// What is not there yet, or is older, is on its way to be seen: that it went is an event.
		if !ok || is && version != known && version != wrote[key] && !older(version, known) {
			seen.Unseen = true
		}
	}
	return seen
}

func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// providing notes that the copies of a deployment begin to be provided.
func (m *memory) providing(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(name).copying.gone = nil
}

// provided notes copies as they were provided. Those that went meanwhile are to
// be looked at again.
func (m *memory) provided(name string, versions map[release.CopyKey]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.of(name)
	r.copying.versions = maps.Clone(versions)
	for key, version := range versions {
		m.wrote[key] = version
	}
	for key := range r.copying.gone {
		delete(r.copying.versions, key)
	}
}

// copyChanged notes an event of a copy that a deployment has. It is false if
// that is no news.
func (m *memory) copyChanged(name string, e release.CopyEvent) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Version == "" {
		delete(m.wrote, e.Key)
	}
	r := m.byName[name]
	if r == nil {
		return true
	}
	known, ok := r.copying.versions[e.Key]
	if e.Version != "" {
		return !ok || known != e.Version && m.wrote[e.Key] != e.Version
	}
	if r.copying.gone == nil {
		r.copying.gone = map[release.CopyKey]bool{}
	}
	r.copying.gone[e.Key] = true
	delete(r.copying.versions, e.Key)
	return ok
}
