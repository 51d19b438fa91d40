package watchset

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
)

func widgets() Resource {
	return schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
}

// unserved has requests for a resource answered with "not found" until the
// returned switch is true.
func unserved(client *fake.FakeMetadataClient, r Resource) (is *atomic.Bool, asked *atomic.Int64) {
	is, asked = &atomic.Bool{}, &atomic.Int64{}
	refuse := func(clienttesting.Action) (bool, runtime.Object, error) {
		asked.Add(1)
		if is.Load() {
			return false, nil, nil
		}
		return true, nil, apierrors.NewNotFound(r.GroupResource(), "")
	}
	client.PrependReactor("list", r.Resource, refuse)
	return is, asked
}

func crd(name string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "1"},
	}
}

func (k *kinds) watches() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stop != nil
}

func TestKindThatComesToBeServedIsWatched(t *testing.T) {
	set, client, heard := start(t)
	served, _ := unserved(client, widgets())
	if err := set.Want("app", []Resource{widgets()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if problem := set.Problems("app")[widgets()]; !apierrors.IsNotFound(problem) || !set.kinds.watches() {
			return fmt.Errorf("the problem is %w", problem)
		}
		return nil
	})
	served.Store(true)
	if err := client.Tracker().Create(definitions(), crd("widgets.example.com"), ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if len(set.Problems("app")) > 0 || set.kinds.watches() {
			return errors.New("it is not watched, or the definitions still are")
		}
		return nil
	})
	widget := configMap("w", "1")
	widget.APIVersion, widget.Kind = "example.com/v1", "Widget"
	if err := client.Tracker().Create(widgets(), widget, "web"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if got := heard.last(); got.Name != "w" {
			return fmt.Errorf("the last event is %+v", got)
		}
		return nil
	})
}

func TestNobodyWaitsForAKindThatNobodyWants(t *testing.T) {
	set, client, _ := start(t)
	_, asked := unserved(client, widgets())
	if err := set.Want("app", []Resource{widgets()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if asked.Load() == 0 || !set.kinds.watches() {
			return errors.New("nobody waits")
		}
		return nil
	})
	if err := set.Want("app", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if set.kinds.watches() {
			return errors.New("the definitions are still watched")
		}
		return nil
	})
}

func TestDefinitionsOfTheGroupAreToldToOwners(t *testing.T) {
	set, client, heard := start(t)
	unserved(client, widgets())
	if err := set.Want("app", []Resource{widgets()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if !set.kinds.watches() {
			return errors.New("nobody waits")
		}
		return nil
	})
	heard.mu.Lock()
	before := heard.states["app"]
	heard.mu.Unlock()
	// The kind is served under another name than was guessed.
	if err := client.Tracker().Create(definitions(), crd("widgetries.example.com"), ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		heard.mu.Lock()
		defer heard.mu.Unlock()
		if heard.states["app"] == before {
			return errors.New("the owner was not told")
		}
		return nil
	})
}

func TestMarkedObjectsAreFoundByTheirLabel(t *testing.T) {
	set, client, heard := start(t, configMap("a", "1"))
	set.opts.Mark = func(meta *metav1.PartialObjectMetadata) bool { return meta.Name == "b" }
	if err := set.Want("app", resources("configmaps")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if heard.last().Name != "a" || heard.last().Marked {
			return fmt.Errorf("the last event is %+v", heard.last())
		}
		return nil
	})
	if len(set.Marked("mine")) > 0 {
		t.Error("an object without a mark is found")
	}
	if err := client.Tracker().Create(resources("configmaps")[0], configMap("b", "2"), "web"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if got := set.Marked("mine"); len(got) != 1 || got[0].Name != "b" || !heard.last().Marked || len(set.Marked("other")) > 0 {
			return fmt.Errorf("found are %+v", got)
		}
		return nil
	})
}
