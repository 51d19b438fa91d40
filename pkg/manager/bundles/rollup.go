package bundles

import (
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// rollups keep, for every bundle, the sum of its deployments and targets.
// Events and reconciles tell them what changes.
type rollups struct {
	mu      sync.Mutex
	offline status.Offline
	bundles map[kube.Key]*rollup
}

type rollup struct {
	*status.BundleRollup
	outcome outcome
}

func newRollups() *rollups {
	return &rollups{offline: status.Offline{}, bundles: map[kube.Key]*rollup{}}
}

// expect tells what the targets of the bundle are: those that are new or
// differ, and the clusters ("namespace/name") that are targets no more.
func (r *rollups) expect(bundle kube.Key, changed []status.Target, gone []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.of(bundle)
	for _, t := range changed {
		t.Waits = waits(t)
		known.Target(t)
	}
	for _, cluster := range gone {
		known.TargetGone(cluster)
	}
}

// waits says whether the roll-out holds the target back: what runs there is
// older, and meant to be.
func waits(t status.Target) bool {
	return slices.Contains([]rollout.Reason{
		rollout.ReasonPartition, rollout.ReasonMaxUnavailable, rollout.ReasonMaxNew, rollout.ReasonPaused,
	}, rollout.Reason(t.Reason))
}

// conclude tells what the last reconcile of the bundle came to.
func (r *rollups) conclude(bundle kube.Key, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(bundle).outcome = o
}

// forget drops what is known of a bundle beside its deployments.
func (r *rollups) forget(bundle kube.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.bundles[bundle]
	if !ok {
		return
	}
	known.outcome = outcome{}
	for _, t := range known.Targets() {
		known.TargetGone(t.Cluster)
	}
	r.drop(bundle)
}

// deployment tells of a deployment that has come, changed or gone, and returns
// the bundles whose status may show it.
func (r *rollups) deployment(e kube.Event[*fleet.BundleDeployment]) []kube.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	var show []kube.Key
	if e.Old != nil && (e.New == nil || kube.BundleOf(e.Old) != kube.BundleOf(e.New) || kube.ClusterOf(e.Old) != kube.ClusterOf(e.New)) {
		key := kube.BundleOf(e.Old)
		if known, ok := r.bundles[key]; ok && known.DeploymentGone(e.Old) {
			show = append(show, key)
		}
		r.drop(key)
	}
	if e.New != nil {
		if key := kube.BundleOf(e.New); key.Name != "" && r.of(key).Deployment(e.New) {
			show = append(show, key)
		}
	}
	return show
}

// cluster tells of the newest state of a cluster, or that it is gone, and
// returns the bundles whose status may show it, of those that have deployments
// there.
func (r *rollups) cluster(e kube.Event[*fleet.Cluster], on func(cluster kube.Key, bundle func(kube.Key))) []kube.Key {
	if e.New != nil && e.Old != nil && status.OfflineSince(e.Old) == status.OfflineSince(e.New) {
		return nil
	}
	key := kube.KeyOf(e.Object())
	var bundles []kube.Key
	on(key, func(bundle kube.Key) { bundles = append(bundles, bundle) })
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.New == nil && !r.offline.Forget(key.String()) || e.New != nil && !r.offline.Note(e.New) {
		return nil
	}
	var show []kube.Key
	for _, bundle := range bundles {
		if known, ok := r.bundles[bundle]; ok && known.Reached(key.String()) {
			show = append(show, bundle)
		}
	}
	return show
}

// status returns the status that the bundle should have.
func (r *rollups) status(b *fleet.Bundle, now metav1.Time) fleet.BundleStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.bundles[kube.KeyOf(b)]
	if !ok {
		return b.Status
	}
	return known.Status(known.outcome.facts(b, now))
}

// get returns what the last reconcile of a bundle came to.
func (r *rollups) get(bundle kube.Key) outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.bundles[bundle]; ok {
		return known.outcome
	}
	return outcome{}
}

func (r *rollups) of(bundle kube.Key) *rollup {
	known, ok := r.bundles[bundle]
	if !ok {
		known = &rollup{BundleRollup: status.NewBundleRollup(r.offline)}
		r.bundles[bundle] = known
	}
	return known
}

// drop forgets a bundle of which nothing is known.
func (r *rollups) drop(bundle kube.Key) {
	if known, ok := r.bundles[bundle]; ok && known.Empty() && !known.outcome.known {
		delete(r.bundles, bundle)
	}
}

// facts returns what the bundle's status follows from, beside its deployments.
func (r *rollups) facts(b *fleet.Bundle, now metav1.Time) status.BundleFacts {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.bundles[kube.KeyOf(b)]
	if !ok {
		return status.BundleFacts{Bundle: b}
	}
	facts := known.outcome.facts(b, now)
	facts.Targets = known.Targets()
	return facts
}

// rebuild adds the bundle's deployments up anew.
func (r *rollups) rebuild(bundle kube.Key, deployments []*fleet.BundleDeployment, offline status.Offline) {
	r.mu.Lock()
	defer r.mu.Unlock()
	anew := status.NewBundleRollup(r.offline)
	for _, bd := range deployments {
		cluster := kube.ClusterOf(bd).String()
		if since, is := offline[cluster]; is {
			r.offline[cluster] = since
		} else {
			delete(r.offline, cluster)
		}
		anew.Deployment(bd)
	}
	known := r.of(bundle)
	for _, t := range known.Targets() {
		anew.Target(t)
	}
	known.BundleRollup = anew
}
