package measures

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/bench/hub"
	"github.com/flotilla-gitops/flotilla/dev/bench/stream"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func TestSizes(t *testing.T) {
	got, err := Sizes([]int{1000, 100, 1000})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{100, 1000}, got); diff != "" {
		t.Error(diff)
	}
	for _, sizes := range [][]int{nil, {10}, {5, 100}} {
		if got, err := Sizes(sizes); err == nil {
			t.Errorf("%v is taken as %v", sizes, got)
		}
	}
}

// matching counts the clusters of a fleet that a selector matches.
func matching(t *testing.T, selector metav1.LabelSelector, size int) int {
	t.Helper()
	compiled, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range size {
		if compiled.Matches(labels.Set(cluster(i).Labels)) {
			n++
		}
	}
	return n
}

func TestSelectorsMatchAsManyClustersAsTheMeasuresCountOn(t *testing.T) {
	for _, size := range []int{20, 301} {
		for name, test := range map[string]struct {
			selector metav1.LabelSelector
			want     int
		}{
			"everywhere":            {everywhere(), size},
			"the half that stays":   {labelled(labelHalf, one), (size + 1) / 2},
			"those that an edit":    {labelled(labelTouched, "true"), touched},
			"before the edit":       {without(labelLeft), size},
			"with the ten taken":    {without(labelLeft, labelTouched), size - touched},
			"the half that goes":    {labelled(labelHalf, other), size / 2},
			"nobody, at the outset": {labelled(labelLeft, "true"), 0},
		} {
			if got := matching(t, test.selector, size); got != test.want {
				t.Errorf("%s of %d: %d clusters match, want %d", name, size, got, test.want)
			}
		}
	}
}

func TestFreshIsWhatWasCreated(t *testing.T) {
	bd := &fleet.BundleDeployment{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "cluster-1", Name: "web", UID: "u", ResourceVersion: "5", Generation: 2, CreationTimestamp: metav1.Now(),
			Labels: map[string]string{"a": "b"}, Finalizers: []string{"f"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}},
		},
		Spec:   fleet.BundleDeploymentSpec{DeploymentID: "s-1:2"},
		Status: fleet.BundleDeploymentStatus{Ready: true},
	}
	want := &fleet.BundleDeployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "cluster-1", Name: "web", Labels: map[string]string{"a": "b"}, Finalizers: []string{"f"}},
		Spec:       fleet.BundleDeploymentSpec{DeploymentID: "s-1:2"},
	}
	if diff := cmp.Diff(want, fresh(bd)); diff != "" {
		t.Error(diff)
	}
}

func bundleSaying(generation, observed int64, desired, ready int) stream.Event {
	return stream.Event{Type: stream.Modified, Object: fmt.Appendf(nil,
		`{"metadata":{"name":"bench-00","generation":%d},"status":{"observedGeneration":%d,"summary":{"desiredReady":%d,"ready":%d}}}`,
		generation, observed, desired, ready)}
}

func deployment(kind string) stream.Event {
	return stream.Event{Type: kind, Object: []byte(`{"metadata":{"labels":{"fleet.cattle.io/bundle-name":"bench-00"}}}`)}
}

func TestPictureNotesWhenAConditionCameAbout(t *testing.T) {
	p := newPicture()
	see := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	see(p.seeBundle(bundleSaying(1, 1, 2, 0)))
	see(p.seeDeployment(deployment(stream.Added)))
	see(p.seeDeployment(deployment(stream.Added)))
	gone := p.expect(func(f *facts) bool { return f.deployments["bench-00"] == 1 })
	said := p.expect(func(f *facts) bool { return f.generation("bench-00", 2) && f.says("bench-00", 1, 0) })

	see(p.seeDeployment(deployment(stream.Modified)))
	see(p.seeBundle(bundleSaying(2, 1, 1, 0)))
	if len(gone.since)+len(said.since) > 0 {
		t.Error("a condition came about too early")
	}
	see(p.seeBundle(bundleSaying(2, 2, 1, 0)))
	if len(said.since) > 0 {
		t.Error("a status counts as right before it is true")
	}
	see(p.seeBundle(bundleSaying(2, 1, 1, 0)))
	see(p.seeDeployment(deployment(stream.Deleted)))
	atGone := p.last
	see(p.seeBundle(bundleSaying(2, 2, 1, 0)))
	atSaid := p.last
	// What comes later changes nothing any more.
	see(p.seeDeployment(deployment(stream.Deleted)))
	for await, want := range map[*await]time.Time{gone: atGone, said: atSaid} {
		if at, err := p.when(t.Context(), await); err != nil || !at.Equal(want) {
			t.Errorf("it came about at %v, %v; want %v", at, err, want)
		}
	}
}

// pictured is a picture with five deployments of a bundle whose status is that of the event.
func pictured(t *testing.T, e stream.Event) *picture {
	t.Helper()
	p := newPicture()
	if err := p.seeBundle(e); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := p.seeDeployment(deployment(stream.Added)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestPictureOfAStatusThatIsNotRight(t *testing.T) {
	for name, e := range map[string]stream.Event{
		"of an older generation":     bundleSaying(2, 1, 5, 5),
		"with deployments too many":  bundleSaying(2, 2, 6, 5),
		"with deployments not ready": bundleSaying(2, 2, 5, 4),
	} {
		if pictured(t, e).facts.says("bench-00", 5, 5) {
			t.Errorf("%s: it counts as right", name)
		}
	}
	p := pictured(t, bundleSaying(2, 2, 5, 5))
	if !p.facts.says("bench-00", 5, 5) || !p.facts.says("bench-00", 5, -1) {
		t.Error("what is right is not")
	}
	of := &p.facts.bundles["bench-00"].Status
	of.Summary.Pending = 1
	if p.facts.says("bench-00", 5, -1) {
		t.Error("it counts as right while it takes something for missing")
	}
	of.Summary.Pending = 0
	of.Conditions = []fleet.Condition{{Type: fleet.ConditionRemoving, Status: metav1.ConditionTrue}}
	if p.facts.says("bench-00", 5, 5) {
		t.Error("it counts as right while something is being removed")
	}
}

func TestPictureThatFailedIsNotWaitedFor(t *testing.T) {
	p := newPicture()
	await := p.expect(func(*facts) bool { return false })
	p.fail(errors.New("the watch has ended"))
	if _, err := p.when(t.Context(), await); err == nil || !strings.Contains(err.Error(), "the watch has ended") {
		t.Errorf("error is %v", err)
	}
	if err := p.seeBundle(stream.Event{Type: stream.Added, Object: []byte("{")}); err == nil {
		t.Error("what cannot be decoded is no error")
	}
}

func TestReportOfEditsComparesTheLargestFleetWithTheSmallest(t *testing.T) {
	run := &Run{Settings: Settings{Sizes: []int{100, 1000, 5000}}, report: &figures.Report{}}
	e := &editing{run: run, took: map[string]map[int]*figures.Samples{}}
	for size, took := range map[int][]int{100: {50, 10, 20}, 1000: {30}, 5000: {90, 50}} {
		for _, ms := range took {
			e.samples(takenOutGone, size).Add(time.Duration(ms) * time.Millisecond)
		}
	}
	e.report()
	first := run.report.Measures[:4]
	if got := []float64{first[0].Value, first[1].Value, first[2].Value, first[3].Value}; !cmp.Equal(got, []float64{20, 30, 70, 3.5}) {
		t.Errorf("figures are %v", got)
	}
	if !strings.HasSuffix(first[2].Name, "fleet of 5000") || len(first[2].Rounds) != 2 {
		t.Errorf("the largest fleet is %+v", first[2])
	}
}

func TestCeilingStandsBesideWhatWasMeasured(t *testing.T) {
	run := &Run{report: &figures.Report{}, spent: map[string]hub.Spent{nameFanout: {hub.APIServer: 3 * time.Millisecond}}}
	run.report.Add(figures.Measure{Name: nameFanout, Value: 600, Unit: figures.PerSecond})
	c := &ceiling{run: run}
	for _, rate := range []float64{700, 800, 500} {
		c.creates = c.creates.or(effort{rate: rate, spent: hub.Spent{hub.APIServer: time.Duration(rate) * time.Microsecond}})
	}
	c.report()
	measures := map[string]figures.Measure{}
	for _, m := range run.report.Measures {
		measures[m.Name] = m
	}
	if got := measures[nameFanout].Share(); got != 0.75 {
		t.Errorf("the share of the best is %v", got)
	}
	each := measures[nameFanout+": processor time each: "+hub.APIServer]
	if each.Value != 3 || each.Ceiling != 0.8 {
		t.Errorf("processor time is %+v", each)
	}
}

func TestWritesAboutDeploymentsLeaveOutParents(t *testing.T) {
	got := aboutDeployments(counters.Requests{
		{Verb: "POST", Resource: "bundledeployments"}: 5, {Verb: "PATCH", Resource: "bundledeployments/status"}: 4,
		{Verb: "POST", Resource: "secrets"}: 1, {Verb: "PATCH", Resource: "bundles/status"}: 9,
	})
	if got != 10 {
		t.Errorf("got %d", got)
	}
}

func TestPerObject(t *testing.T) {
	if got := perObject(hub.Spent{hub.Etcd: time.Second}, 1000)[hub.Etcd]; got != time.Millisecond {
		t.Errorf("got %v", got)
	}
	if got := perObject(hub.Spent{hub.Etcd: time.Second}, 0)[hub.Etcd]; got != time.Second {
		t.Errorf("of nothing: %v", got)
	}
}

func TestFileName(t *testing.T) {
	if got := fileName("Clusters 0 → 300/x.1"); got != "clusters-0---300-x.1" {
		t.Errorf("got %q", got)
	}
}
