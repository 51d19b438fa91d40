package bundle_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

func TestMerge(t *testing.T) {
	tests := []struct {
		name string
		root string
		// customs are merged over root in this order.
		customs []string
		want    string
	}{
		{name: "nothing", root: `{}`, want: `{}`},
		{name: "no customization", root: `{"namespace":"a","helm":{"values":{"x":1}}}`, want: `{"namespace":"a","helm":{"values":{"x":1}}}`},
		{
			name:    "strings: the customization wins if it says anything",
			root:    `{"defaultNamespace":"a","namespace":"b","serviceAccount":"c","kustomize":{"dir":"d"}}`,
			customs: []string{`{"defaultNamespace":"x","kustomize":{"dir":"y"}}`},
			want:    `{"defaultNamespace":"x","namespace":"b","serviceAccount":"c","kustomize":{"dir":"y"}}`,
		},
		{
			name: "strings of helm",
			root: `{"helm":{"chart":"a","repo":"b","version":"c","releaseName":"d","timeoutSeconds":1,"maxHistory":2}}`,
			customs: []string{
				`{"helm":{"chart":"w","version":"x","maxHistory":7}}`,
				`{"helm":{"repo":"y","releaseName":"z","timeoutSeconds":9}}`,
			},
			want: `{"helm":{"chart":"w","repo":"y","version":"x","releaseName":"z","timeoutSeconds":9,"maxHistory":7}}`,
		},
		{
			name:    "a dash unsets a string",
			root:    `{"defaultNamespace":"a","namespace":"b","serviceAccount":"c","helm":{"chart":"d","repo":"e"},"kustomize":{"dir":"f"}}`,
			customs: []string{`{"namespace":"-","serviceAccount":"-","helm":{"repo":"-"},"kustomize":{"dir":"-"}}`},
			want:    `{"defaultNamespace":"a","helm":{"chart":"d"},"kustomize":{}}`,
		},
		{
			name:    "a negative timeout stops waiting",
			root:    `{"helm":{"timeoutSeconds":60}}`,
			customs: []string{`{"helm":{"timeoutSeconds":-1}}`},
			want:    `{"helm":{}}`,
		},
		{
			name:    "switches: on by a customization",
			root:    `{"keepResources":false,"helm":{"force":false}}`,
			customs: []string{`{"keepResources":true,"deleteNamespace":true,"deleteCRDResources":true,"helm":{"force":true,"atomic":true}}`},
			want:    `{"keepResources":true,"deleteNamespace":true,"deleteCRDResources":true,"helm":{"force":true,"atomic":true}}`,
		},
		{
			name: "switches: off by a customization",
			root: `{"keepResources":true,"deleteNamespace":true,"helm":{"force":true,"takeOwnership":true,"waitForJobs":true,"atomic":true,
				"disablePreProcess":true,"disableDNS":true,"skipSchemaValidation":true,"disableDependencyUpdate":true}}`,
			customs: []string{`{"keepResources":false,"helm":{"force":false,"takeOwnership":false,"waitForJobs":false,"atomic":false,
				"disablePreProcess":false,"disableDNS":false,"skipSchemaValidation":false,"disableDependencyUpdate":false}}`},
			want: `{"deleteNamespace":true,"helm":{}}`,
		},
		{
			name:    "switches: the last word counts",
			root:    `{}`,
			customs: []string{`{"keepResources":true}`, `{"keepResources":false}`, `{"keepResources":true}`},
			want:    `{"keepResources":true}`,
		},
		{
			name:    "createNamespace keeps its false",
			root:    `{"createNamespace":true}`,
			customs: []string{`{"createNamespace":false}`},
			want:    `{"createNamespace":false}`,
		},
		{
			name:    "values are merged deeply, lists as a whole",
			root:    `{"helm":{"values":{"a":{"b":1,"c":{"d":2}},"l":[1,2],"s":"x","m":{"k":1}}}}`,
			customs: []string{`{"helm":{"values":{"a":{"c":{"e":3}},"l":[3],"s":{"t":1},"m":"flat","n":null}}}`},
			want:    `{"helm":{"values":{"a":{"b":1,"c":{"d":2,"e":3}},"l":[3],"s":{"t":1},"m":"flat","n":null}}}`,
		},
		{
			name:    "values where the root has none",
			root:    `{}`,
			customs: []string{`{"helm":{"values":{"a":1}}}`},
			want:    `{"helm":{"values":{"a":1}}}`,
		},
		{
			name:    "template values are merged by name",
			root:    `{"helm":{"templateValues":{"a":"1","b":"2"}}}`,
			customs: []string{`{"helm":{"templateValues":{"b":"3","c":"4"}}}`},
			want:    `{"helm":{"templateValues":{"a":"1","b":"3","c":"4"}}}`,
		},
		{
			name: "valuesFrom: appended, the same reference once",
			root: `{"helm":{"valuesFrom":[{"configMapKeyRef":{"name":"a"}},{"secretKeyRef":{"name":"a"}}]}}`,
			customs: []string{`{"helm":{"valuesFrom":[{"configMapKeyRef":{"name":"a"}},{"configMapKeyRef":{"name":"a","key":"k"}},
				{"configMapKeyRef":{"name":"a"},"secretKeyRef":{"name":"s"}},{"configMapKeyRef":{"name":"a","namespace":"n"}}]}}`},
			want: `{"helm":{"valuesFrom":[{"configMapKeyRef":{"name":"a"}},{"secretKeyRef":{"name":"a"}},{"configMapKeyRef":{"name":"a","key":"k"}},
				{"configMapKeyRef":{"name":"a"},"secretKeyRef":{"name":"s"}},{"configMapKeyRef":{"name":"a","namespace":"n"}}]}}`,
		},
		{
			name:    "overlays and values files are appended",
			root:    `{"yaml":{"overlays":["a"]},"helm":{"valuesFiles":["v"]}}`,
			customs: []string{`{"yaml":{"overlays":["b","a"]},"helm":{"valuesFiles":["w"]}}`},
			want:    `{"yaml":{"overlays":["a","b","a"]},"helm":{"valuesFiles":["v","w"]}}`,
		},
		{
			name:    "compare patches: one about the same object takes the place of the other",
			root:    `{"diff":{"comparePatches":[{"kind":"A","name":"x","jsonPointers":["/1"]},{"kind":"B"}]}}`,
			customs: []string{`{"diff":{"comparePatches":[{"kind":"A","name":"x","jsonPointers":["/2"]},{"kind":"C"}]}}`},
			want:    `{"diff":{"comparePatches":[{"kind":"A","name":"x","jsonPointers":["/2"]},{"kind":"B"},{"kind":"C"}]}}`,
		},
		{
			name: "compare patches: apiVersion, kind, namespace and name make the object",
			root: `{"diff":{"comparePatches":[{"apiVersion":"v1","kind":"A","namespace":"n","name":"x","jsonPointers":["/1"]}]}}`,
			customs: []string{`{"diff":{"comparePatches":[{"apiVersion":"v2","kind":"A","namespace":"n","name":"x"},{"apiVersion":"v1","kind":"B","namespace":"n","name":"x"},
				{"apiVersion":"v1","kind":"A","namespace":"m","name":"x"},{"apiVersion":"v1","kind":"A","namespace":"n","name":"z"},
				{"apiVersion":"v1","kind":"A","namespace":"n","name":"x","jsonPointers":["/2"]}]}}`},
			want: `{"diff":{"comparePatches":[{"apiVersion":"v1","kind":"A","namespace":"n","name":"x","jsonPointers":["/2"]},
				{"apiVersion":"v2","kind":"A","namespace":"n","name":"x"},{"apiVersion":"v1","kind":"B","namespace":"n","name":"x"},
				{"apiVersion":"v1","kind":"A","namespace":"m","name":"x"},{"apiVersion":"v1","kind":"A","namespace":"n","name":"z"}]}}`,
		},
		{
			name:    "downstream resources and overwrites: union",
			root:    `{"downstreamResources":[{"kind":"Secret","name":"a"}],"overwrites":[{"kind":"X","name":"a"}]}`,
			customs: []string{`{"downstreamResources":[{"kind":"secret","name":"a"},{"kind":"ConfigMap","name":"a"}],"overwrites":[{"kind":"X","name":"a","namespace":"n"}]}`},
			want:    `{"downstreamResources":[{"kind":"secret","name":"a"},{"kind":"ConfigMap","name":"a"}],"overwrites":[{"kind":"X","name":"a"},{"kind":"X","name":"a","namespace":"n"}]}`,
		},
		{
			name:    "correctDrift and ignore are replaced as a whole, forceSyncGeneration if set",
			root:    `{"correctDrift":{"enabled":true,"force":true},"ignore":{"conditions":[{"type":"A"}]},"forceSyncGeneration":4}`,
			customs: []string{`{"correctDrift":{"keepFailHistory":true},"ignore":{"conditions":[{"type":"B"}]}}`, `{"forceSyncGeneration":2}`},
			want:    `{"correctDrift":{"keepFailHistory":true},"ignore":{"conditions":[{"type":"B"}]},"forceSyncGeneration":2}`,
		},
		{
			name:    "labels and annotations of the namespace are merged by name",
			root:    `{"namespaceLabels":{"a":"1","b":"2"},"namespaceAnnotations":{"a":"1"}}`,
			customs: []string{`{"namespaceLabels":{"b":"3"},"namespaceAnnotations":{"c":"4"}}`},
			want:    `{"namespaceLabels":{"a":"1","b":"3"},"namespaceAnnotations":{"a":"1","c":"4"}}`,
		},
		{
			name:    "a customization cannot widen the namespaces that are allowed",
			root:    `{"allowedTargetNamespaceSelector":{"matchLabels":{"team":"a"}}}`,
			customs: []string{`{"allowedTargetNamespaceSelector":{}}`},
			want:    `{"allowedTargetNamespaceSelector":{"matchLabels":{"team":"a"}}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := options(t, tt.root)
			var customs []fleet.BundleDeploymentOptions
			for _, custom := range tt.customs {
				customs = append(customs, options(t, custom))
			}
			got := bundle.Merge(root, customs...)
			if want := options(t, tt.want); !equality.Semantic.DeepEqual(want, got) {
				t.Errorf("Merge() differs (-want +got):\n%s", cmp.Diff(want, got))
			}
			if diff := cmp.Diff(options(t, tt.root), root); diff != "" {
				t.Errorf("Merge() changed root:\n%s", diff)
			}
			for i, custom := range tt.customs {
				if diff := cmp.Diff(options(t, custom), customs[i]); diff != "" {
					t.Errorf("Merge() changed customization %d:\n%s", i, diff)
				}
			}
		})
	}
}

func TestMergeSharesNothing(t *testing.T) {
	root := options(t, `{"helm":{"values":{"a":{"b":1}}},"namespaceLabels":{"a":"1"}}`)
	custom := options(t, `{"helm":{"values":{"c":{"d":1}},"templateValues":{"x":"y"}},"namespaceAnnotations":{"a":"1"}}`)
	before := []fleet.BundleDeploymentOptions{*root.DeepCopy(), *custom.DeepCopy()}

	got := bundle.Merge(root, custom)
	got.Helm.Values.Data["a"].(map[string]any)["b"] = "changed"
	got.Helm.Values.Data["c"].(map[string]any)["d"] = "changed"
	got.Helm.TemplateValues["x"] = "changed"
	got.NamespaceLabels["a"] = "changed"
	got.NamespaceAnnotations["a"] = "changed"

	if diff := cmp.Diff(before, []fleet.BundleDeploymentOptions{root, custom}); diff != "" {
		t.Errorf("a change of the result reached an argument:\n%s", diff)
	}
}

// Merging customizations at once or one by one makes no difference.
func TestMergeInSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		a, b, c := randomOptions(t, r), randomOptions(t, r), randomOptions(t, r)
		atOnce := bundle.Merge(a, b, c)
		inSteps := bundle.Merge(bundle.Merge(a, b), c)
		if !equality.Semantic.DeepEqual(atOnce, inSteps) {
			t.Fatalf("Merge(a, b, c) and Merge(Merge(a, b), c) differ:\n%s\na %s\nb %s\nc %s",
				cmp.Diff(atOnce, inSteps), text(t, a), text(t, b), text(t, c))
		}
		if same := bundle.Merge(a, fleet.BundleDeploymentOptions{}); !equality.Semantic.DeepEqual(bundle.Merge(a), same) {
			t.Fatalf("an empty customization changes\n%s", text(t, a))
		}
		if twice := bundle.Merge(bundle.Merge(a)); !equality.Semantic.DeepEqual(bundle.Merge(a), twice) {
			t.Fatalf("merging nothing twice changes\n%s", text(t, a))
		}
	}
}

// randomOptions sets a random part of the options to values out of small sets, so that they often collide.
func randomOptions(t testing.TB, r *rand.Rand) fleet.BundleDeploymentOptions {
	t.Helper()
	o := map[string]any{}
	helm := map[string]any{}
	pick := func(into map[string]any, name string, values ...any) {
		if r.IntN(2) == 0 {
			into[name] = values[r.IntN(len(values))]
		}
	}
	pick(o, "namespace", "a", "b", "-")
	pick(o, "serviceAccount", "a", "b")
	pick(o, "keepResources", true, false)
	pick(o, "createNamespace", true, false)
	pick(o, "forceSyncGeneration", 1, 2)
	pick(o, "correctDrift", map[string]any{"enabled": true}, map[string]any{"force": true})
	pick(o, "namespaceLabels", map[string]any{"a": "1"}, map[string]any{"a": "2", "b": "1"})
	pick(o, "yaml", map[string]any{"overlays": []string{"a"}}, map[string]any{"overlays": []string{"b", "a"}})
	pick(o, "diff", map[string]any{"comparePatches": []any{map[string]any{"kind": "A"}}},
		map[string]any{"comparePatches": []any{map[string]any{"kind": "B"}, map[string]any{"kind": "A", "jsonPointers": []string{"/x"}}}})
	pick(helm, "force", true, false)
	pick(helm, "timeoutSeconds", 5, 6, -1)
	pick(helm, "values", map[string]any{"a": map[string]any{"b": 1}}, map[string]any{"a": 1},
		map[string]any{"a": map[string]any{"c": 2}, "d": []any{1}})
	pick(helm, "valuesFrom", []any{map[string]any{"secretKeyRef": map[string]any{"name": "a"}}},
		[]any{map[string]any{"secretKeyRef": map[string]any{"name": "b"}}, map[string]any{"secretKeyRef": map[string]any{"name": "a"}}})
	if r.IntN(4) > 0 {
		o["helm"] = helm
	}
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return options(t, string(raw))
}

func text(t testing.TB, o fleet.BundleDeploymentOptions) string {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
