package v1alpha1_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// The identity of a deployment is a digest of the JSON of its options, so the order of fields is part of the API.
func TestOrderOfFields(t *testing.T) {
	for _, tt := range []struct {
		of   any
		want string
	}{
		{fleet.BundleDeploymentOptions{}, "yaml kustomize defaultNamespace namespace helm serviceAccount createNamespace " +
			"forceSyncGeneration diff keepResources deleteNamespace ignore correctDrift namespaceLabels namespaceAnnotations " +
			"deleteCRDResources downstreamResources overwrites allowedTargetNamespaceSelector"},
		{fleet.HelmOptions{}, "valuesFiles chart repo releaseName version timeoutSeconds values templateValues valuesFrom force " +
			"takeOwnership maxHistory waitForJobs atomic disablePreProcess disableDNS skipSchemaValidation disableDependencyUpdate"},
		{fleet.BundleResource{}, "name content encoding"},
		{fleet.CorrectDrift{}, "enabled force keepFailHistory"},
	} {
		full := reflect.New(reflect.TypeOf(tt.of))
		fill(full.Elem())
		if got := strings.Join(keys(t, full.Interface()), " "); got != tt.want {
			t.Errorf("%T is encoded as\n%s, want\n%s", tt.of, got, tt.want)
		}
	}
}

// Digests of options as other implementations of the API compute them.
func TestEncodedOptions(t *testing.T) {
	for options, want := range map[string]string{
		`{}`:                         "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356",
		`{"defaultNamespace":"web"}`: "114b886d43068e738caba45711a1c52fdf2d36f801fcc6d324541722b67fadfa",
		`{"namespace":"web","serviceAccount":"sa"}`:                           "2079cfe4e529425216659ce1097499d4ee6f9e1921e6e1a37e4a9b2b8efbf1bd",
		`{"helm":{"releaseName":"r","values":{"b":{"y":2,"x":"<1>"},"a":1}}}`: "423ddf7817bc6685c81de04222b4c84bca86ed9f38b3f4b627e332dc1b0d5f7b",
		`{"helm":{"chart":"./c","version":"1.2.3","valuesFrom":[{"configMapKeyRef":{"name":"n","namespace":"m","key":"k"}}],"takeOwnership":true,"maxHistory":5}}`: "d144c635b4e8314d949f1ba26154c32cd5aa26732e33a0b1d0ab4035b2108dd7",
		`{"kustomize":{"dir":"overlays/dev"},"yaml":{"overlays":["a","b"]}}`:                                                                                       "9ac0acdf37588a8d9de7cddc994ceb4ac4ec8278357c10e3c5db1e1b3ad137eb",
		`{"keepResources":true,"deleteNamespace":true,"namespaceLabels":{"b":"2","a":"1"}}`:                                                                        "74dac29267aebaa1ec795db3c024ceed5c9cf1af9adf4a799868b9987e9682cb",
		`{"forceSyncGeneration":3,"ignore":{"conditions":[{"type":"Active","status":"False"}]}}`:                                                                   "f8e440474688737ad180354657e9965974f34a6f56ceb859bbdce1b320a7cd84",
	} {
		var decoded fleet.BundleDeploymentOptions
		if err := json.Unmarshal([]byte(options), &decoded); err != nil {
			t.Fatalf("%s: %v", options, err)
		}
		var encoded bytes.Buffer
		if err := json.NewEncoder(&encoded).Encode(decoded); err != nil {
			t.Fatalf("%s: %v", options, err)
		}
		sum := sha256.Sum256(encoded.Bytes())
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s is encoded as %s with digest %s, want %s", options, &encoded, got, want)
		}
	}
}

// Options can be switched off as well as on, so false must survive a round trip.
func TestFalseIsNotUnset(t *testing.T) {
	for _, of := range []any{fleet.BundleDeploymentOptions{}, fleet.HelmOptions{}} {
		kind := reflect.TypeOf(of)
		for i := range kind.NumField() {
			field := kind.Field(i)
			if field.Type.Kind() == reflect.Bool {
				t.Errorf("%s.%s cannot tell false from unset", kind.Name(), field.Name)
			}
			if field.Type != reflect.TypeFor[*bool]() {
				continue
			}
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			decoded := reflect.New(kind)
			if err := json.Unmarshal([]byte(`{"`+name+`":false}`), decoded.Interface()); err != nil {
				t.Fatal(err)
			}
			encoded, err := json.Marshal(decoded.Interface())
			if err != nil {
				t.Fatal(err)
			}
			if string(encoded) != `{"`+name+`":false}` {
				t.Errorf("false for %s.%s becomes %s", kind.Name(), field.Name, encoded)
			}
		}
	}
}

// Nothing that is not set shows up in what is written, so that patches hold only what was meant.
func TestEmptyObjectsAreShort(t *testing.T) {
	for _, tt := range []struct {
		of   any
		want string
	}{
		{fleet.BundleDeploymentSpec{}, `{}`},
		{fleet.BundleSpec{}, `{}`},
		{fleet.ClusterSpec{}, `{}`},
		{fleet.GitRepoSpec{Repo: "r"}, `{"repo":"r"}`},
		{fleet.Condition{Type: "Ready", Status: "True"}, `{"type":"Ready","status":"True"}`},
		{fleet.AgentStatus{}, `{}`},
		{fleet.BundleTarget{}, `{}`},
	} {
		got, err := json.Marshal(tt.of)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != tt.want {
			t.Errorf("%T is encoded as %s, want %s", tt.of, got, tt.want)
		}
	}
}

// A type that has all of another's fields inline must not shadow one of them.
func TestNoFieldIsShadowed(t *testing.T) {
	for _, of := range []any{
		fleet.BundleSpec{}, fleet.BundleTarget{}, fleet.HelmOpSpec{}, fleet.FleetYAML{}, fleet.ImageScanYAML{},
		fleet.GitRepoStatus{}, fleet.HelmOpStatus{},
	} {
		seen := map[string]string{}
		fields(reflect.TypeOf(of), func(owner reflect.Type, name string) {
			if other, ok := seen[name]; ok {
				t.Errorf("%T: both %s and %s have %s", of, other, owner.Name(), name)
			}
			seen[name] = owner.Name()
		})
	}
}

func TestGenericMap(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:   `{}`,
		`null`: `null`,
		`{"a":1,"b":1.5,"c":"x","d":[1,{"e":null}],"f":true}`: `{"a":1,"b":1.5,"c":"x","d":[1,{"e":null}],"f":true}`,
		// A number that a float64 cannot hold keeps its digits.
		`{"id":9007199254740993}`: `{"id":9007199254740993}`,
	} {
		var values fleet.GenericMap
		if err := json.Unmarshal([]byte(in), &values); err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		got, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{`[]`, `"a"`, `1`, `{`} {
		var values fleet.GenericMap
		if err := json.Unmarshal([]byte(in), &values); err == nil {
			t.Errorf("%s is taken for an object", in)
		}
	}
}

func TestGenericMapDeepCopy(t *testing.T) {
	original := func() *fleet.GenericMap {
		return &fleet.GenericMap{Data: map[string]any{
			"map": map[string]any{"a": int64(1)}, "list": []any{map[string]any{"b": "x"}}, "int": 7, "nil": nil,
		}}
	}
	values := original()
	copied := values.DeepCopy()
	if diff := cmp.Diff(values, copied); diff != "" {
		t.Errorf("the copy differs:\n%s", diff)
	}
	copied.Data["map"].(map[string]any)["a"] = int64(2)
	copied.Data["list"].([]any)[0].(map[string]any)["b"] = "y"
	copied.Data["new"] = true
	if diff := cmp.Diff(original(), values); diff != "" {
		t.Errorf("a change of the copy changed the original:\n%s", diff)
	}
	if (*fleet.GenericMap)(nil).DeepCopy() != nil || (&fleet.GenericMap{}).DeepCopy().Data != nil {
		t.Error("the copy of nothing is something")
	}
}

// fill gives every field of a struct a value that is encoded.
func fill(value reflect.Value) {
	switch value.Kind() {
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem())
	case reflect.Struct:
		for i := range value.NumField() {
			fill(value.Field(i))
		}
	case reflect.String:
		value.SetString("x")
	case reflect.Bool:
		value.SetBool(true)
	default:
		value.SetInt(1)
	}
}

// keys returns the names of the fields of an encoded object, in order.
func keys(t *testing.T, object any) []string {
	t.Helper()
	encoded, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	if _, err := decoder.Token(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// fields visits the JSON fields of a struct and of all structs that it has inline.
func fields(of reflect.Type, visit func(owner reflect.Type, name string)) {
	for i := range of.NumField() {
		field := of.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" && slices.Contains(strings.Split(options, ","), "inline") {
			fields(field.Type, visit)
			continue
		}
		visit(of, name)
	}
}

// Settings of the agent that are empty on purpose are not the same as settings that are not there.
func TestEmptyPullSecretsAreKept(t *testing.T) {
	encoded, err := json.Marshal(fleet.ClusterSpec{AgentPullSecrets: &[]corev1.LocalObjectReference{}})
	if err != nil {
		t.Fatal(err)
	}
	if string(encoded) != `{"agentPullSecrets":[]}` {
		t.Errorf("encoded as %s", encoded)
	}
}
