package deployments

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/copies"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

var pull = copies.Copy{Kind: copies.KindSecret, Namespace: "fleet-default", Name: "pull", UID: "u", Data: map[string][]byte{"values.yaml": []byte("a: copied")}}

func keyIn(namespace string) release.CopyKey {
	return release.CopyKey{Ref: pull.Ref(), Namespace: namespace}
}

// withCopies has the deployment copy a Secret, and its release be made with it.
func withCopies(w *World) {
	_, digest, err := copies.Encode([]copies.Copy{pull})
	if err != nil {
		panic(err)
	}
	w.Deployment.Spec.Options.DownstreamResources = []fleet.DownstreamResource{{Kind: "secret", Name: "pull"}}
	w.Deployment.Spec.DownstreamResourcesGeneration = 3
	w.Deployment.Annotations = map[string]string{names.AnnotationDownstreamResources: digest}
	for i := range w.Records {
		w.Records[i].Digest = release.Digest(fingerprint(w.Deployment))
	}
}

func TestDecideAboutCopies(t *testing.T) {
	has := func(namespace string) func(*World) {
		return func(w *World) {
			w.Copies.Held = append(w.Copies.Held, release.HeldCopy{Key: keyIn(namespace), Version: "1"})
		}
	}
	unseen := func(w *World) { w.Copies.Unseen = true }
	outdated := func(w *World) { w.Records[0].Digest = release.Digest("content:1") }
	failed := func(w *World) { w.Copies.Due, w.Copies.Problem = noon.Add(time.Second), "forbidden" }
	struggling := func(w *World) { w.Copies.Due = noon.Add(time.Second) }
	unmet := func(w *World) { w.Deployment.Spec.DependsOn = []fleet.BundleRef{{Name: "base"}} }
	paused := func(w *World) { w.Deployment.Spec.Paused = true }
	for _, test := range []struct {
		name  string
		world World
		step  Step
		copy  bool
		says  string
	}{
		{"all is as it should be", worldWith(withCopies, has("web")), StepMonitor, false, ""},
		{"nobody has looked yet", worldWith(withCopies, has("web"), unseen), StepMonitor, true, ""},
		{"nobody has looked yet, and a dependency is not ready", worldWith(withCopies, has("web"), unseen, unmet), StepMonitor, true, ""},
		{"the release was made without them", worldWith(withCopies, outdated, unseen), StepDeploy, false, ""},
		{"there is no release", worldWith(notInstalled, withCopies, unseen), StepDeploy, false, ""},
		{"one is left in another namespace", worldWith(withCopies, has("web"), has("elsewhere")), StepMonitor, true, ""},
		{"one is left of a deployment that copies nothing", worldWith(has("web")), StepMonitor, true, ""},
		{"it failed a moment ago", worldWith(withCopies, unseen, failed), StepMonitor, false, "forbidden"},
		{"what went wrong is over", worldWith(withCopies, has("web"), failed), StepMonitor, false, ""},
		{"somebody changes them back each time", worldWith(withCopies, unseen, struggling), StepMonitor, false, "it will be again at 2026-11-21T12:00:01Z"},
		{"paused", worldWith(withCopies, unseen, paused), StepLeave, false, "paused"},
		{"being removed", worldWith(withCopies, has("web"), deleted), StepRemove, false, ""},
	} {
		d := Decide(test.world)
		if d.Step != test.step || d.Copy != test.copy || !strings.Contains(d.Message, test.says) || test.says == "" && d.Message != "" {
			t.Errorf("%s: %s, copy %t, %q; want %s, %t, %q", test.name, d.Step, d.Copy, d.Message, test.step, test.copy, test.says)
		}
		if wait := d.Recheck; !test.copy && test.step == StepMonitor && test.world.Copies.Unseen != (wait == time.Second) {
			t.Errorf("%s: again after %s", test.name, wait)
		}
	}
}

// inHub is the Secret of the deployment on the hub.
func (s *stage) inHub(data map[string][]byte) {
	s.deps.Secrets = secretsOf(data)
}

// did counts what was done, by how it is told.
func (s *stage) did(what string) int {
	n := 0
	for _, line := range s.journal {
		if strings.HasPrefix(line, what) {
			n++
		}
	}
	return n
}

type secretsOf map[string][]byte

func (s secretsOf) Get(context.Context, string, string) (*corev1.Secret, error) {
	return &corev1.Secret{Data: s}, nil
}

func TestCopiesThatCannotBeMadeAreToldOf(t *testing.T) {
	s := newStage(t, withCopies)
	encoded, _, _ := copies.Encode([]copies.Copy{pull})
	s.inHub(map[string][]byte{names.KeyDownstreamResources: encoded})
	s.uncopied = errors.New("it is forbidden, says a: copied")
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	c := status.Get(s.live.Status.Conditions, fleet.ConditionDeployed)
	if c == nil || c.Status != metav1.ConditionFalse || c.Message != "it is forbidden, says <redacted>" {
		t.Errorf("the condition is %+v", c)
	}
	if s.live.Applied() || status.DeploymentState(s.live) != fleet.ErrApplied {
		t.Errorf("it counts as %s, with copies of generation %d", status.DeploymentState(s.live), s.live.Status.DownstreamResourcesGeneration)
	}
	s.journal = nil
	s.sync()
	s.uncopied = nil
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	if s.live.Applied() {
		t.Error("it was tried again at once")
	}
	s.clock.(*clocktesting.FakePassiveClock).SetTime(noon.Add(time.Hour))
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	if !s.live.Applied() || s.live.Status.DownstreamResourcesGeneration != 3 {
		t.Errorf("copies of generation %d", s.live.Status.DownstreamResourcesGeneration)
	}
	s.journal = nil
	s.sync()
	// Nothing is asked or written while nothing happens.
	s.deps.Secrets = nil
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	s.expect()
}

// The hub writes the Secret first; until the deployment is the one that it was written for, there is nothing to be done.
func TestCopiesOfAnotherStateAreWaitedFor(t *testing.T) {
	s := newStage(t, withCopies)
	s.inHub(map[string][]byte{names.KeyDownstreamResources: []byte("[]")})
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	c := status.Get(s.live.Status.Conditions, fleet.ConditionDeployed)
	if c == nil || c.Message != errValuesOutdated.Error() {
		t.Errorf("the condition is %+v", c)
	}
	s.live.Annotations = nil
	if _, err := s.hubInputs(t.Context(), s.live); !errors.Is(err, errValuesOutdated) {
		t.Errorf("of a manager that copies nothing: %v", err)
	}
}

// Somebody who changes a copy back each time makes putting it right wait, and is told of.
func TestCopiesThatAreChangedBackWait(t *testing.T) {
	s := newStage(t, withCopies)
	encoded, _, _ := copies.Encode([]copies.Copy{pull})
	s.inHub(map[string][]byte{names.KeyDownstreamResources: encoded})
	s.changed = true
	for range 20 {
		s.memory.copyChanged("app", release.CopyEvent{Key: keyIn("web"), Version: "theirs", Owners: []string{"app"}})
		s.copies = []release.HeldCopy{{Key: keyIn("web"), Version: "theirs"}}
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		s.sync()
	}
	if made := s.did("copy "); made != 3 {
		t.Errorf("put right %d times in no time", made)
	}
	if c := status.Get(s.live.Status.Conditions, fleet.ConditionDeployed); c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "changed by somebody else") {
		t.Errorf("the condition is %+v", c)
	}
}

// Whoever may write somewhere in the cluster may forge a mark: that does the deployment no harm.
func TestForgedMarksDoNoHarm(t *testing.T) {
	s := newStage(t)
	s.copies = []release.HeldCopy{{Key: keyIn("theirs"), Version: "1"}}
	s.unremoved = errors.New("forbidden")
	for range 3 {
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		s.sync()
	}
	if c := status.Get(s.live.Status.Conditions, fleet.ConditionDeployed); c.Status != metav1.ConditionTrue {
		t.Errorf("the condition is %+v", c)
	}
	if tried := s.did("withdraw "); tried != 1 {
		t.Errorf("tried %d times to take it away", tried)
	}
}

func TestWhatIsKnownOfCopies(t *testing.T) {
	key := keyIn("web")
	event := func(version string) release.CopyEvent {
		return release.CopyEvent{Key: key, Version: version, Owners: []string{"app"}}
	}
	held := func(version string) []release.HeldCopy { return []release.HeldCopy{{Key: key, Version: version}} }
	provided := func(m *memory) {
		m.providing("app")
		m.provided("app", map[release.CopyKey]string{key: "5"})
	}
	for _, test := range []struct {
		name   string
		before func(*memory)
		event  *release.CopyEvent
		held   []release.HeldCopy
		wakes  bool
		unseen bool
	}{
		{"nobody has looked yet", nil, nil, held("5"), false, true},
		{"as it was provided", provided, nil, held("5"), false, false},
		{"the watch shows an older state", provided, nil, held("4"), false, false},
		{"the watch does not show it yet", provided, nil, nil, false, false},
		{"what the agent wrote itself is told", provided, ptr(event("5")), held("5"), false, false},
		{"somebody else wrote", provided, ptr(event("7")), held("7"), true, true},
		{"somebody deleted it", provided, ptr(event("")), nil, true, true},
		{"the agent wrote it for another deployment", func(m *memory) {
			provided(m)
			m.providing("other")
			m.provided("other", map[release.CopyKey]string{key: "7"})
		}, ptr(event("7")), held("7"), false, false},
		{"somebody changed it while the release was being made", func(m *memory) {
			provided(m)
			m.copyChanged("app", event("8"))
		}, nil, held("8"), false, true},
		{"somebody deleted it while it was being provided", func(m *memory) {
			m.providing("app")
			m.copyChanged("app", event(""))
			m.provided("app", map[release.CopyKey]string{key: "5"})
		}, nil, nil, false, true},
		{"it had gone before", func(m *memory) {
			m.with("app", func(*remembered) {})
			m.copyChanged("app", event(""))
			provided(m)
		}, nil, nil, false, false},
	} {
		m := newMemory()
		if test.before != nil {
			test.before(m)
		}
		if test.event != nil {
			if got := m.copyChanged("app", *test.event); got != test.wakes {
				t.Errorf("%s: wakes %t", test.name, got)
			}
		}
		m.with("app", func(r *remembered) {
			if got := r.copying.see(test.held, []release.CopyKey{key}, m.wrote); got.Unseen != test.unseen {
				t.Errorf("%s: unseen %t", test.name, got.Unseen)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

// A copy counts, wherever in the cluster a reference to its name looks.
func TestValuesFromCopies(t *testing.T) {
	settings := copies.Copy{Kind: copies.KindConfigMap, Namespace: "fleet-default", Name: "settings", Text: map[string]string{"values.yaml": "b: copied"}}
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "theirs", Name: "pull"}, Data: map[string][]byte{"values.yaml": []byte("a: theirs")}}
	source := clusterValues{client: fake.NewClientset(theirs), namespace: "web", impersonated: true, copies: []copies.Copy{pull, settings}}
	ref := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	values, err := source.merge(t.Context(), nil, []fleet.ValuesFrom{
		{SecretKeyRef: &fleet.SecretKeySelector{LocalObjectReference: ref("pull"), Namespace: "theirs"}},
		{ConfigMapKeyRef: &fleet.ConfigMapKeySelector{LocalObjectReference: ref("settings")}},
	})
	if err != nil || values["a"] != "copied" || values["b"] != "copied" {
		t.Errorf("got %v, %v", values, err)
	}
	_, err = source.merge(t.Context(), nil, []fleet.ValuesFrom{{SecretKeyRef: &fleet.SecretKeySelector{LocalObjectReference: ref("pull"), Key: "more"}}})
	if want := "valuesFrom: Secret fleet-default/pull on the hub has no key more"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
