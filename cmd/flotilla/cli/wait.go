package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	lassocache "github.com/rancher/lasso/pkg/cache"
	"github.com/rancher/wrangler/v3/pkg/generic"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// waiting is a wait until objects are ready.
type waiting struct {
	*session
	refs     []reference
	options  report.StatusOptions
	progress io.Writer
}

// until returns the state of the objects as soon as they are ready, or the last
// that was seen when the time is over; no time is for ever. It watches and
// looks again at every event. An interrupt is an error.
func (w *waiting) until(parent context.Context, patience time.Duration, found report.Status) (report.Status, error) {
	ctx, cancel := parent, context.CancelFunc(func() {})
	if patience > 0 {
		ctx, cancel = context.WithTimeout(parent, patience)
	}
	defer cancel()
	watched, err := w.watch(ctx)
	if err != nil {
		return found, errors.Join(parent.Err(), err)
	}
	for said := ""; ; {
		world, err := watched.world(w.refs)
		if err != nil {
			return found, err
		}
		if found = report.StatusOf(world, w.options); found.Yes() {
			return found, nil
		}
		if reason := found.WaitingFor(); reason != said {
			said = reason
			fmt.Fprintln(w.progress, "waiting for", report.Clean(reason))
		}
		select {
		case <-watched.changed:
		case <-ctx.Done():
			return found, parent.Err()
		}
	}
}

// watched is what a wait sees of the hub.
type watched struct {
	namespace string
	gitrepos  generic.CacheInterface[*fleet.GitRepo]
	bundles   generic.CacheInterface[*fleet.Bundle]
	clusters  generic.CacheInterface[*fleet.Cluster]
	// changed has something to take when something may have changed.
	changed chan struct{}
}

// watch starts to watch the kinds that matter, and returns when all that there
// is has been seen, or when ctx ends.
func (w *waiting) watch(ctx context.Context) (*watched, error) {
	hub, err := connect(w.config, kube.Options{Namespace: w.namespace, Selectors: selectors(w.refs)})
	if err != nil {
		return nil, err
	}
	seen := &watched{namespace: w.namespace, changed: make(chan struct{}, 1)}
	notify := func() {
		select {
		case seen.changed <- struct{}{}:
		default: // It is known already.
		}
	}
	if w.concerns(kindGitRepo) {
		seen.gitrepos = hub.GitRepos.Cache()
		hub.GitRepos.OnEvent(func(kube.Event[*fleet.GitRepo]) { notify() })
	}
	if w.concerns(kindGitRepo) || w.concerns(kindBundle) {
		seen.bundles = hub.Bundles.Cache()
		hub.Bundles.OnEvent(func(kube.Event[*fleet.Bundle]) { notify() })
	}
	if w.concerns(kindCluster) {
		seen.clusters = hub.Clusters.Cache()
		hub.Clusters.OnEvent(func(kube.Event[*fleet.Cluster]) { notify() })
	}
	if err := hub.Start(ctx); err != nil {
		return nil, fmt.Errorf("watching: %w", err)
	}
	return seen, nil
}

// concerns says whether objects of the kind are waited for.
func (w *waiting) concerns(k kind) bool {
	return len(w.refs) == 0 || slices.ContainsFunc(w.refs, func(r reference) bool { return r.kind == k })
}

// selectors keep what is watched small where one object is waited for: bundles
// hold all that they deploy.
func selectors(refs []reference) map[schema.GroupVersionKind]lassocache.TweakListOptionsFunc {
	if len(refs) != 1 {
		return nil
	}
	name := refs[0].name
	byName := func(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=" + name }
	of := fleet.SchemeGroupVersion.WithKind
	switch refs[0].kind {
	case kindGitRepo:
		return map[schema.GroupVersionKind]lassocache.TweakListOptionsFunc{
			of("GitRepo"): byName,
			of("Bundle"):  func(o *metav1.ListOptions) { o.LabelSelector = names.LabelRepoName + "=" + name },
		}
	case kindBundle:
		return map[schema.GroupVersionKind]lassocache.TweakListOptionsFunc{of("Bundle"): byName}
	default:
		return map[schema.GroupVersionKind]lassocache.TweakListOptionsFunc{of("Cluster"): byName}
	}
}

// world is what is to be told of the objects now.
func (w *watched) world(refs []reference) (report.World, error) {
	var found report.World
	if len(refs) == 0 {
		var err1, err2, err3 error
		found.GitRepos, err1 = w.gitrepos.List(w.namespace, labels.Everything())
		found.Bundles, err2 = w.bundles.List(w.namespace, labels.Everything())
		found.Clusters, err3 = w.clusters.List(w.namespace, labels.Everything())
		return found, errors.Join(err1, err2, err3)
	}
	for _, ref := range refs {
		if err := w.add(ref, &found); err != nil {
			return found, fmt.Errorf("%s is gone: %w", ref, err)
		}
	}
	return found, nil
}

func (w *watched) add(ref reference, to *report.World) error {
	switch ref.kind {
	case kindGitRepo:
		repo, err := w.gitrepos.Get(w.namespace, ref.name)
		if err != nil {
			return err
		}
		bundles, err := w.bundles.List(w.namespace, labelled(names.LabelRepoName, ref.name))
		if err != nil {
			return err
		}
		to.GitRepos, to.Bundles = append(to.GitRepos, repo), append(to.Bundles, bundles...)
	case kindBundle:
		b, err := w.bundles.Get(w.namespace, ref.name)
		if err != nil {
			return err
		}
		to.Bundles = append(to.Bundles, b)
	case kindCluster:
		c, err := w.clusters.Get(w.namespace, ref.name)
		if err != nil {
			return err
		}
		to.Clusters = append(to.Clusters, c)
	}
	return nil
}
