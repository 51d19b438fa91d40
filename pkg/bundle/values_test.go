package bundle_test

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

func TestSplitAndJoinValues(t *testing.T) {
	tests := []struct {
		name     string
		options  string
		stripped string
		values   string
		hash     string
	}{
		{name: "no helm", options: `{"namespace":"a"}`, stripped: `{"namespace":"a"}`},
		{name: "no values", options: `{"helm":{"chart":"c"}}`, stripped: `{"helm":{"chart":"c"}}`},
		{name: "empty values are none", options: `{"helm":{"chart":"c","values":{}}}`, stripped: `{"helm":{"chart":"c"}}`},
		{
			name:     "values",
			options:  `{"helm":{"chart":"c","values":{"b":"<x>","a":12345678901234567}}}`,
			stripped: `{"helm":{"chart":"c"}}`,
			values:   `{"a":12345678901234567,"b":"\u003cx\u003e"}`,
			hash:     "4b4f2f9f8c8fef733df71245e2178a756273dbd7f6baba8fc8ab80b1d0639dd1",
		},
		{
			name:     "templates have been evaluated",
			options:  `{"helm":{"values":{"a":1},"templateValues":{"a":"${ 1 }"}}}`,
			stripped: `{"helm":{}}`,
			values:   `{"a":1}`,
			hash:     "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			given := options(t, tt.options)
			stripped, values, hash := bundle.SplitValues(given)
			if diff := cmp.Diff(options(t, tt.stripped), stripped); diff != "" {
				t.Errorf("stripped options differ (-want +got):\n%s", diff)
			}
			if string(values) != tt.values {
				t.Errorf("values = %s, want %s", values, tt.values)
			}
			if hash != tt.hash {
				t.Errorf("hash = %s, want %s", hash, tt.hash)
			}
			if diff := cmp.Diff(options(t, tt.options), given); diff != "" {
				t.Errorf("SplitValues() changed its argument:\n%s", diff)
			}
			joined, err := bundle.JoinValues(stripped, values)
			if err != nil {
				t.Fatal(err)
			}
			want := options(t, tt.options)
			if want.Helm != nil {
				want.Helm.TemplateValues = nil
				if tt.values == "" {
					want.Helm.Values = nil
				}
			}
			if diff := cmp.Diff(want, joined); diff != "" {
				t.Errorf("JoinValues() differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(options(t, tt.stripped), stripped); diff != "" {
				t.Errorf("JoinValues() changed its argument:\n%s", diff)
			}
		})
	}
}

func TestJoinValuesOfRubbish(t *testing.T) {
	for _, raw := range []string{"s3cret", `["s3cret"]`, `"s3cret"`, "{"} {
		_, err := bundle.JoinValues(fleet.BundleDeploymentOptions{}, []byte(raw))
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("JoinValues(%s) error = %v", raw, err)
		}
	}
}

func TestDeploymentValuesHash(t *testing.T) {
	if got := bundle.DeploymentValuesHash(nil); got != "" {
		t.Errorf("no values have the digest %q", got)
	}
	values, others := []byte(`{"a":1}`), []byte(`{"a":2}`)
	if bundle.DeploymentValuesHash(values) == bundle.DeploymentValuesHash(others) {
		t.Error("different values have the same digest")
	}
	if bundle.DeploymentValuesHash(values) != bundle.DeploymentValuesHash(slices.Clone(values)) {
		t.Error("the same values have different digests")
	}
}

func TestExtractAndInjectValues(t *testing.T) {
	b := bundleOf(t, `{
		"helm":{"chart":"c","values":{"root":"s3cret"},"valuesFiles":["v.yaml"]},
		"targets":[
			{"name":"dev","helm":{"values":{"a":1}}},
			{"name":"no values","helm":{"version":"2"}},
			{"name":"prod"},
			{"name":"dev","helm":{"values":{"a":2}}},
			{"helm":{"values":{"a":3}}},
			{"name":"with blank","helm":{"values":{"a":4}}},
			{"name":"values.yaml","helm":{"values":{"a":5}}},
			{"name":"target004","helm":{"values":{"a":6}}},
			{"name":"..","helm":{"values":{"a":7}}}
		]}`)
	before := b.DeepCopy()
	stripped, data, hash, err := bundle.ExtractValues(b)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"values.yaml": `{"root":"s3cret"}`,
		"dev":         `{"a":1}`,
		"target003":   `{"a":2}`,
		"target004":   `{"a":6}`,
		"target004-":  `{"a":3}`,
		"target005":   `{"a":4}`,
		"target006":   `{"a":5}`,
		"target008":   `{"a":7}`,
	}
	got := map[string]string{}
	for key, value := range data {
		got[key] = string(value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("data differs (-want +got):\n%s", diff)
	}
	raw, err := json.Marshal(stripped)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "s3cret") || strings.Contains(string(raw), `"a":`) {
		t.Errorf("the stripped bundle holds values: %s", raw)
	}
	if hash == "" || stripped.Spec.ValuesHash != hash || bundle.ValuesHash(data) != hash {
		t.Errorf("hash = %q, in the bundle %q, of the data %q", hash, stripped.Spec.ValuesHash, bundle.ValuesHash(data))
	}
	if diff := cmp.Diff(before, b); diff != "" {
		t.Errorf("ExtractValues() changed its argument:\n%s", diff)
	}

	full, err := bundle.InjectValues(stripped, data)
	if err != nil {
		t.Fatal(err)
	}
	restored := before.DeepCopy()
	restored.Spec.ValuesHash = hash
	restored.Spec.Helm.ValuesFiles = nil
	if diff := cmp.Diff(restored, full); diff != "" {
		t.Errorf("InjectValues() differs (-want +got):\n%s", diff)
	}
	if stripped.Spec.Helm.Values != nil {
		t.Error("InjectValues() changed its argument")
	}
}

func TestInjectValuesRefusesOtherValues(t *testing.T) {
	b := bundleOf(t, `{"helm":{"values":{"a":1}}}`)
	stripped, data, _, err := bundle.ExtractValues(b)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]map[string][]byte{
		"none":      nil,
		"changed":   {bundle.KeyRoot: []byte(`{"a":2}`)},
		"one more":  {bundle.KeyRoot: data[bundle.KeyRoot], "x": []byte("{}")},
		"other key": {"x": data[bundle.KeyRoot]},
	} {
		if _, err := bundle.InjectValues(stripped, other); !errors.Is(err, bundle.ErrValuesHash) {
			t.Errorf("%s: InjectValues() error = %v, want ErrValuesHash", name, err)
		}
	}
}

func TestBundleWithoutValues(t *testing.T) {
	b := bundleOf(t, `{"namespace":"a","helm":{"chart":"c","values":{}},"targets":[{"clusterName":"x"}]}`)
	stripped, data, hash, err := bundle.ExtractValues(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != 0 || hash != "" || stripped.Spec.ValuesHash != "" {
		t.Errorf("data %v, hash %q", data, hash)
	}
	full, err := bundle.InjectValues(stripped, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(stripped, full); diff != "" {
		t.Errorf("InjectValues() differs:\n%s", diff)
	}
}

func TestExtractValuesThatJSONCannotExpress(t *testing.T) {
	b := bundleOf(t, `{"targets":[{},{"helm":{"values":{"a":1}}}]}`)
	b.Spec.Targets[1].Helm.Values.Data["a"] = math.NaN()
	_, _, _, err := bundle.ExtractValues(b)
	if err == nil || !strings.Contains(err.Error(), "spec.targets[1].helm") {
		t.Errorf("ExtractValues() error = %v, want one that names the target", err)
	}
}

// The digest is that of Fleet: sha256 of the JSON of the Secret's data.
func TestValuesHash(t *testing.T) {
	data := map[string][]byte{"values.yaml": []byte(`{"a":1}`), "dev": []byte(`{"b":2}`)}
	// sha256 of {"dev":"eyJiIjoyfQ==","values.yaml":"eyJhIjoxfQ=="}
	const want = "53005a5ce529cde147929f0648b95521903e933e2964b27b3489bbac64ca7b14"
	if got := bundle.ValuesHash(data); got != want {
		t.Errorf("ValuesHash() = %s, want %s", got, want)
	}
}

func bundleOf(t testing.TB, spec string) *fleet.Bundle {
	t.Helper()
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "web"}}
	if err := json.Unmarshal([]byte(spec), &b.Spec); err != nil {
		t.Fatal(err)
	}
	return b
}
