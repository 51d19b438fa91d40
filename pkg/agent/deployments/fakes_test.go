package deployments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"testing"

	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/prometheus/client_golang/prometheus"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/kube/watchset"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// stage is a controller with one deployment, between a hub and a cluster that
// note in one journal what is done to them.
type stage struct {
	t *testing.T
	*Controller

	journal []string
	// live is the deployment as the hub holds it, nil if it is gone; seen is what the agent's cache shows.
	live, seen *fleet.BundleDeployment
	// undone says that the cache shows another status than was reported.
	undone bool
	// away is the hub's answer to writes while it is not nil.
	away error
	// evidence is what the hub answers before a removal.
	evidence Evidence
	// records are the releases of the deployment; stuck are objects that do not go, broken is why nothing can be removed.
	records []release.Record
	stuck   []release.Remaining
	broken  error
	// copies are those of the deployment, and uncopied is why none can be made.
	copies   []release.HeldCopy
	uncopied error
	// unremoved is why copies cannot be removed, and changed says that each time somebody else has changed them.
	unremoved error
	changed   bool
}

func newStage(t *testing.T, edits ...func(*World)) *stage {
	t.Helper()
	w := worldWith(edits...)
	w.Deployment.Namespace, w.Deployment.ResourceVersion = "cluster", "10"
	s := &stage{t: t, live: w.Deployment, seen: w.Deployment.DeepCopy(), records: w.Records, evidence: Evidence{
		Deployment: Terminating, UID: w.Deployment.UID, Cluster: Present, Namespace: Present, Kind: Present,
	}}
	log := logrus.New()
	log.SetOutput(io.Discard)
	s.Controller = &Controller{
		deps: Deps{
			Deployments: stagedHub{s}, Evidence: stagedHub{s}, Releases: stagedReleases{s}, Inventory: stagedReleases{s},
			Copies:    stagedCopies{s},
			Namespace: "cluster", HubID: "hub", Agent: names.NamespaceSystem, LongestRetry: lastRetry, Metrics: NewMetrics(prometheus.NewRegistry()),
		},
		cache: stagedCache{s}, watches: stagedWatches{}, memory: newMemory(), slots: make(slots, 1),
		clock: clocktesting.NewFakePassiveClock(noon), log: log, random: func() float64 { return 0 },
	}
	return s
}

// run has the deployment looked after once.
func (s *stage) run() error {
	s.t.Helper()
	_, err := s.reconcile(s.t.Context(), kube.Key{Namespace: "cluster", Name: "app"})
	return err
}

// sync shows the agent what the hub holds.
func (s *stage) sync() {
	s.seen = s.live.DeepCopy()
	s.undone = s.memory.shown(s.seen)
}

// restart has another agent go on, which remembers nothing.
func (s *stage) restart() {
	s.sync()
	s.memory = newMemory()
}

// touch has somebody else write to the deployment.
func (s *stage) touch(edit func(*fleet.BundleDeployment)) {
	s.live = s.live.DeepCopy()
	edit(s.live)
	s.next()
}

func (s *stage) next() {
	version, err := strconv.Atoi(s.live.ResourceVersion)
	if err != nil {
		s.t.Fatal(err)
	}
	s.live.ResourceVersion = strconv.Itoa(version + 1)
}

func (s *stage) note(format string, args ...any) {
	s.journal = append(s.journal, fmt.Sprintf(format, args...))
}

// expect fails the test unless exactly this was done since the last time.
func (s *stage) expect(want ...string) {
	s.t.Helper()
	if len(want)+len(s.journal) > 0 && !reflect.DeepEqual(s.journal, want) {
		s.t.Errorf("done was %q, want %q", s.journal, want)
	}
	s.journal = nil
}

// removedAs returns status and reason of the condition Removed.
func removedAs(bd *fleet.BundleDeployment) string {
	c := status.Get(bd.Status.Conditions, fleet.ConditionRemoved)
	if c == nil {
		return "none"
	}
	return fmt.Sprintf("%s/%s", c.Status, c.Reason)
}

type stagedHub struct{ *stage }

func (h stagedHub) Cache() generic.CacheInterface[*fleet.BundleDeployment] { return h.cache }
func (h stagedHub) OnEvent(func(kube.Event[*fleet.BundleDeployment]))      {}
func (h stagedHub) Read(context.Context, string) (Evidence, error)         { return h.evidence, nil }
func (h stagedHub) ChangeStatus(_ context.Context, before, after *fleet.BundleDeployment) (*fleet.BundleDeployment, error) {
	kind := schema.GroupResource{Resource: "bundledeployments"}
	switch {
	case h.away != nil:
		return nil, h.away
	case reflect.DeepEqual(before.Status, after.Status):
		return before, nil
	case h.live == nil:
		return nil, apierrors.NewNotFound(kind, before.Name)
	case before.ResourceVersion != h.live.ResourceVersion:
		return nil, apierrors.NewConflict(kind, before.Name, errors.New("it is another version"))
	}
	h.touch(func(bd *fleet.BundleDeployment) { bd.Status = *after.Status.DeepCopy() })
	h.note("status Removed=%s", removedAs(after))
	return h.live.DeepCopy(), nil
}

type stagedCache struct{ *stage }

func (c stagedCache) Get(namespace, name string) (*fleet.BundleDeployment, error) {
	if c.seen == nil || c.seen.Namespace != namespace || c.seen.Name != name {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "bundledeployments"}, name)
	}
	return c.seen, nil
}

func (c stagedCache) List(string, labels.Selector) ([]*fleet.BundleDeployment, error) {
	return []*fleet.BundleDeployment{c.seen}, nil
}

func (c stagedCache) AddIndexer(string, generic.Indexer[*fleet.BundleDeployment]) {}

func (c stagedCache) GetByIndex(string, string) ([]*fleet.BundleDeployment, error) { return nil, nil }

// stagedReleases are the releases of the deployment; what is left out of the
// interface is not to be called.
type stagedReleases struct{ *stage }

func (r stagedReleases) Of(string) []release.Record {
	return append([]release.Record(nil), r.records...)
}
func (r stagedReleases) All() []release.Record                             { return r.records }
func (r stagedReleases) OnChange(func(release.Record)) error               { return nil }
func (r stagedReleases) RESTMapper() meta.RESTMapper                       { return meta.MultiRESTMapper{} }
func (r stagedReleases) IsNamespaced(schema.GroupVersionKind) (bool, bool) { return true, true }

func (r stagedReleases) Apply(_ context.Context, req release.Request) (*release.Outcome, error) {
	r.note("apply %s", req.Key)
	return nil, errors.New("not part of the play")
}

func (r stagedReleases) Remove(_ context.Context, removal release.Removal) ([]release.Remaining, error) {
	if r.broken != nil {
		r.note("fail to remove %s", removal.Key)
		return nil, r.broken
	}
	r.note("remove %s", removal.Key)
	if len(r.stuck) == 0 {
		r.stage.records = nil
	}
	return r.stuck, nil
}

func (r stagedReleases) Adopt(_ context.Context, key release.Key, owner release.Owner) error {
	r.note("adopt %s for %s", key, owner.UID)
	for i := range r.records {
		if r.records[i].Key == key {
			r.records[i].UID, r.records[i].Hub = owner.UID, owner.Hub
		}
	}
	return nil
}

func (r stagedReleases) Find(context.Context, string) ([]release.Record, error) { return r.Of(""), nil }

func (r stagedReleases) Load(_ context.Context, record release.Record) (*release.Release, error) {
	return &release.Release{Record: record}, nil
}

func (r stagedReleases) Unwish(_ context.Context, record release.Record) error {
	r.note("unwish %s", record.Key)
	for i := range r.records {
		r.records[i].Wish = ""
	}
	return nil
}

func (r stagedReleases) OriginOf(_ context.Context, record release.Record) (release.Origin, error) {
	return release.Origin{Deployment: record.Deployment, ServiceAccount: "tenant"}, nil
}

func (r stagedReleases) Forget(_ context.Context, record release.Record) error {
	r.note("forget %s", record.Key)
	r.stage.records = nil
	return nil
}

func (r stagedReleases) ClientAs(string) (kubernetes.Interface, error) {
	return fake.NewClientset(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: names.NamespaceSystem, Name: "other"}}), nil
}

func (r stagedReleases) ForgetKinds() {}

func (r stagedReleases) Provide(_ context.Context, p release.Provision) (*release.Provided, error) {
	made := &release.Provided{Versions: map[release.CopyKey]string{}, Written: r.changed}
	for i := range p.Copies {
		key := release.CopyKey{Ref: p.Copies[i].Ref(), Namespace: p.Terms.Namespace}
		r.note("copy %s as %q", key, p.ServiceAccount)
		made.Versions[key] = "1"
	}
	return made, r.uncopied
}

func (r stagedReleases) Held(context.Context, release.Owner, []release.CopyKey) ([]release.CopyKey, error) {
	var keys []release.CopyKey
	for _, held := range r.copies {
		keys = append(keys, held.Key)
	}
	return keys, nil
}

func (r stagedReleases) Withdraw(_ context.Context, w release.Withdrawal) error {
	r.note("withdraw %s keep=%t", w.Copy, w.Keep)
	return r.unremoved
}

// stagedCopies are the copies that the deployment has.
type stagedCopies struct{ *stage }

func (c stagedCopies) Of(string) []release.HeldCopy           { return c.copies }
func (c stagedCopies) OnChange(func(release.CopyEvent)) error { return nil }

func (r stagedReleases) Predict(context.Context, release.Question) (*release.Prediction, error) {
	return nil, errors.New("not part of the play")
}

func (r stagedReleases) Correct(context.Context, release.Correction) (*unstructured.Unstructured, error) {
	return nil, errors.New("not part of the play")
}

type stagedWatches struct{}

func (stagedWatches) Want(string, []watchset.Resource) error      { return nil }
func (stagedWatches) Problems(string) map[watchset.Resource]error { return nil }
func (stagedWatches) Marked(string) []watchset.Event              { return nil }
