package deployments

import (
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube/watchset"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

func configMaps() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
}

// remembering returns a memory that holds a release with two objects, of which
// version 5 was seen.
func remembering() *memory {
	m := newMemory()
	m.know("app", "set")
	rel := deployed(2)
	m.with("app", func(r *remembered) {
		r.hold(rel, []place{{configMaps(), "web", "cm-000"}, {configMaps(), "web", "cm-001"}})
		for i := range r.seen {
			r.seen[i] = Observation{Object: rel.Objects[i], Health: Healthy, Version: "5"}
		}
		r.stale = map[int]bool{}
	})
	return m
}

func TestEventsThatSayNothingNewWakeNobody(t *testing.T) {
	event := func(edit func(*watchset.Event)) watchset.Event {
		e := watchset.Event{Resource: configMaps(), Namespace: "web", Name: "cm-001", Version: "6", Label: "set"}
		if edit != nil {
			edit(&e)
		}
		return e
	}
	for _, test := range []struct {
		name  string
		event watchset.Event
		wakes bool
	}{
		{name: "changed", event: event(nil), wakes: true},
		{name: "as it was seen: the watch began after the read", event: event(func(e *watchset.Event) { e.Version = "5" })},
		{name: "gone", event: event(func(e *watchset.Event) { e.Version, e.Gone = "5", true }), wakes: true},
		{name: "of another set", event: event(func(e *watchset.Event) { e.Label = "other" })},
		{name: "an object that the release does not list", event: event(func(e *watchset.Event) { e.Name = "other" })},
		{name: "an object of that name of another kind", event: event(func(e *watchset.Event) { e.Resource.Resource = "secrets" })},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := remembering()
			name, wakes := m.changed(test.event)
			if wakes != test.wakes || wakes && name != "app" {
				t.Errorf("it wakes %q: %v, want %v", name, wakes, test.wakes)
			}
			m.with("app", func(r *remembered) {
				if r.stale[1] != test.wakes || r.stale[0] {
					t.Errorf("stale are %v", r.stale)
				}
			})
		})
	}
}

func TestObjectsThatLeaveWakeWhenTheyAreGone(t *testing.T) {
	m := remembering()
	m.with("app", func(r *remembered) { r.removing = map[place]bool{{configMaps(), "web", "cm-000"}: true} })
	e := watchset.Event{Resource: configMaps(), Namespace: "web", Name: "cm-000", Version: "7", Label: "set"}
	if _, wakes := m.changed(e); wakes {
		t.Error("a change of what leaves wakes")
	}
	e.Gone = true
	if name, wakes := m.changed(e); !wakes || name != "app" {
		t.Error("the end of what leaves does not wake")
	}
}

func TestANewRevisionIsLookedAtAnew(t *testing.T) {
	m := remembering()
	m.with("app", func(r *remembered) {
		places := []place{{configMaps(), "web", "cm-000"}, {configMaps(), "web", "cm-001"}}
		same := deployed(2)
		r.hold(same, places)
		if len(r.stale) != 0 {
			t.Error("the same revision is looked at anew")
		}
		next := deployed(2)
		next.Revision = 2
		r.hold(next, places)
		if len(r.stale) != 2 || r.seen[0].Version != "" {
			t.Errorf("stale are %v, seen %v", r.stale, r.seen)
		}
		r.stale = map[int]bool{}
		moved := []place{places[0], {schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "sheep"}, "web", "cm-001"}}
		r.hold(next, moved)
		if _, old := r.places[places[1]]; old || len(r.places) != 2 || len(r.stale) != 1 || !r.stale[1] {
			t.Errorf("after a kind came to be served elsewhere than was guessed objects are at %v, stale are %v", r.places, r.stale)
		}
	})
}

func TestOwnWritesCountBeforeTheInventoryHasThem(t *testing.T) {
	old := worldWith().Records[0]
	known := &release.Release{Record: old}
	known.Revision, known.Digest = 2, "new"
	if got := newer([]release.Record{old}, known); got[0].Revision != 2 {
		t.Errorf("records are %+v", got)
	}
	newest := old
	newest.Revision = 3
	if got := newer([]release.Record{newest}, known); got[0].Revision != 3 {
		t.Errorf("records are %+v", got)
	}
	if got := newer(nil, known); len(got) != 0 {
		t.Errorf("a release whose record is gone is %+v", got)
	}
}

func TestNamesOfReleasesAreFoundByTheirLabel(t *testing.T) {
	m := newMemory()
	long := "a-bundle-with-a-name-that-is-longer-than-any-label-value-may-be-and-then-some"
	m.know(long, "set")
	if got := m.named(release.DeploymentLabel(long)); got != long {
		t.Errorf("name is %q", got)
	}
	if got := m.named("never-seen"); got != "never-seen" {
		t.Errorf("name is %q", got)
	}
}

func TestSlotsAreFreeWhileOthersAreWaitedFor(t *testing.T) {
	s := make(slots, 1)
	if err := s.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	var order []string
	var mu sync.Mutex
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	var wg sync.WaitGroup
	entered := make(chan struct{})
	wg.Go(func() {
		if err := s.enter(t.Context()); err != nil {
			t.Error(err)
		}
		note("other")
		close(entered)
		s.leave()
	})
	s.without(func() {
		<-entered // the other one gets in only because this one waits
		note("waited")
	})
	note("back")
	s.leave()
	wg.Wait()
	if !slices.Equal(order, []string{"other", "waited", "back"}) {
		t.Errorf("order is %q", order)
	}
}

func TestSlotIsTakenBackAfterAPanic(t *testing.T) {
	s := make(slots, 1)
	if err := s.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		s.without(func() { panic("Helm") })
	}()
	if len(s) != 1 {
		t.Error("the slot was lost")
	}
}

func TestWhatIsTheSameToTheAgentAndToNeighbours(t *testing.T) {
	base := worldWith().Deployment
	for _, test := range []struct {
		name              string
		edit              func(*fleet.BundleDeployment)
		agent, neighbours bool
	}{
		{name: "nothing", edit: func(*fleet.BundleDeployment) {}, agent: true, neighbours: true},
		{name: "a commit", edit: func(bd *fleet.BundleDeployment) { bd.Labels = map[string]string{"fleet.cattle.io/commit": "x"} }, agent: true},
		{name: "what to run", edit: func(bd *fleet.BundleDeployment) { bd.Generation++ }, neighbours: true},
		{name: "a finalizer", edit: func(bd *fleet.BundleDeployment) { bd.Finalizers = nil }, neighbours: true},
		{name: "another one of that name", edit: func(bd *fleet.BundleDeployment) { bd.UID = "other" }, neighbours: true},
		{name: "its end", edit: func(bd *fleet.BundleDeployment) {
			w := worldWith(deleted)
			bd.DeletionTimestamp = w.Deployment.DeletionTimestamp
		}},
		{name: "what the agent reports", edit: func(bd *fleet.BundleDeployment) { bd.Status.AppliedDeploymentID = bd.Spec.DeploymentID }, agent: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			after := base.DeepCopy()
			test.edit(after)
			if got := sameToAgent(base, after); got != test.agent {
				t.Errorf("the same to the agent: %v", got)
			}
			if got := sameToNeighbours(base, after); got != test.neighbours {
				t.Errorf("the same to neighbours: %v", got)
			}
		})
	}
}

func TestLooksGetRarer(t *testing.T) {
	last := time.Duration(0)
	for looks := range 50 {
		wait := lookAfter(looks)
		if wait < last || wait > lastLook {
			t.Fatalf("look %d is after %s, the one before was after %s", looks, wait, last)
		}
		last = wait
	}
	if lookAfter(0) != firstLook || last != lastLook {
		t.Errorf("looks are after %s to %s", lookAfter(0), last)
	}
}

func TestObjectsReadBeforeTheirWatchIsCompleteAreReadAgain(t *testing.T) {
	m := remembering()
	places := []place{{configMaps(), "web", "cm-000"}, {}}
	starting := map[watchset.Resource]error{configMaps(): nil}
	for i, step := range []struct {
		starting map[watchset.Resource]error
		stale    []int
		want     []int
	}{
		{starting: starting, stale: []int{0, 1}, want: []int{0, 1}},
		{starting: starting},
		{want: []int{0}},
		{},
		{stale: []int{0}, want: []int{0}},
		{},
	} {
		m.with("app", func(r *remembered) {
			for _, index := range step.stale {
				r.stale[index] = true
			}
			if got := r.toRead(places, step.starting); !slices.Equal(got, step.want) {
				t.Errorf("step %d: read are %v, want %v", i, got, step.want)
			}
		})
	}
}
