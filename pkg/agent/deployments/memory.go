package deployments

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube/watchset"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// memory is what the controller remembers of deployments between two runs. All
// of it can be lost: it is read again.
type memory struct {
	mu     sync.Mutex
	byName map[string]*remembered
	// bySet and byLabel find a deployment by the object set of its objects and by the label of its releases.
	bySet, byLabel map[string]string
	// lost are the deployments that are not there and have releases, by label.
	lost map[string]bool
	// wrote are the versions of copies that the agent wrote, or found right, last.
	wrote map[release.CopyKey]string
	// kinds are where kinds are served, or were.
	kinds map[schema.GroupVersionKind]schema.GroupVersionResource
}

// remembered is what is remembered of one deployment.
type remembered struct {
	release *release.Release
	// seen are the objects of the release, in its order; places finds them. stale are those that changed since.
	seen   []Observation
	places map[place]int
	stale  map[int]bool
	// early are objects that were read before their watch was complete: if they went in between, no event tells.
	early map[int]bool
	// at are the places of the objects, in the release's order; judged is what is known of their drift.
	at     []place
	judged *judged
	// removing are objects that are being deleted.
	removing map[place]bool
	// failed is how the last attempt to deploy ended, if it failed; blocked is the release name that it found taken.
	failed  *Attempt
	blocked release.Key
	// copying is what is known of its copies.
	copying copying
	// lacking says that it failed because the cluster does not serve a kind.
	lacking bool
	// looks counts how often a removal was looked after in vain.
	looks int
	// reported is the last status that was written, reportedOn the version of the deployment that the cache showed then,
	// and reportedAs the one that the write made. reportedOn is empty once the cache has shown another.
	reported               fleet.BundleDeploymentStatus
	reportedOn, reportedAs string
	// unreported says that the last run could not be completed.
	unreported bool
}

// place is where an object is found.
type place struct {
	resource  schema.GroupVersionResource
	namespace string
	name      string
}

func newMemory() *memory {
	return &memory{
		byName: map[string]*remembered{}, bySet: map[string]string{}, byLabel: map[string]string{}, lost: map[string]bool{},
		wrote: map[release.CopyKey]string{},
		kinds: map[schema.GroupVersionKind]schema.GroupVersionResource{},
	}
}

// serves notes where a kind is served.
func (m *memory) serves(kind schema.GroupVersionKind, resource schema.GroupVersionResource) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kinds[kind] = resource
}

// resource returns where a kind was served that is not now; for one that never
// was, where it is likely to be.
func (m *memory) resource(kind schema.GroupVersionKind) schema.GroupVersionResource {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, ok := m.kinds[kind]; ok {
		return known
	}
	likely, _ := meta.UnsafeGuessKindToResource(kind)
	return likely
}

// of returns what is remembered of a deployment; the caller holds the lock.
func (m *memory) of(name string) *remembered {
	r := m.byName[name]
	if r == nil {
		r = &remembered{}
		m.byName[name] = r
	}
	return r
}

// with calls f with what is remembered of a deployment.
func (m *memory) with(name string, f func(*remembered)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m.of(name))
}

// know has events of a deployment's objects and releases find it.
func (m *memory) know(name, set string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bySet[set], m.byLabel[release.DeploymentLabel(name)] = name, name
}

// forget forgets a deployment. Its name stays known: events may still come.
func (m *memory) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byName, name)
}

// named returns the name of the deployment that a release's label means. The
// label of a deployment that was never seen is its name, as far as is known.
func (m *memory) named(label string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name, ok := m.byLabel[label]; ok {
		return name
	}
	return label
}

// hold remembers a release and where its objects are. Unless it is the one
// that is remembered already, nothing of its objects has been seen.
func (r *remembered) hold(rel *release.Release, places []place) {
	same := r.release != nil && r.release.Key == rel.Key && r.release.Revision == rel.Revision
	r.release = rel
	if same && slices.Equal(r.at, places) {
		return
	}
	if !same {
		r.seen = make([]Observation, len(rel.Objects))
		r.stale = make(map[int]bool, len(places))
		r.judged = nil
		r.early = map[int]bool{}
	}
	r.places = make(map[place]int, len(places))
	for i, p := range places {
		r.places[p] = i
		if !same || r.at[i] != p {
			// A kind that comes to be served may be found elsewhere than was guessed.
			r.stale[i] = true
		}
	}
	r.at = places
}

// drop forgets the release.
func (r *remembered) drop() {
	r.release, r.seen, r.places, r.stale, r.early, r.at, r.judged = nil, nil, nil, nil, nil, nil, nil
}

// toRead returns which objects are to be read: those that were not seen yet or
// changed since, and those that were read too early, once their watch is
// complete. It takes them off, and notes those that are read too early now.
func (r *remembered) toRead(places []place, starting map[watchset.Resource]error) []int {
	for i := range r.early {
		if _, incomplete := starting[places[i].resource]; !incomplete {
			r.stale[i] = true
			delete(r.early, i)
		}
	}
	indexes := slices.Sorted(maps.Keys(r.stale))
	r.stale = map[int]bool{}
	for _, i := range indexes {
		if _, incomplete := starting[places[i].resource]; incomplete && places[i].name != "" {
			r.early[i] = true
		}
	}
	return indexes
}

// shown notes that the cache shows a version of a deployment: from then on what
// was reported is in it, or was undone. It says whether the status is not what
// was reported last, as after a backup of the hub was restored.
func (m *memory) shown(bd *fleet.BundleDeployment) (undone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.byName[bd.Name]
	if r == nil || r.reportedAs == "" {
		return false
	}
	if r.reportedOn != bd.ResourceVersion {
		r.reportedOn = ""
	}
	return r.reportedOn == "" && !equality.Semantic.DeepEqual(r.reported, bd.Status)
}

// finish forgets all but what was reported.
func (r *remembered) finish() {
	*r = remembered{reported: r.reported, reportedOn: r.reportedOn, reportedAs: r.reportedAs}
}

// changed notes an event of an object. It returns the deployment to wake, and
// false if the event says nothing new.
func (m *memory) changed(e watchset.Event) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name, ok := m.bySet[e.Label]
	if !ok {
		return "", false
	}
	r := m.byName[name]
	if r == nil {
		return "", false
	}
	at := place{resource: e.Resource, namespace: e.Namespace, name: e.Name}
	if r.removing[at] {
		return name, e.Gone
	}
	i, ok := r.places[at]
	if !ok {
		return name, r.judged != nil && r.judged.turns(at, e)
	}
	if !e.Gone && r.seen[i].Version == e.Version {
		return "", false
	}
	r.stale[i] = true
	return name, true
}
