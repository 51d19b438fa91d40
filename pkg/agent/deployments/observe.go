package deployments

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube/watchset"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// readsAtOnce is how many objects of one deployment are read at once.
const readsAtOnce = 8

// observe gathers what is known of a deployment. It asks nobody.
func (c *Controller) observe(bd *fleet.BundleDeployment) (World, error) {
	w := World{
		Deployment: bd, Now: c.clock.Now(),
		Owner: release.Owner{Deployment: bd.Name, UID: bd.UID, Hub: c.deps.HubID, Agent: c.deps.Agent},
	}
	c.memory.with(bd.Name, func(r *remembered) {
		w.Records = newer(c.deps.Inventory.Of(bd.Name), r.release)
		w.Last = r.failed
	})
	w.Self = neighbour(bd)
	if !related(bd) {
		return w, nil
	}
	all, err := c.cache.List(c.deps.Namespace, labels.Everything())
	if err != nil {
		return World{}, fmt.Errorf("listing deployments: %w", err)
	}
	for _, other := range all {
		if other.Name != bd.Name {
			w.Others = append(w.Others, neighbour(other))
		}
	}
	return w, nil
}

// related says whether other deployments matter for a decision.
func related(bd *fleet.BundleDeployment) bool {
	return len(bd.Spec.DependsOn) > 0 || bd.DeletionTimestamp != nil
}

func neighbour(bd *fleet.BundleDeployment) Neighbour {
	return neighbourOf(bd, status.DeploymentState(bd), status.IsTrue(bd.Status.Conditions, fleet.ConditionRemoved))
}

// newer returns the records with the known release's in place of an older one:
// what this process wrote itself may not be in the inventory yet.
func newer(records []release.Record, known *release.Release) []release.Record {
	if known == nil {
		return records
	}
	for i, record := range records {
		if record.Key == known.Key {
			if record.Revision < known.Revision {
				records[i] = known.Record
			}
			return records
		}
	}
	return records
}

// look returns how the objects of a release fare. It reads those that were not
// seen yet and those that changed since, and has the others watched.
func (c *Controller) look(ctx context.Context, bd *fleet.BundleDeployment, rel *release.Release) ([]Observation, string, error) {
	places, err := c.locate(rel)
	if err != nil {
		return nil, "", err
	}
	// The watch comes before the reads: what changes after a read is an event, once the watch is complete.
	if err := c.watches.Want(bd.Name, resourcesOf(places)); err != nil {
		return nil, "", err
	}
	starting := c.watches.Problems(bd.Name)
	var stale []int
	c.memory.with(bd.Name, func(r *remembered) {
		r.hold(rel, places)
		stale = r.toRead(places, starting)
	})
	read, err := c.read(ctx, reading{release: rel, places: places, indexes: stale, ignored: ignoredConditions(bd)})
	var seen []Observation
	c.memory.with(bd.Name, func(r *remembered) {
		if err != nil {
			for _, i := range stale {
				r.stale[i] = true
			}
			return
		}
		for n, i := range stale {
			r.seen[i] = read[n]
		}
		seen = slices.Clone(r.seen)
	})
	return seen, unwatched(c.watches.Problems(bd.Name)), err
}

// locate returns where the objects of a release are found; the place of one
// whose kind is not served is empty.
func (c *Controller) locate(rel *release.Release) ([]place, error) {
	places := make([]place, len(rel.Objects))
	for i, obj := range rel.Objects {
		mapping, err := c.deps.Releases.RESTMapper().RESTMapping(obj.GroupKind(), obj.Version)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", obj, err)
		}
		places[i] = place{resource: mapping.Resource, namespace: obj.Namespace, name: obj.Name}
	}
	return places, nil
}

func resourcesOf(places []place) []watchset.Resource {
	var resources []watchset.Resource
	for _, p := range places {
		if p.name != "" && !slices.Contains(resources, p.resource) {
			resources = append(resources, p.resource)
		}
	}
	return resources
}

// reading says which objects of a release are to be read.
type reading struct {
	release *release.Release
	// places of all objects of the release, indexes of those to read.
	places  []place
	indexes []int
	ignored []map[string]string
}

func ignoredConditions(bd *fleet.BundleDeployment) []map[string]string {
	if o := bd.Spec.Options.IgnoreOptions; o != nil {
		return o.Conditions
	}
	return nil
}

// read reads objects, live, and judges them.
func (c *Controller) read(ctx context.Context, r reading) ([]Observation, error) {
	read := make([]Observation, len(r.indexes))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for n, i := range r.indexes {
		group.Go(func() error {
			live, err := c.get(ctx, r.places[i])
			if err != nil {
				return fmt.Errorf("reading %s: %w", r.release.Objects[i], err)
			}
			read[n] = observe(r.release.Objects[i], live, r.release.Key, r.ignored)
			return nil
		})
	}
	return read, group.Wait()
}

// get reads an object, live; nil is one that does not exist.
func (c *Controller) get(ctx context.Context, p place) (*unstructured.Unstructured, error) {
	if p.name == "" {
		return nil, nil
	}
	live, err := c.deps.Objects.Resource(p.resource).Namespace(p.namespace).Get(ctx, p.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, err
}

// unwatched says in one sentence which watches do not work. Those that are
// still starting count as working.
func unwatched(problems map[watchset.Resource]error) string {
	var lines []string
	for resource, err := range problems {
		if err != nil {
			lines = append(lines, fmt.Sprintf("%s: %v", resource.GroupResource(), err))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	slices.SortFunc(lines, cmp.Compare[string])
	return "changes may go unnoticed; cannot watch " + strings.Join(first(lines, maxLines), "; ")
}

// setOf returns the object set label of a deployment's objects.
func (c *Controller) setOf(deployment string) string {
	return names.ObjectSetHash(release.ObjectSet(deployment, c.deps.Agent))
}
