package bundle_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

const noOptions = "M:ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"

// The identities here are those of Fleet: with them a hub can be taken over without deploying everything again.
func TestDeploymentID(t *testing.T) {
	tests := []struct {
		options string
		want    string
	}{
		{`{}`, noOptions},
		{`{"defaultNamespace":"web"}`, "M:114b886d43068e738caba45711a1c52fdf2d36f801fcc6d324541722b67fadfa"},
		{`{"namespace":"web","serviceAccount":"sa"}`, "M:2079cfe4e529425216659ce1097499d4ee6f9e1921e6e1a37e4a9b2b8efbf1bd"},
		{
			`{"helm":{"releaseName":"r","values":{"b":{"y":2,"x":"<1>"},"a":1}}}`,
			"M:423ddf7817bc6685c81de04222b4c84bca86ed9f38b3f4b627e332dc1b0d5f7b",
		},
		{
			`{"helm":{"chart":"./c","version":"1.2.3","valuesFrom":[{"configMapKeyRef":{"name":"n","namespace":"m","key":"k"}}],"takeOwnership":true,"maxHistory":5}}`,
			"M:d144c635b4e8314d949f1ba26154c32cd5aa26732e33a0b1d0ab4035b2108dd7",
		},
		{
			`{"kustomize":{"dir":"overlays/dev"},"yaml":{"overlays":["a","b"]}}`,
			"M:9ac0acdf37588a8d9de7cddc994ceb4ac4ec8278357c10e3c5db1e1b3ad137eb",
		},
		{
			`{"keepResources":true,"deleteNamespace":true,"namespaceLabels":{"b":"2","a":"1"},"diff":{"comparePatches":[{"kind":"x"}]},"correctDrift":{"enabled":true}}`,
			"M:74dac29267aebaa1ec795db3c024ceed5c9cf1af9adf4a799868b9987e9682cb",
		},
		{
			`{"forceSyncGeneration":3,"ignore":{"conditions":[{"type":"Active","status":"False"}]}}`,
			"M:f8e440474688737ad180354657e9965974f34a6f56ceb859bbdce1b320a7cd84",
		},
	}
	for _, tt := range tests {
		t.Run(tt.options, func(t *testing.T) {
			got, err := bundle.DeploymentID("M", options(t, tt.options))
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("DeploymentID() = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestDeploymentIDLeavesOutWhatIsOff(t *testing.T) {
	tests := []struct {
		name string
		// off and without must have the same identity.
		off, without string
		differs      bool
	}{
		{
			name:    "switches of the deployment",
			off:     `{"keepResources":false,"deleteNamespace":false,"deleteCRDResources":false}`,
			without: `{}`,
		},
		{
			name: "switches of helm",
			off: `{"helm":{"force":false,"takeOwnership":false,"waitForJobs":false,"atomic":false,"disablePreProcess":false,
				"disableDNS":false,"skipSchemaValidation":false,"disableDependencyUpdate":false}}`,
			without: `{"helm":{}}`,
		},
		{name: "createNamespace is on by default", off: `{"createNamespace":false}`, without: `{}`, differs: true},
		{name: "what is on counts", off: `{"keepResources":true}`, without: `{}`, differs: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			off, without := options(t, tt.off), options(t, tt.without)
			before := *off.DeepCopy()
			a, err := bundle.DeploymentID("M", off)
			if err != nil {
				t.Fatal(err)
			}
			b, err := bundle.DeploymentID("M", without)
			if err != nil {
				t.Fatal(err)
			}
			if (a != b) != tt.differs {
				t.Errorf("identities %s and %s", a, b)
			}
			if diff := cmp.Diff(before, off); diff != "" {
				t.Errorf("DeploymentID() changed its argument:\n%s", diff)
			}
		})
	}
}

func options(t testing.TB, text string) fleet.BundleDeploymentOptions {
	t.Helper()
	var o fleet.BundleDeploymentOptions
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}
