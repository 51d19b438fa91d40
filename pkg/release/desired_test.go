package release

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestDesiredHoldsTheObjectsAsTheyAreAskedFor(t *testing.T) {
	const manifest = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {n: '1'}\n---\n# nothing\n---\n" +
		"apiVersion: example.com/v1\nkind: Big\nmetadata: {name: b, annotations: {x: z}}\nspec: {number: 9007199254740993, ratio: 0.5}\n"
	list, err := parseManifest(manifest)
	if err != nil {
		t.Fatal(err)
	}
	list[0].Namespace = "web"
	desired, err := newDesired(manifest, Key{Namespace: "web", Name: "app"}, list)
	if err != nil {
		t.Fatal(err)
	}
	got, err := desired.Objects([]int{1, 0, 7})
	if err != nil {
		t.Fatal(err)
	}
	number, _, _ := unstructured.NestedInt64(got[0].Object, "spec", "number")
	if got[0].GetName() != "b" || number != 9007199254740993 || got[0].GetAnnotations()["x"] != "z" {
		t.Errorf("the second object is %+v", got[0])
	}
	if got[1].GetName() != "a" || got[1].GetNamespace() != "web" || got[1].GetAnnotations()[annotationReleaseName] != "app" ||
		got[1].GetLabels()["app.kubernetes.io/managed-by"] != "Helm" {
		t.Errorf("the first object is %+v", got[1])
	}
	if got[2] != nil {
		t.Errorf("an object that does not exist is %+v", got[2])
	}
	if none, err := (*Desired)(nil).Objects([]int{0}); err != nil || none[0] != nil {
		t.Errorf("of a release that was not read there is %v, %v", none, err)
	}
}

func TestDesiredIsSmall(t *testing.T) {
	var manifest strings.Builder
	for i := range 20 {
		fmt.Fprintf(&manifest, "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app-%d, namespace: web}\nspec: {replicas: 1, selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: 'example.com/a:%d', env: [{name: A, value: b}]}]}}}\n", i, i)
	}
	list, err := parseManifest(manifest.String())
	if err != nil {
		t.Fatal(err)
	}
	desired, err := newDesired(manifest.String(), Key{Namespace: "web", Name: "app"}, list)
	if err != nil {
		t.Fatal(err)
	}
	if size := len(desired.packed); size > manifest.Len()/4 {
		t.Errorf("a manifest of %d bytes takes %d", manifest.Len(), size)
	}
}

func TestRefusalsAreToldFromSilence(t *testing.T) {
	kind, group := schema.GroupKind{Kind: "Secret"}, schema.GroupResource{Resource: "secrets"}
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "s"},
		"stringData": map[string]any{"a": "planted-value"},
	}}
	for name, test := range map[string]struct {
		err              error
		refused, invalid bool
	}{
		"invalid":     {apierrors.NewInvalid(kind, "s", nil), true, true},
		"forbidden":   {apierrors.NewForbidden(group, "s", errors.New("says planted-value")), true, false},
		"bad request": {apierrors.NewBadRequest("duplicate"), true, false},
		"broken hook": {apierrors.NewInternalError(errors.New("no answer")), true, false},
		"conflict":    {apierrors.NewConflict(group, "s", errors.New("x")), false, false},
		"not found":   {apierrors.NewNotFound(group, "s"), false, false},
		"busy":        {apierrors.NewTooManyRequests("later", 1), false, false},
		"away":        {apierrors.NewServiceUnavailable("x"), false, false},
		"cut":         {errors.New("connection refused"), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := refusal(test.err, secret)
			var refused *RefusedError
			if errors.As(err, &refused) != test.refused || refused != nil && refused.Invalid() != test.invalid {
				t.Errorf("it is %v", err)
			}
			if strings.Contains(err.Error(), "planted-value") {
				t.Errorf("it tells what is in the Secret: %v", err)
			}
		})
	}
}
