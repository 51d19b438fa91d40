package release

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	helmrelease "helm.sh/helm/v3/pkg/release"
)

const (
	// DefaultRenderTimeout is how long the templates of a chart may take where Options do not say.
	DefaultRenderTimeout = time.Minute
	// crdTimeout is how long Helm waits for the CRDs of a chart, which come before its templates.
	crdTimeout = time.Minute
	// renderAlone is how long a rendering keeps others waiting.
	renderAlone = 5 * time.Second
	// maxManifest is the size in bytes that the objects of a chart may have together.
	maxManifest = 32 << 20
)

// errGivenUp is what a rendering ends with that nobody waits for any more.
var errGivenUp = errors.New("the rendering took too long and was given up")

// renderings are the charts that are being rendered. Since nobody else works on
// a release at the same time, one that is found running was given up: nothing can
// stop a template that is being executed.
type renderings struct {
	mu      sync.Mutex
	running map[rendered]*rendering
}

// rendered is what a rendering makes.
type rendered struct {
	release      Key
	deploymentID string
}

// rendering is one that runs.
type rendering struct {
	since time.Time
	// over is closed when it has ended.
	over chan struct{}
}

// of returns the rendering that still runs; nil if there is none.
func (r *renderings) of(what rendered) *rendering {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running[what]
}

func (r *renderings) begin(what rendered, since time.Time) *rendering {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == nil {
		r.running = map[rendered]*rendering{}
	}
	begun := &rendering{since: since, over: make(chan struct{})}
	r.running[what] = begun
	return begun
}

func (r *renderings) end(what rendered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.running[what].over)
	delete(r.running, what)
}

// render runs an action of Helm, which renders the chart before it does
// anything else. If that takes too long it is left behind: the client lets it do
// nothing any more, and the same chart is not rendered again before it has ended.
func (m *Manager) render(
	client *kubeClient, req *Request, chart *chart.Chart, action func() (*helmrelease.Release, error),
) (*helmrelease.Release, error) {
	what := rendered{req.Key, req.Fingerprint}
	if before := m.renderings.of(what); before != nil {
		return nil, fmt.Errorf("the templates of the chart have been executing for %s and are not done: change what they loop over",
			m.clock.Since(before.since).Round(time.Second))
	}
	limit := m.renderTimeout
	if len(chart.CRDObjects()) > 0 {
		limit += crdTimeout
	}
	begun := m.renderings.begin(what, m.clock.Now())
	var release *helmrelease.Release
	var err error
	go func() {
		defer m.renderings.end(what)
		release, err = guarded(action)
	}()
	over := m.within(min(limit, renderAlone), begun.over, client.rendered)
	if !over && limit > renderAlone {
		client.waiting(func() { over = m.within(limit-renderAlone, begun.over, client.rendered) })
	}
	if !over && client.giveUp() {
		m.log.WithField("release", req.Key.String()).Warn("Templates of a chart take too long and are left behind")
		return nil, fmt.Errorf("the templates of the chart took longer than %s: change what they loop over", limit)
	}
	<-begun.over
	return release, err
}

// within waits until one of two things has happened, and says whether one did
// in time.
func (m *Manager) within(limit time.Duration, one, other <-chan struct{}) bool {
	timer := m.clock.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-one:
		return true
	case <-other:
		return true
	case <-timer.C():
		return false
	}
}

// turn is what became of a rendering.
type turn int

const (
	turnRendering turn = iota
	turnRendered
	turnGivenUp
)

// giveUp has the client do nothing for the action any more, unless it has gone
// on from rendering.
func (c *kubeClient) giveUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn != turnRendering {
		return false
	}
	c.turn = turnGivenUp
	return true
}

// goOn notes that the chart is rendered, unless it was given up.
func (c *kubeClient) goOn(manifest string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn == turnGivenUp {
		return errGivenUp
	}
	if size := len(manifest); size > maxManifest {
		return fmt.Errorf("the objects of the chart are %d MiB of text, and %d MiB are possible: split it", size>>20, maxManifest>>20)
	}
	c.target = manifest
	if c.turn == turnRendering {
		c.turn = turnRendered
		close(c.rendered)
	}
	return nil
}
