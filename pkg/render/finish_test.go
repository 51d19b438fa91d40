package render

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func crd(name, kind, scope string) string {
	return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: " + name +
		"}\nspec: {group: example.org, scope: " + scope + ", names: {kind: " + kind + "}}\n"
}

func TestNamespaces(t *testing.T) {
	all := files{
		"a.yaml": configMap("a"),
		"b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: own}\n",
		"c.yaml": "apiVersion: example.org/v1\nkind: Gadget\nmetadata: {name: c}\n",
		"d.yaml": "apiVersion: example.org/v1\nkind: Gadget\nmetadata: {name: d, namespace: own}\n",
	}
	cluster := files{"e.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: e}\n"}
	knows := func(namespaced bool) func(schema.GroupVersionKind) (bool, bool) {
		return func(gvk schema.GroupVersionKind) (bool, bool) {
			return namespaced, gvk.Kind == "Gadget"
		}
	}
	for name, test := range map[string]struct {
		files   files
		options fleet.BundleDeploymentOptions
		scope   func(schema.GroupVersionKind) (bool, bool)
		want    []string
	}{
		"by default": {
			files: all.with(cluster),
			want:  []string{"Gadget.example.org c", "Gadget.example.org own/d", "ConfigMap default/a", "ConfigMap own/b", "Namespace e"},
		},
		"a default namespace": {
			files: all, options: fleet.BundleDeploymentOptions{DefaultNamespace: "web"},
			want: []string{"Gadget.example.org c", "Gadget.example.org own/d", "ConfigMap own/b", "ConfigMap web/a"},
		},
		"a forced namespace": {
			files: all, options: fleet.BundleDeploymentOptions{TargetNamespace: "web", DefaultNamespace: "unused"},
			want: []string{"Gadget.example.org web/c", "Gadget.example.org web/d", "ConfigMap web/a", "ConfigMap web/b"},
		},
		"a kind that the cluster knows": {
			files: all, scope: knows(true),
			want: []string{"Gadget.example.org default/c", "Gadget.example.org own/d", "ConfigMap default/a", "ConfigMap own/b"},
		},
		"a kind that the cluster knows as cluster-scoped": {
			files: files{"c.yaml": all["c.yaml"]}, scope: knows(false),
			want: []string{"Gadget.example.org c"},
		},
		"a kind that the bundle defines": {
			files: files{"c.yaml": all["c.yaml"], "crd.yaml": crd("gadgets.example.org", "Gadget", "Namespaced")},
			want:  []string{"CustomResourceDefinition.apiextensions.k8s.io gadgets.example.org", "Gadget.example.org default/c"},
		},
		"what the cluster says wins": {
			files: files{"c.yaml": all["c.yaml"], "crd.yaml": crd("gadgets.example.org", "Gadget", "Namespaced")}, scope: knows(false),
			want: []string{"CustomResourceDefinition.apiextensions.k8s.io gadgets.example.org", "Gadget.example.org c"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := test.files.input()
			in.Options, in.IsNamespaced = test.options, test.scope
			if diff := cmp.Diff(test.want, namesOf(t, in)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, test := range map[string]struct {
		files files
		scope func(schema.GroupVersionKind) (bool, bool)
		want  string
	}{
		"a cluster-scoped object":         {files: all.with(cluster), want: "e.yaml:1: Namespace e: the object is cluster-scoped, but the option namespace puts everything into one namespace; use defaultNamespace instead"},
		"several":                         {files: files{"x.yaml": cluster["e.yaml"], "y.yaml": crd("x", "X", "Cluster")}, want: "x.yaml:1: Namespace e: the object is cluster-scoped, but the option namespace puts everything into one namespace; use defaultNamespace instead (and so are 1 others)"},
		"what the cluster calls so":       {files: all, scope: knows(false), want: "c.yaml:1: Gadget.example.org c: the object is cluster-scoped"},
		"what the bundle defines as such": {files: all.with(files{"crd.yaml": crd("gadgets.example.org", "Gadget", "Cluster")}), want: "c.yaml:1: Gadget.example.org c: the object is cluster-scoped"},
	} {
		t.Run("forced refuses "+name, func(t *testing.T) {
			in := test.files.input()
			in.Options.TargetNamespace, in.IsNamespaced = "web", test.scope
			_, err := Objects(in)
			wantError(t, err, test.want)
		})
	}
}

func TestMarks(t *testing.T) {
	in := files{
		"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {own: l, both: own, none: null}, annotations: {own: a}}\n",
		"b.yaml": crd("b", "B", "Cluster"),
		"c.yaml": "apiVersion: example.org/v1\nkind: CustomResourceDefinition\nmetadata: {name: impostor}\n",
	}.input()
	in.Labels = map[string]string{"both": "ours", "ours": "l"}
	in.Annotations = map[string]string{"ours": "a"}
	for _, test := range []struct {
		deleteCRDs *bool
		want       map[string]string
	}{
		{nil, map[string]string{"ours": "a", "helm.sh/resource-policy": "keep"}},
		{ptr(false), map[string]string{"ours": "a", "helm.sh/resource-policy": "keep"}},
		{ptr(true), map[string]string{"ours": "a"}},
	} {
		in.Options.DeleteCRDResources = test.deleteCRDs
		objects, err := Objects(in)
		if err != nil {
			t.Fatal(err)
		}
		definition, impostor, a := objects[0], objects[1], objects[2]
		if diff := cmp.Diff(test.want, definition.GetAnnotations()); diff != "" {
			t.Errorf("annotations of the CRD: %s", diff)
		}
		if diff := cmp.Diff(map[string]string{"ours": "a"}, impostor.GetAnnotations()); diff != "" {
			t.Errorf("annotations of another kind of that name: %s", diff)
		}
		if diff := cmp.Diff(map[string]string{"own": "l", "both": "ours", "ours": "l", "none": ""}, a.GetLabels()); diff != "" {
			t.Errorf("labels: %s", diff)
		}
		if diff := cmp.Diff(map[string]string{"own": "a", "ours": "a"}, a.GetAnnotations()); diff != "" {
			t.Errorf("annotations: %s", diff)
		}
	}
	if len(in.Annotations) != 1 {
		t.Errorf("the input was changed: %v", in.Annotations)
	}
}

func TestTwins(t *testing.T) {
	for name, test := range map[string]struct {
		files files
		want  string
	}{
		"in two files":                  {files{"a.yaml": configMap("x"), "b.yaml": configMap("x")}, "b.yaml:1: ConfigMap default/x: the bundle renders the object twice, also from a.yaml"},
		"in one file":                   {files{"a.yaml": configMap("x") + "---\n" + configMap("x")}, "a.yaml:5: ConfigMap default/x: the bundle renders the object twice"},
		"by a namespace that is filled": {files{"a.yaml": configMap("x"), "b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: default}\n"}, "b.yaml:1: ConfigMap default/x"},
		"in two versions": {files{
			"a.yaml": "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: x}\n",
			"b.yaml": "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: x}\n",
		}, "b.yaml:1: HorizontalPodAutoscaler.autoscaling default/x"},
		"in a template and a literal": {files{"templates/a.yaml": configMap("x"), "b.yaml": configMap("x")}, "b.yaml:1: ConfigMap default/x: the bundle renders the object twice, also from templates/a.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Objects(test.files.input())
			wantError(t, err, test.want)
		})
	}
	got := namesOf(t, files{
		"a.yaml": "apiVersion: extensions/v1\nkind: Ingress\nmetadata: {name: x}\n",
		"b.yaml": "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: x}\n",
		"c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: other}\n",
		"d.yaml": configMap("x"),
	}.input())
	if len(got) != 4 {
		t.Errorf("objects of several groups and namespaces: got %v", got)
	}
}

func TestInstallOrder(t *testing.T) {
	var in []object
	for _, label := range []string{"Zebra q", "APIService a", "Deployment b", "Deployment a", "Apple a", "Namespace m", "CustomResourceDefinition c"} {
		kind, name, _ := strings.Cut(label, " ")
		found, err := objectsOf("", []byte("apiVersion: v1\nkind: "+kind+"\nmetadata: {name: "+name+"}\n"), strict)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, found...)
	}
	sortForInstall(in)
	var got []string
	for _, o := range in {
		got = append(got, o.label())
	}
	want := []string{"Namespace m", "CustomResourceDefinition c", "Deployment b", "Deployment a", "APIService a", "Apple a", "Zebra q"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLimits(t *testing.T) {
	many := files{"a.yaml": configMap("a"), "b.yaml": configMap("b"), "c.yaml": configMap("c")}
	big := files{"templates/a.yaml": configMap("a") + "data: {x: '{{ repeat 2000 \"x\" }}'}\n"}
	for name, test := range map[string]struct {
		files  files
		limits Limits
		want   string
	}{
		"objects":         {many, Limits{Objects: 2}, "the bundle renders 3 objects; at most 2 are allowed"},
		"templates":       {big, Limits{RenderedBytes: 1000}, "the manifests exceed 1000 bytes"},
		"literals":        {many, Limits{RenderedBytes: 100}, "the manifests exceed 100 bytes"},
		"a kustomization": {many.with(files{"kustomization.yaml": "resources: [a.yaml, b.yaml, c.yaml]\n"}), Limits{RenderedBytes: 100}, "kustomization.yaml: the manifests exceed 100 bytes"},
		"files":           {many, Limits{DecodedBytes: 100}, "the files of the bundle exceed 100 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			in := test.files.input()
			in.Limits = test.limits
			_, err := Objects(in)
			wantError(t, err, test.want)
			in.Limits = Limits{}
			if _, err := Objects(in); err != nil {
				t.Errorf("with the default limits: %v", err)
			}
		})
	}
}

// TestBuiltinScope compares our list with the one that kustomize has computed
// from the API of Kubernetes.
func TestBuiltinScope(t *testing.T) {
	compared := 0
	for gvk := range scheme.Scheme.AllKnownTypes() {
		theirs, known := openapi.IsNamespaceScoped(kyaml.TypeMeta{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind})
		if !known || strings.HasSuffix(gvk.Kind, "ProxyOptions") { // parameters of requests
			continue
		}
		compared++
		ours, known := builtinScope(gvk)
		if !known || ours != theirs {
			t.Errorf("%s: got %v, %v; want %v", gvk, ours, known, theirs)
		}
	}
	if compared < 50 {
		t.Errorf("compared only %d kinds", compared)
	}
	for gvk, want := range map[schema.GroupVersionKind][2]bool{
		{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}: {false, true},
		{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"}:             {false, true},
		{Group: "fleet.cattle.io", Version: "v1alpha1", Kind: "GitRepo"}:                 {true, true},
		{Group: "fleet.cattle.io", Version: "v1alpha1", Kind: "Content"}:                 {false, true},
		{Group: "example.org", Version: "v1", Kind: "Gadget"}:                            {true, false},
	} {
		namespaced, known := builtinScope(gvk)
		if known != want[1] || known && namespaced != want[0] {
			t.Errorf("%s: got %v, %v", gvk, namespaced, known)
		}
	}
}
