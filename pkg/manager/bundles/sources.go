package bundles

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/copies"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// sources are the objects of a workspace that the targets of a bundle name to
// have them copied.
type sources struct {
	copies   map[copies.Ref]copies.Copy
	problems map[copies.Ref]string
	// key tells sources apart: the same ones have the same key.
	key string
	// known are sets of them that were encoded already, by what names them.
	// Deployments of one bundle are written at once: mu guards it.
	mu    sync.Mutex
	known map[string]copied
}

func newSources(read map[copies.Ref]copies.Copy) *sources {
	return &sources{copies: read, problems: map[copies.Ref]string{}, known: map[string]copied{}}
}

// copied is what one deployment has copied.
type copied struct {
	encoded         []byte
	digest, problem string
}

// readSources reads what the bundle and its customizations name. Whether a
// source changes while it is read is heard of: the bundle is among its readers
// before.
func (c *controller) readSources(ctx context.Context, key kube.Key, b *fleet.Bundle) (*sources, error) {
	named := slices.Clone(b.Spec.DownstreamResources)
	for i := range b.Spec.Targets {
		named = append(named, b.Spec.Targets[i].DownstreamResources...)
	}
	refs, _ := copies.Refs(named)
	c.readers.set(key, refs)
	found := newSources(map[copies.Ref]copies.Copy{})
	if len(refs) == 0 {
		return found, nil
	}
	uses, err := c.uses(b.Namespace)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	for _, ref := range refs {
		copied, problem, err := c.source(ctx, b.Namespace, ref, uses)
		if err != nil {
			return nil, err
		}
		if problem != "" {
			found.problems[ref] = fmt.Sprintf("downstreamResources: %s %s/%s %s", ref.Kind, b.Namespace, ref.Name, problem)
			fmt.Fprintf(sum, "%s\n", found.problems[ref])
			continue
		}
		found.copies[ref] = copied
		_, digest, err := copies.Encode([]copies.Copy{copied})
		if err != nil {
			digest = err.Error()
		}
		fmt.Fprintf(sum, "%s\n", digest)
	}
	found.key = string(sum.Sum(nil))
	return found, nil
}

// source reads one object of the workspace. The second result says why it
// cannot be copied.
func (c *controller) source(ctx context.Context, namespace string, ref copies.Ref, uses copies.Uses) (copies.Copy, string, error) {
	const missing = "is not there: create it, or take it out of downstreamResources"
	key := kube.Key{Namespace: namespace, Name: ref.Name}
	if ref.Kind == copies.KindConfigMap {
		found, err := c.ConfigMaps.Get(ctx, key)
		switch {
		case apierrors.IsNotFound(err):
			return copies.Copy{}, missing, nil
		case err != nil:
			return copies.Copy{}, "", err
		}
		return copies.OfConfigMap(found), "", nil
	}
	found, err := c.Secrets.Get(ctx, key)
	switch {
	case apierrors.IsNotFound(err):
		return copies.Copy{}, missing, nil
	case err != nil:
		return copies.Copy{}, "", err
	}
	if why := uses.Refused(found); why != "" {
		return copies.Copy{}, "cannot be copied: " + why, nil
	}
	return copies.OfSecret(found), "", nil
}

// uses returns what the Secrets of a workspace are used for.
func (c *controller) uses(namespace string) (copies.Uses, error) {
	var u copies.Uses
	var failed [5]error
	u.Clusters, failed[0] = c.clusters.List(namespace, labels.Everything())
	u.GitRepos, failed[1] = c.gitrepos.List(namespace, labels.Everything())
	u.HelmOps, failed[2] = c.helmops.List(namespace, labels.Everything())
	u.Restrictions, failed[3] = c.restrictions.List(namespace, labels.Everything())
	u.Policies, failed[4] = c.policies.List(namespace, labels.Everything())
	if err := errors.Join(failed[:]...); err != nil {
		return copies.Uses{}, fmt.Errorf("looking for what uses the Secrets of namespace %s: %w", namespace, err)
	}
	return u, nil
}

// of returns what a deployment with these options has copied.
func (s *sources) of(named []fleet.DownstreamResource) copied {
	if len(named) == 0 {
		return copied{}
	}
	refs, wrong := copies.Refs(named)
	if len(wrong) > 0 {
		return copied{problem: wrong[0].Error()}
	}
	var key strings.Builder
	for _, ref := range refs {
		fmt.Fprintln(&key, ref)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.known[key.String()]; ok {
		return known
	}
	made := s.encode(refs)
	s.known[key.String()] = made
	return made
}

func (s *sources) encode(refs []copies.Ref) copied {
	list := make([]copies.Copy, 0, len(refs))
	for _, ref := range refs {
		if problem := s.problems[ref]; problem != "" {
			return copied{problem: problem}
		}
		source, read := s.copies[ref]
		if !read {
			return copied{problem: fmt.Sprintf("downstreamResources: %s was not read", ref)}
		}
		list = append(list, source)
	}
	encoded, digest, err := copies.Encode(list)
	if err != nil {
		return copied{problem: err.Error()}
	}
	return copied{encoded: encoded, digest: digest}
}

// source names an object of a workspace.
type source struct {
	kind string
	kube.Key
}

// readers knows which bundles name which sources.
type readers struct {
	mu sync.Mutex
	of map[source]map[kube.Key]bool
	by map[kube.Key][]source
}

// set notes what a bundle names, in its own namespace.
func (r *readers) set(bundle kube.Key, refs []copies.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.by[bundle] {
		delete(r.of[s], bundle)
		if len(r.of[s]) == 0 {
			delete(r.of, s)
		}
	}
	delete(r.by, bundle)
	for _, ref := range refs {
		s := source{ref.Kind, kube.Key{Namespace: bundle.Namespace, Name: ref.Name}}
		if r.of[s] == nil {
			r.of[s] = map[kube.Key]bool{}
		}
		r.of[s][bundle] = true
		r.by[bundle] = append(r.by[bundle], s)
	}
}

// names returns the bundles that name a source.
func (r *readers) names(s source) []kube.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := make([]kube.Key, 0, len(r.of[s]))
	for bundle := range r.of[s] {
		found = append(found, bundle)
	}
	return found
}

// onUse wakes the bundles that have Secrets copied which an object has come to
// name, or names no more.
func (c *controller) onUse(namespace string, before, after []string) {
	for _, name := range before {
		if !slices.Contains(after, name) {
			c.onSource(copies.KindSecret)(kube.Key{Namespace: namespace, Name: name})
		}
	}
	for _, name := range after {
		if !slices.Contains(before, name) {
			c.onSource(copies.KindSecret)(kube.Key{Namespace: namespace, Name: name})
		}
	}
}

// used has onUse called with what an object names before and after an event.
func used[T kube.Object](c *controller, names func(T) []string) func(kube.Event[T]) {
	return func(e kube.Event[T]) {
		var none T
		var before, after []string
		if e.Old != none {
			before = names(e.Old)
		}
		if e.New != none {
			after = names(e.New)
		}
		c.onUse(e.Object().GetNamespace(), before, after)
	}
}

// onSource wakes the bundles that name an object of that kind when it changes.
func (c *controller) onSource(kind string) func(kube.Key) {
	return func(key kube.Key) {
		for _, bundle := range c.readers.names(source{kind, key}) {
			c.wakeWhole(bundle)
		}
	}
}
