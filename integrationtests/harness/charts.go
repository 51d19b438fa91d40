package harness

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"github.com/flotilla-gitops/flotilla/dev/charts"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// InstallChart applies what a chart renders to, in the system namespace. There is no Helm release of it, and the definitions that
// are there stay as they are.
func (e *Environment) InstallChart(t testing.TB, chart string, values map[string]any) {
	t.Helper()
	rendered, err := charts.Render(chart, values)
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(e.Config)
	if err != nil {
		t.Fatal(err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(e.Kubernetes.Discovery()))
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: names.NamespaceSystem}}
	if _, err := e.Kubernetes.CoreV1().Namespaces().Create(t.Context(), system, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	for _, object := range rendered.Objects {
		apply(t, client, mapper, object)
	}
}

func apply(t testing.TB, client dynamic.Interface, mapper meta.RESTMapper, object *unstructured.Unstructured) {
	t.Helper()
	kind := object.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	options := metav1.ApplyOptions{FieldManager: "helm", Force: true}
	resource := client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		_, err = resource.Namespace(object.GetNamespace()).Apply(t.Context(), object.GetName(), object, options)
	} else {
		_, err = resource.Apply(t.Context(), object.GetName(), object, options)
	}
	if err != nil {
		t.Fatalf("installing %s %s: %v", kind.Kind, object.GetName(), err)
	}
}
