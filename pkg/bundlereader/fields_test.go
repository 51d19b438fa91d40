package bundlereader

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// TestFieldsOfTheFile: every field reaches the Bundle as it is written, options
// in a customization as well as at the root.
func TestFieldsOfTheFile(t *testing.T) {
	for _, tc := range []struct {
		field string
		want  string // the field as JSON, if that is another value than what is written
	}{
		{field: `"defaultNamespace":"web"`},
		{field: `"namespace":"web"`},
		{field: `"namespaceLabels":{"a":"1"}`},
		{field: `"namespaceAnnotations":{"a":"1"}`},
		{field: `"serviceAccount":"deployer"`},
		{field: `"keepResources":true`},
		{field: `"keepResources":false`},
		{field: `"deleteNamespace":true`},
		{field: `"deleteNamespace":false`},
		{field: `"deleteCRDResources":true`},
		{field: `"deleteCRDResources":false`},
		{field: `"createNamespace":true`},
		{field: `"createNamespace":false`},
		{field: `"correctDrift":{"enabled":true,"force":true,"keepFailHistory":true}`},
		{field: `"ignore":{"conditions":[{"status":"False","type":"Active"}]}`},
		{field: `"ignore":{"conditions":[{"status":False,"type":Active}]}`, want: `"ignore":{"conditions":[{"status":"False","type":"Active"}]}`},
		{field: `"diff":{"comparePatches":[{"kind":"Deployment","apiVersion":"apps/v1","namespace":"web","name":"app",` +
			`"operations":[{"op":"remove","path":"/spec/replicas"}],"jsonPointers":["/spec/paused"]}]}`},
		{field: `"kustomize":{"dir":"overlays/dev"}`},
		{field: `"yaml":{"overlays":["small","dev"]}`},
		{field: `"helm":{"chart":"chart"}`},
		{field: `"helm":{"chart":"web","repo":"https://charts.example.com","version":"~1.2"}`},
		{field: `"helm":{"releaseName":"web"}`},
		{field: `"helm":{"values":{"a":{"b":[1,"x",true,null]}},"templateValues":{"c":"${ .ClusterName }"}}`},
		{field: `"helm":{"valuesFrom":[{"configMapKeyRef":{"name":"n","namespace":"m","key":"k"}},{"secretKeyRef":{"name":"n"}}]}`},
		{field: `"helm":{"timeoutSeconds":60,"force":true,"takeOwnership":true,"maxHistory":5,"waitForJobs":true,"atomic":true,` +
			`"disablePreProcess":true,"disableDNS":true,"skipSchemaValidation":true,"disableDependencyUpdate":true}`},
		{field: `"helm":{"force":false,"disablepreprocess":true}`, want: `"helm":{"force":false,"disablePreProcess":true}`},
		{field: `"downstreamResources":[{"kind":"Secret","name":"a"},{"kind":"ConfigMap","name":"b"}]`},
	} {
		want := tc.want
		if want == "" {
			want = tc.field
		}
		for place, file := range map[string]string{
			"root":          "{" + tc.field + "}\n",
			"customization": `{"targetCustomizations":[{"clusterName":"c",` + tc.field + "}]}\n",
			"target":        `{"targets":[{"clusterName":"c",` + tc.field + "}]}\n",
		} {
			t.Run(place+" "+tc.field, func(t *testing.T) {
				spec := specOf(t, file)
				options := spec.BundleDeploymentOptions
				if place != "root" {
					options = spec.Targets[0].BundleDeploymentOptions
				}
				if diff := cmp.Diff("{"+want+"}", asJSON(t, options)); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		}
	}
}

// specOf reads a folder that has all that its fleet.yaml refers to.
func specOf(t *testing.T, file string) fleet.BundleSpec {
	t.Helper()
	got := read(t, map[string]string{
		"fleet.yaml": file, "a.yaml": "a: 1\n", "chart/Chart.yaml": "name: c\n", "overlays/dev/kustomization.yaml": "resources: []\n",
		"overlays/dev/b.yaml": "b: 1\n", "overlays/small/c.yaml": "c: 1\n", ".fleetignore": "kustomization.yaml\n",
	}, Options{Charts: &notingCharts{asked: map[string]string{}}})
	if len(got.Bundles) != 1 {
		t.Fatalf("findings %v", got.Findings)
	}
	return got.Bundles[0].Spec
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFieldsOfTheBundle: those that a customization has not.
func TestFieldsOfTheBundle(t *testing.T) {
	for _, field := range []string{
		`"paused":true`,
		`"rolloutStrategy":{"maxUnavailable":"10%","maxUnavailablePartitions":1,"autoPartitionSize":"25%","autoPartitionThreshold":50,"maxNew":10}`,
		`"rolloutStrategy":{"partitions":[{"name":"canary","maxUnavailable":1,"clusterName":"c","clusterSelector":{"matchLabels":{"env":"dev"}},` +
			`"clusterGroup":"g","clusterGroupSelector":{"matchLabels":{"env":"dev"}}}]}`,
		`"targetCustomizationMode":"AllMatches"`,
		`"targetCustomizationMode":"FirstMatch"`,
		`"dependsOn":[{"name":"base"},{"selector":{"matchLabels":{"tier":"db"}},"acceptedStates":["Ready","Modified"]}]`,
	} {
		t.Run(field, func(t *testing.T) {
			spec := specOf(t, "{"+field+"}\n")
			spec.Targets, spec.TargetRestrictions, spec.Resources = nil, nil, nil
			if !strings.Contains(field, "targetCustomizationMode") {
				if spec.TargetCustomizationMode != fleet.FirstMatch {
					t.Errorf("the mode is %q by default", spec.TargetCustomizationMode)
				}
				spec.TargetCustomizationMode = ""
			}
			if diff := cmp.Diff("{"+field+"}", asJSON(t, spec)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestMetadataOfABundle: the file has a say in names, labels and annotations; the
// workspace, and what the manager knows its bundles by, it cannot choose.
func TestMetadataOfABundle(t *testing.T) {
	const file = `
name: web.shop
namespace: forced
labels: {team: a, fleet.cattle.io/region: eu, fleet.cattle.io/repo-name: other, fleet.cattle.io/commit: other}
annotations: {example.com/owner: ada}
`
	got := read(t, map[string]string{"app/fleet.yaml": file, "app/a.yaml": "a: 1\n"}, Options{Namespace: "ws", Commit: "c1", Paths: []string{"app"}})
	if len(got.Bundles) != 1 {
		t.Fatalf("findings %v", got.Findings)
	}
	b := got.Bundles[0]
	if b.Name != "web.shop" || b.Namespace != "ws" || b.Spec.TargetNamespace != "forced" {
		t.Errorf("bundle %s/%s, which forces everything into %q", b.Namespace, b.Name, b.Spec.TargetNamespace)
	}
	labels := map[string]string{"team": "a", "fleet.cattle.io/region": "eu", "fleet.cattle.io/repo-name": "shop", "fleet.cattle.io/commit": "c1"}
	if diff := cmp.Diff(labels, b.Labels); diff != "" {
		t.Errorf("labels (-want +got)\n%s", diff)
	}
	if b.Annotations["example.com/owner"] != "ada" {
		t.Errorf("annotations %v", b.Annotations)
	}
	if len(got.Findings) != 2 || slices.ContainsFunc(got.Findings, func(f Finding) bool { return f.Severity != Warning || f.Line != 4 }) {
		t.Errorf("findings %v, want a warning for each of the labels that are not taken", got.Findings)
	}
}

// TestBundleOfAMillionBytes: the limit is that of the JSON of the whole Bundle.
func TestBundleOfAMillionBytes(t *testing.T) {
	of := func(length int) *fleet.Bundle {
		got := read(t, map[string]string{"app/a.txt": strings.Repeat("x", length), "app/b.yaml": "b: 1\n"}, Options{Namespace: "ws", Paths: []string{"app"}})
		return got.Bundles[0]
	}
	empty := len(asJSON(t, of(1))) - 1
	for size, compressed := range map[int]bool{999_999: false, 1_000_000: true} {
		b := of(size - empty)
		for _, resource := range b.Spec.Resources {
			if (resource.Encoding != "") != compressed {
				t.Errorf("a Bundle of %d bytes: %s has the encoding %q", size, resource.Name, resource.Encoding)
			}
		}
		if !compressed && len(asJSON(t, b)) != size {
			t.Errorf("the Bundle has %d bytes, want %d", len(asJSON(t, b)), size)
		}
	}
}
