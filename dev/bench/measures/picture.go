package measures

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/gauge"
	"github.com/flotilla-gitops/flotilla/dev/bench/stream"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// facts are what is known of the hub, from its watches.
type facts struct {
	// deployments counts those that are there, also while they are being removed, by bundle.
	deployments map[string]int
	// bundles and clusters are their latest states, by name.
	bundles  map[string]*fleet.Bundle
	clusters map[string]*fleet.Cluster
}

// says tells whether the status of a bundle is about its latest generation, and right: it counts so many deployments and, unless
// ready is negative, so many of them as ready, and as many are there.
func (f *facts) says(bundle string, desired, ready int) bool {
	b := f.bundles[bundle]
	if b == nil || b.Status.ObservedGeneration != b.Generation || f.deployments[bundle] != desired {
		return false
	}
	summary := b.Status.Summary
	return summary.DesiredReady == desired && summary.Pending == 0 && (ready < 0 || summary.Ready == ready) &&
		!status.IsTrue(b.Status.Conditions, fleet.ConditionRemoving)
}

// generation tells whether a bundle has been seen at a generation, or a later one.
func (f *facts) generation(bundle string, at int64) bool {
	b := f.bundles[bundle]
	return b != nil && b.Generation >= at
}

// picture keeps facts up to date, and knows when each of them came about.
type picture struct {
	stop     context.CancelFunc
	watching sync.WaitGroup

	mu    sync.Mutex
	facts facts
	// last is when the last event came.
	last     time.Time
	awaiting map[*await]bool
	err      error
	failed   chan struct{}
}

// await is a condition that somebody waits for.
type await struct {
	holds func(*facts) bool
	since chan time.Time
}

// watch draws a picture of the hub until it is closed.
func (r *Run) watch(ctx context.Context) *picture {
	ctx, stop := context.WithCancel(ctx)
	p := newPicture()
	p.stop = stop
	for resource, see := range map[string]func(stream.Event) error{
		"bundledeployments": p.seeDeployment, "bundles": p.seeBundle, "clusters": p.seeCluster,
	} {
		p.watching.Go(func() {
			err := stream.Watch(ctx, r.hub.REST(), fleet.SchemeGroupVersion.WithResource(resource), func(e stream.Event) {
				if err := see(e); err != nil {
					p.fail(fmt.Errorf("decoding one of %s: %w", resource, err))
				}
			})
			if err != nil {
				p.fail(err)
			}
		})
	}
	return p
}

func newPicture() *picture {
	return &picture{
		stop: func() {}, awaiting: map[*await]bool{}, failed: make(chan struct{}),
		facts: facts{deployments: map[string]int{}, bundles: map[string]*fleet.Bundle{}, clusters: map[string]*fleet.Cluster{}},
	}
}

func (p *picture) close() {
	p.stop()
	p.watching.Wait()
}

func (p *picture) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.failed)
	}
}

func (p *picture) seeDeployment(e stream.Event) error {
	if e.Type == stream.Modified {
		p.note(func(*facts) {})
		return nil
	}
	var bd struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(e.Object, &bd); err != nil {
		return err
	}
	bundle := bd.Metadata.Labels[names.LabelBundleName]
	p.note(func(f *facts) {
		if e.Type == stream.Deleted {
			f.deployments[bundle]--
		} else {
			f.deployments[bundle]++
		}
	})
	return nil
}

func (p *picture) seeBundle(e stream.Event) error {
	b := &fleet.Bundle{}
	if err := json.Unmarshal(e.Object, b); err != nil {
		return err
	}
	p.note(func(f *facts) {
		if e.Type == stream.Deleted {
			delete(f.bundles, b.Name)
		} else {
			f.bundles[b.Name] = b
		}
	})
	return nil
}

func (p *picture) seeCluster(e stream.Event) error {
	c := &fleet.Cluster{}
	if err := json.Unmarshal(e.Object, c); err != nil {
		return err
	}
	p.note(func(f *facts) {
		if e.Type == stream.Deleted {
			delete(f.clusters, c.Name)
		} else {
			f.clusters[c.Name] = c
		}
	})
	return nil
}

// note changes the facts and looks which conditions hold now.
func (p *picture) note(change func(*facts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.facts)
	p.last = time.Now()
	for a := range p.awaiting {
		if a.holds(&p.facts) {
			delete(p.awaiting, a)
			a.since <- p.last
		}
	}
}

// expect begins to wait for a condition. It is looked at with every event from now on, and right now.
func (p *picture) expect(holds func(*facts) bool) *await {
	a := &await{holds: holds, since: make(chan time.Time, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if holds(&p.facts) {
		a.since <- time.Now()
	} else {
		p.awaiting[a] = true
	}
	return a
}

// when returns since when the condition holds, waiting until it does. It gives up when nothing happens any more.
func (p *picture) when(ctx context.Context, a *await) (time.Time, error) {
	for began := time.Now(); ; {
		timer := time.NewTimer(gauge.Stall - p.stillFor(began))
		select {
		case at := <-a.since:
			timer.Stop()
			return at, nil
		case <-p.failed:
			timer.Stop()
			return time.Time{}, p.err
		case <-ctx.Done():
			timer.Stop()
			return time.Time{}, ctx.Err()
		case <-timer.C:
			if p.stillFor(began) >= gauge.Stall {
				return time.Time{}, fmt.Errorf("it does not come, and nothing has happened for %s: %s", gauge.Stall, p.describe())
			}
		}
	}
}

// stillFor returns for how long no event has come, but no longer than since began.
func (p *picture) stillFor(began time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.After(began) {
		began = p.last
	}
	return time.Since(began)
}

// describe says what is known, for an error.
func (p *picture) describe() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(p.facts.bundles)) {
		b := p.facts.bundles[name]
		lines = append(lines, fmt.Sprintf("%s: %d deployments, generation %d, says %d/%d at %d", name,
			p.facts.deployments[name], b.Generation, b.Status.Summary.Ready, b.Status.Summary.DesiredReady, b.Status.ObservedGeneration))
	}
	const most = 12
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d more bundles", len(lines)-most))
	}
	return strings.Join(lines, "; ")
}

// settle returns when no event has come for so long.
func (p *picture) settle(ctx context.Context, quiet time.Duration) error {
	for {
		p.mu.Lock()
		left := time.Until(p.last.Add(quiet))
		p.mu.Unlock()
		if left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-p.failed:
			timer.Stop()
			return p.err
		}
	}
}
