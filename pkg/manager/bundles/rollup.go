package bundles

import (
	"maps"
	"slices"
	"sync"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// rollups remember, for every bundle, what its status follows from beside its
// deployments.
type rollups struct {
	mu      sync.Mutex
	bundles map[kube.Key]*rollup
}

type rollup struct {
	outcome outcome
	targets map[string]status.Target
}

func newRollups() *rollups { return &rollups{bundles: map[kube.Key]*rollup{}} }

// expect tells what the targets of the bundle are: those that are new or
// differ, and the clusters ("namespace/name") that are targets no more.
func (r *rollups) expect(bundle kube.Key, changed []status.Target, gone []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.of(bundle)
	for _, t := range changed {
		known.targets[t.Cluster] = t
	}
	for _, cluster := range gone {
		delete(known.targets, cluster)
	}
}

// conclude tells what the last reconcile of the bundle came to.
func (r *rollups) conclude(bundle kube.Key, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(bundle).outcome = o
}

// forget drops what is known of a bundle.
func (r *rollups) forget(bundle kube.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.bundles, bundle)
}

// get returns what is known of a bundle.
func (r *rollups) get(bundle kube.Key) (outcome, []status.Target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.of(bundle)
	targets := make([]status.Target, 0, len(known.targets))
	for _, cluster := range slices.Sorted(maps.Keys(known.targets)) {
		targets = append(targets, known.targets[cluster])
	}
	return known.outcome, targets
}

func (r *rollups) of(bundle kube.Key) *rollup {
	known, ok := r.bundles[bundle]
	if !ok {
		known = &rollup{targets: map[string]status.Target{}}
		r.bundles[bundle] = known
	}
	return known
}
