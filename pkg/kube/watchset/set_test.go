package watchset

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
)

const label = "example.com/set"

// listener notes what a set tells.
type listener struct {
	mu     sync.Mutex
	events []Event
	states map[string]int
}

func (l *listener) onEvent(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *listener) onState(owner string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.states[owner]++
}

func (l *listener) last() Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 {
		return Event{}
	}
	return l.events[len(l.events)-1]
}

func start(t *testing.T, objects ...runtime.Object) (*Set, *fake.FakeMetadataClient, *listener) {
	t.Helper()
	scheme := fake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client := fake.NewSimpleMetadataClient(scheme, objects...)
	heard := &listener{states: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	log := logrus.New()
	log.SetLevel(logrus.PanicLevel)
	set := New(ctx, Options{Client: client, Label: label, OnEvent: heard.onEvent, OnState: heard.onState, Log: log})
	t.Cleanup(func() {
		cancel()
		set.Wait() // hangs if a watch does not end
	})
	return set, client, heard
}

func configMap(name, version string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "web", Name: name, ResourceVersion: version,
			Labels: map[string]string{label: "mine", "other": "x"}, Annotations: map[string]string{"big": "text"},
		},
	}
}

// eventually polls until ok returns nil.
func eventually(t *testing.T, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestSetTellsOfChanges(t *testing.T) {
	set, client, heard := start(t, configMap("a", "1"))
	if err := set.Want("app", resources("configmaps")); err != nil {
		t.Fatal(err)
	}
	expect := func(want Event) {
		t.Helper()
		want.Resource, want.Namespace, want.Label = resources("configmaps")[0], "web", "mine"
		eventually(t, func() error {
			if got := heard.last(); got != want {
				return fmt.Errorf("last event is %+v, want %+v", got, want)
			}
			return nil
		})
	}
	expect(Event{Name: "a", Version: "1"})
	if err := client.Tracker().Update(resources("configmaps")[0], configMap("a", "2"), "web"); err != nil {
		t.Fatal(err)
	}
	expect(Event{Name: "a", Version: "2"})
	if err := client.Tracker().Delete(resources("configmaps")[0], "web", "a"); err != nil {
		t.Fatal(err)
	}
	expect(Event{Name: "a", Version: "2", Gone: true})
}

func TestSetAsksForItsLabelOnly(t *testing.T) {
	set, client, _ := start(t)
	if err := set.Want("app", resources("secrets")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		watched := false
		for _, action := range client.Actions() {
			var selector string
			switch a := action.(type) {
			case clienttesting.ListActionImpl:
				selector = a.ListRestrictions.Labels.String()
			case clienttesting.WatchActionImpl:
				selector, watched = a.WatchRestrictions.Labels.String(), true
			}
			if selector != label {
				t.Fatalf("%s asks for %q", action.GetVerb(), selector)
			}
		}
		if !watched {
			return errors.New("there is no watch yet")
		}
		return nil
	})
}

func TestSetSharesWatches(t *testing.T) {
	set, _, _ := start(t)
	for _, step := range []struct {
		owner  string
		wanted []Resource
		runs   int
	}{
		{"a", resources("configmaps", "secrets"), 2},
		{"b", resources("configmaps"), 2},
		{"a", nil, 1},
		{"b", resources("services"), 1},
		{"b", nil, 0},
		{"b", resources("configmaps"), 1},
	} {
		if err := set.Want(step.owner, step.wanted); err != nil {
			t.Fatal(err)
		}
		if got := set.Watched(); got != step.runs {
			t.Errorf("after %s wants %v, %d watches run", step.owner, step.wanted, got)
		}
	}
}

func TestSetTellsProblemsAndTheirEnd(t *testing.T) {
	set, client, heard := start(t)
	var mu sync.Mutex
	var problem error = apierrors.NewForbidden(resources("secrets")[0].GroupResource(), "", errors.New("no"))
	answer := func(clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		return problem != nil, nil, problem
	}
	client.PrependReactor("list", "secrets", answer)
	if err := set.Want("app", resources("secrets", "configmaps")); err != nil {
		t.Fatal(err)
	}
	if err := set.Want("other", resources("configmaps")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		problems := set.Problems("app")
		if len(problems) != 1 || !apierrors.IsForbidden(problems[resources("secrets")[0]]) {
			return fmt.Errorf("problems are %v", problems)
		}
		if others := set.Problems("other"); len(others) != 0 {
			return fmt.Errorf("problems of another owner are %v", others)
		}
		return nil
	})
	mu.Lock()
	problem = nil
	mu.Unlock()
	eventually(t, func() error {
		if problems := set.Problems("app"); len(problems) != 0 {
			return fmt.Errorf("problems are %v", problems)
		}
		return nil
	})
	heard.mu.Lock()
	defer heard.mu.Unlock()
	if heard.states["app"] < 2 {
		t.Errorf("the owner was told %d times", heard.states["app"])
	}
}

func TestOutageOfTheAPIServerIsNoProblemOfAResource(t *testing.T) {
	set, client, _ := start(t)
	failed := make(chan struct{}, 100)
	client.PrependReactor("list", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		failed <- struct{}{}
		return true, nil, errors.New("connection refused")
	})
	if err := set.Want("app", resources("secrets")); err != nil {
		t.Fatal(err)
	}
	<-failed
	eventually(t, func() error {
		problems := set.Problems("app")
		if err, listed := problems[resources("secrets")[0]]; !listed || err != nil {
			return fmt.Errorf("problems are %v", problems)
		}
		return nil
	})
}
