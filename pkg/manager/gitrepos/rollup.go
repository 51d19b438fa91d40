package gitrepos

import (
	"sync"
	"time"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// rollups keep, for every GitRepo, the sum of its bundles and deployments.
// Events tell them what changes.
type rollups struct {
	mu      sync.Mutex
	offline status.Offline
	repos   map[kube.Key]*rollup
}

type rollup struct {
	*status.RepoRollup
	// written holds, by bundle, what our last write made of it until a watch
	// shows that.
	written map[string]written
}

type written struct {
	generation int64
	at         time.Time
}

// unseenLimit is after what time a bundle that was written, and that no watch
// has shown, is taken not to be there: it may have come and gone while the
// watch was down.
const unseenLimit = 30 * time.Second

func newRollups() *rollups {
	return &rollups{offline: status.Offline{}, repos: map[kube.Key]*rollup{}}
}

// repoOf returns the key of a deployment's GitRepo; its name is empty if none
// has made it.
func repoOf(bd *fleet.BundleDeployment) kube.Key {
	return kube.Key{Namespace: bd.Labels[names.LabelBundleNamespace], Name: bd.Labels[names.LabelRepoName]}
}

// bundle tells of a bundle that has come, changed or gone, and returns the
// GitRepos whose status may show it.
func (r *rollups) bundle(e kube.Event[*fleet.Bundle]) []kube.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	var show []kube.Key
	if e.Old != nil && (e.New == nil || kube.RepoOf(e.Old) != kube.RepoOf(e.New)) {
		key := kube.RepoOf(e.Old)
		if known, ok := r.repos[key]; ok {
			known.BundleGone(e.Old)
			delete(known.written, e.Old.Name)
			r.drop(key)
			show = append(show, key)
		}
	}
	if e.New != nil {
		if key := kube.RepoOf(e.New); key.Name != "" {
			known := r.of(key)
			known.Bundle(e.New)
			if w, ok := known.written[e.New.Name]; ok && w.generation <= e.New.Generation {
				delete(known.written, e.New.Name)
			}
			show = append(show, key)
		}
	}
	return show
}

// deployment tells of a deployment that has come, changed or gone, and returns
// the GitRepos whose status may show it.
func (r *rollups) deployment(e kube.Event[*fleet.BundleDeployment]) []kube.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	var show []kube.Key
	if e.Old != nil && (e.New == nil || repoOf(e.Old) != repoOf(e.New) || kube.ClusterOf(e.Old) != kube.ClusterOf(e.New)) {
		key := repoOf(e.Old)
		if known, ok := r.repos[key]; ok {
			known.DeploymentGone(e.Old)
			r.drop(key)
			show = append(show, key)
		}
	}
	if e.New != nil {
		if key := repoOf(e.New); key.Name != "" {
			r.of(key).Deployment(e.New)
			show = append(show, key)
		}
	}
	return show
}

// cluster tells of the newest state of a cluster, or that it is gone, and
// returns the GitRepos whose status may show it.
func (r *rollups) cluster(e kube.Event[*fleet.Cluster]) []kube.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := kube.KeyOf(e.Object()).String()
	if e.New == nil && !r.offline.Forget(name) || e.New != nil && !r.offline.Note(e.New) {
		return nil
	}
	var show []kube.Key
	for key, known := range r.repos {
		if known.Reached(name) {
			show = append(show, key)
		}
	}
	return show
}

// wrote tells of the state that a write of ours gave a bundle.
func (r *rollups) wrote(b *fleet.Bundle, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.of(kube.RepoOf(b))
	if seen := known.Known(b.Name); seen == nil || seen.Generation < b.Generation {
		known.written[b.Name] = written{generation: b.Generation, at: now}
	}
}

// status returns the status that the GitRepo should have, and when to look
// again whatever happens: zero for never.
func (r *rollups) status(facts status.GitRepoFacts, now time.Time) (fleet.GitRepoStatus, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.of(kube.KeyOf(facts.GitRepo))
	var recheck time.Duration
	facts.Stale, recheck = known.stale(now)
	return known.Status(facts), recheck
}

// stale returns the names of the bundles that no watch has shown yet as they
// were written, and when the first of them is given up.
func (r *rollup) stale(now time.Time) (map[string]bool, time.Duration) {
	stale := map[string]bool{}
	var soonest time.Duration
	for name, w := range r.written {
		left := w.at.Add(unseenLimit).Sub(now)
		if left <= 0 {
			delete(r.written, name)
			continue
		}
		stale[name] = true
		soonest = sooner(soonest, left)
	}
	return stale, soonest
}

// forget drops what is known of a GitRepo that is gone, if nothing of it is
// left.
func (r *rollups) forget(key kube.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.repos[key]; ok {
		clear(known.written)
		r.drop(key)
	}
}

func (r *rollups) of(key kube.Key) *rollup {
	known, ok := r.repos[key]
	if !ok {
		known = &rollup{RepoRollup: status.NewRepoRollup(r.offline), written: map[string]written{}}
		r.repos[key] = known
	}
	return known
}

func (r *rollups) drop(key kube.Key) {
	if known, ok := r.repos[key]; ok && known.Empty() && len(known.written) == 0 {
		delete(r.repos, key)
	}
}

// stale returns the names of the GitRepo's bundles that no watch has shown yet
// as they were written.
func (r *rollups) stale(repo kube.Key, now time.Time) map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	stale, _ := r.of(repo).stale(now)
	return stale
}

// rebuild adds bundles and deployments of the GitRepo up anew.
func (r *rollups) rebuild(key kube.Key, facts status.GitRepoFacts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	anew := status.NewRepoRollup(r.offline)
	for _, b := range facts.Bundles {
		anew.Bundle(b)
	}
	for _, bd := range facts.Deployments {
		cluster := kube.ClusterOf(bd).String()
		if since, is := facts.Offline[cluster]; is {
			r.offline[cluster] = since
		} else {
			delete(r.offline, cluster)
		}
		anew.Deployment(bd)
	}
	r.of(key).RepoRollup = anew
}
