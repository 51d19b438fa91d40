package deployments

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/delivery"
	"github.com/flotilla-gitops/flotilla/pkg/drift"
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
		Deployment: bd, Now: c.clock.Now(), Unmanaged: delivery.Is(bd) && !c.deps.Managed,
		Owner: release.Owner{Deployment: bd.Name, UID: bd.UID, Hub: c.deps.HubID, Agent: c.deps.Agent},
	}
	c.memory.with(bd.Name, func(r *remembered) {
		w.Records = newer(c.deps.Inventory.Of(bd.Name), r.release)
		w.Last = r.failed
	})
	held := c.deps.Copies.Of(bd.Name)
	wanted := w.wanted(Decision{Wanted: releaseKey(bd.Name, &bd.Spec.Options)})
	c.memory.with(bd.Name, func(r *remembered) {
		if inputs := w.inputs(); r.copying.inputs != inputs {
			r.copying.inputs, r.copying.bout, r.copying.problem = inputs, drift.Bout{}, ""
		}
		w.Copies = r.copying.see(held, wanted, c.memory.wrote)
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

// sight is how the objects of a release fare.
type sight struct {
	// seen are the objects of the release, in its order, extra others with its marks.
	seen, extra []Observation
	// unwatched says why changes may go unnoticed, corrected what was corrected just now, and problem what of
	// diff.comparePatches cannot be understood.
	unwatched, corrected, problem string
	// recheck is when to look again, if not zero.
	recheck time.Duration
}

// see makes what was seen part of the report.
func (r *result) see(s sight) {
	r.Seen, r.Extra, r.Unwatched, r.Corrected, r.Problem = s.seen, s.extra, s.unwatched, s.corrected, s.problem
	if s.recheck > 0 && (r.recheck == 0 || s.recheck < r.recheck) {
		r.recheck = s.recheck
	}
}

// look returns how the objects of a release fare. It reads those that were not
// seen yet and those that changed since, and has the others watched. If the
// release is in sync it corrects drift, where the deployment asks for that.
func (c *Controller) look(ctx context.Context, bd *fleet.BundleDeployment, rel *release.Release, inSync bool) (sight, error) {
	places, err := c.locate(rel)
	if err != nil {
		return sight{}, err
	}
	// The watch comes before the reads: what changes after a read is an event, once the watch is complete.
	if err := c.watches.Want(bd.Name, resourcesOf(places)); err != nil {
		return sight{}, err
	}
	starting := c.watches.Problems(bd.Name)
	in := &inspection{c: c, bd: bd, release: rel, policy: policyOf(bd, inSync), places: places}
	in.account = sync.OnceValues(func() (string, error) { return c.serviceAccount(ctx, bd) })
	c.memory.with(bd.Name, func(r *remembered) {
		r.hold(rel, places)
		r.under(in.policy)
		in.indexes = r.toLookAt(c.clock.Now(), starting)
		in.known, in.struggles = maps.Clone(r.judged.verdicts), maps.Clone(r.judged.struggles)
	})
	in.desired, err = rel.Desired.Objects(in.indexes)
	var found []finding
	if err == nil {
		found, err = in.run(ctx)
	}
	s := sight{problem: in.policy.problem}
	c.memory.with(bd.Name, func(r *remembered) {
		if err != nil {
			for _, i := range in.indexes {
				r.stale[i] = true
			}
			return
		}
		s.corrected = r.found(in.indexes, found)
		s.seen, s.recheck = slices.Clone(r.seen), r.judged.next(c.clock.Now())
	})
	if err == nil {
		s.extra, err = c.extras(ctx, bd.Name, rel)
	}
	s.unwatched = unwatched(c.watches.Problems(bd.Name))
	return s, err
}

// locate returns where the objects of a release are found. The place of one
// whose kind is not served is where it was served, or is likely to be.
func (c *Controller) locate(rel *release.Release) ([]place, error) {
	places := make([]place, len(rel.Objects))
	for i, obj := range rel.Objects {
		places[i] = place{namespace: obj.Namespace, name: obj.Name}
		mapping, err := c.deps.Releases.RESTMapper().RESTMapping(obj.GroupKind(), obj.Version)
		switch {
		case meta.IsNoMatchError(err):
			places[i].resource = c.memory.resource(obj.GroupVersionKind)
		case err != nil:
			return nil, fmt.Errorf("looking for %s: %w", obj, err)
		default:
			c.memory.serves(obj.GroupVersionKind, mapping.Resource)
			places[i].resource = mapping.Resource
			if mapping.Scope.Name() == meta.RESTScopeNameRoot {
				places[i].namespace = ""
			}
		}
	}
	return places, nil
}

func resourcesOf(places []place) []watchset.Resource {
	var resources []watchset.Resource
	for _, p := range places {
		if !slices.Contains(resources, p.resource) {
			resources = append(resources, p.resource)
		}
	}
	return resources
}

func ignoredConditions(bd *fleet.BundleDeployment) []map[string]string {
	if o := bd.Spec.Options.IgnoreOptions; o != nil {
		return o.Conditions
	}
	return nil
}

// get reads an object, live; nil is one that does not exist.
func (c *Controller) get(ctx context.Context, p place) (*unstructured.Unstructured, error) {
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
