package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// sheep are of a kind whose plural nobody would guess.
var sheep = schema.GroupVersionResource{Group: "kinds.example.com", Version: "v1", Resource: "flock"}

const sheepYAML = "apiVersion: kinds.example.com/v1\nkind: Sheep\nmetadata: {name: dolly}\nspec: {wool: 3}\n"

// definition makes and removes the definition of a kind with the group
// kinds.example.com.
type definition struct {
	t      *testing.T
	client apiextensions.Interface
	crd    *apiextensionsv1.CustomResourceDefinition
}

func defining(t *testing.T, r schema.GroupVersionResource, kind string) definition {
	t.Helper()
	client, err := apiextensions.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	open := true
	d := definition{t: t, client: client, crd: &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: r.GroupResource().String()},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: r.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: kind, Plural: r.Resource, Singular: strings.ToLower(kind), ListKind: kind + "List"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: r.Version, Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
					OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &open},
				},
			}},
		},
	}}
	t.Cleanup(func() {
		_ = client.ApiextensionsV1().CustomResourceDefinitions().Delete(context.Background(), d.crd.Name, metav1.DeleteOptions{})
	})
	return d
}

func (d definition) make() {
	d.t.Helper()
	if _, err := d.client.ApiextensionsV1().CustomResourceDefinitions().Create(d.t.Context(), d.crd, metav1.CreateOptions{}); err != nil {
		d.t.Fatal(err)
	}
}

func (d definition) remove() {
	d.t.Helper()
	kinds := d.client.ApiextensionsV1().CustomResourceDefinitions()
	if err := kinds.Delete(d.t.Context(), d.crd.Name, metav1.DeleteOptions{}); err != nil {
		d.t.Fatal(err)
	}
	harness.Eventually(d.t, "the definition is gone", func(ctx context.Context) error {
		_, err := kinds.Get(ctx, d.crd.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
}

// A kind that goes takes its objects with it. When it is back they are
// restored, and watched again, also by an agent that started in between and
// cannot know where they are served.
func TestKindThatGoesAndComesBackIsWatchedAndRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kind := defining(t, sheep, "Sheep")
	kind.make()
	w.start()
	key := w.deploy("app", manifest(map[string]string{"s.yaml": sheepYAML, "a.yaml": configMapYAML("a", "1")}).with(correcting))
	before := w.awaitReady(key)
	s := w.somebody()
	for _, restart := range []bool{false, true, false} {
		kind.remove()
		w.awaitModified(key, "sheep.kinds.example.com "+w.target+"/dolly missing")
		env.BundleDeployments.AwaitCondition(t, key, fleet.Condition{
			Type: fleet.ConditionMonitored, Status: metav1.ConditionFalse, Reason: "CannotWatch", Message: "kinds.example.com",
		})
		if restart {
			w.restart()
			w.awaitAgentPast("restarted")
		}
		kind.make()
		s.awaitValue(sheep, "dolly", "spec.wool", "3")
		env.BundleDeployments.Await(t, key, func(bd *fleet.BundleDeployment) error {
			if bd.Status.Display.Monitored != "True" || bd.Status.Display.State != string(fleet.Ready) {
				return fmt.Errorf("it is %+v", bd.Status.Display)
			}
			return nil
		})
		s.patch(sheep, "dolly", `{"spec":{"wool":0}}`)
		s.awaitValue(sheep, "dolly", "spec.wool", "3")
	}
	if bd := w.awaitReady(key); bd.Status.Release != before.Status.Release {
		t.Errorf("release is %s, was %s", bd.Status.Release, before.Status.Release)
	}
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
}
