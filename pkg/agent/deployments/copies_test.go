package deployments

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

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

// copying has the deployment copy a Secret, and its release be made with it.
func copying(w *World) {
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
		return func(w *World) { w.Copies = append(w.Copies, keyIn(namespace)) }
	}
	unseen := func(w *World) { w.CopiesUnseen = true }
	outdated := func(w *World) { w.Records[0].Digest = release.Digest("content:1") }
	failed := func(w *World) { w.Last = &Attempt{Inputs: w.inputs(), Failures: 1, Next: noon.Add(time.Second)} }
	paused := func(w *World) { w.Deployment.Spec.Paused = true }
	for _, test := range []struct {
		name  string
		world World
		step  Step
	}{
		{"all is as it should be", worldWith(copying, has("web")), StepMonitor},
		{"nobody has looked yet", worldWith(copying, has("web"), unseen), StepCopy},
		{"the release was made without them", worldWith(copying, outdated, unseen), StepDeploy},
		{"there is no release", worldWith(notInstalled, copying, unseen), StepDeploy},
		{"one is left in another namespace", worldWith(copying, has("web"), has("elsewhere")), StepCopy},
		{"one is left of a deployment that copies nothing", worldWith(has("web")), StepCopy},
		{"it failed a moment ago", worldWith(copying, unseen, failed), StepWait},
		{"paused", worldWith(copying, unseen, paused), StepLeave},
		{"being removed", worldWith(copying, has("web"), deleted), StepRemove},
	} {
		if d := Decide(test.world); d.Step != test.step {
			t.Errorf("%s: %s (%s), want %s", test.name, d.Step, d.Reason, test.step)
		}
	}
}

// inHub is the Secret of the deployment on the hub.
func (s *stage) inHub(data map[string][]byte) {
	s.deps.Secrets = secretsOf(data)
}

type secretsOf map[string][]byte

func (s secretsOf) Get(context.Context, string, string) (*corev1.Secret, error) {
	return &corev1.Secret{Data: s}, nil
}

func TestCopiesThatCannotBeMadeAreToldOf(t *testing.T) {
	s := newStage(t, copying)
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
	s.memory.with("app", func(r *remembered) { r.failed = nil })
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
	s := newStage(t, copying)
	s.inHub(map[string][]byte{names.KeyDownstreamResources: []byte("[]")})
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	c := status.Get(s.live.Status.Conditions, fleet.ConditionDeployed)
	if c == nil || c.Reason != ReasonWaitingForValues {
		t.Errorf("the condition is %+v", c)
	}
	s.live.Annotations = nil
	if _, err := s.hubInputs(t.Context(), s.live); !errors.Is(err, errValuesOutdated) {
		t.Errorf("of a manager that copies nothing: %v", err)
	}
}

func TestEventsOfCopies(t *testing.T) {
	m := newMemory()
	provided := func(versions map[release.CopyKey]string) { m.with("app", func(r *remembered) { r.copied = versions }) }
	event := func(namespace, version string) release.CopyEvent {
		return release.CopyEvent{Key: keyIn(namespace), Version: version, Owners: []string{"app"}}
	}
	for _, test := range []struct {
		name     string
		provided map[release.CopyKey]string
		event    release.CopyEvent
		wakes    bool
		unseen   bool
	}{
		{"nobody has looked yet", nil, event("web", "1"), true, true},
		{"what the agent wrote itself", map[release.CopyKey]string{keyIn("web"): "1"}, event("web", "1"), false, false},
		{"somebody else wrote", map[release.CopyKey]string{keyIn("web"): "1"}, event("web", "2"), true, true},
		{"somebody deleted it", map[release.CopyKey]string{keyIn("web"): "1"}, event("web", ""), true, true},
		{"one that is not asked for is there", map[release.CopyKey]string{keyIn("web"): "1"}, event("old", "7"), true, false},
		{"one that is not asked for has gone", map[release.CopyKey]string{keyIn("web"): "1"}, event("old", ""), false, false},
	} {
		provided(test.provided)
		if got := m.copyChanged("app", test.event); got != test.wakes {
			t.Errorf("%s: wakes %t", test.name, got)
		}
		m.with("app", func(r *remembered) {
			if (r.copied == nil) != test.unseen {
				t.Errorf("%s: remembered %v", test.name, r.copied)
			}
		})
	}
}

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
