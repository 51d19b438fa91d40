package v1alpha1_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

const crdFolder = "../../../../charts/flotilla-crd/templates"

const (
	readyMessage     = `.status.conditions[?(@.type=="Ready")].message`
	readyDeployments = ".status.display.readyBundleDeployments"
)

// column is a printer column: its name and JSONPath.
type column [2]string

// kinds is what users and tools of the API rely on. Columns are those that are shown without "-o wide".
var kinds = []struct {
	kind, plural  string
	clusterScoped bool
	noStatus      bool // no status subresource
	inCategory    bool // listed by "kubectl get fleet"
	columns       []column
}{
	{kind: "GitRepo", plural: "gitrepos", inCategory: true, columns: []column{
		{"Repo", ".spec.repo"}, {"Commit", ".status.commit"}, {"BundleDeployments-Ready", readyDeployments}, {"Status", readyMessage}}},
	{kind: "HelmOp", plural: "helmops", inCategory: true, columns: []column{
		{"Repo", ".spec.helm.repo"}, {"Chart", ".spec.helm.chart"}, {"Version", ".status.version"},
		{"BundleDeployments-Ready", readyDeployments}, {"Status", readyMessage}}},
	{kind: "Bundle", plural: "bundles", columns: []column{
		{"BundleDeployments-Ready", ".status.display.readyClusters"}, {"Status", readyMessage}}},
	{kind: "BundleDeployment", plural: "bundledeployments", columns: []column{
		{"Deployed", ".status.display.deployed"}, {"Monitored", ".status.display.monitored"}, {"Status", readyMessage}}},
	{kind: "Content", plural: "contents", clusterScoped: true},
	{kind: "Cluster", plural: "clusters", columns: []column{
		{"Bundles-Ready", ".status.display.readyBundles"}, {"Last-Seen", ".status.agent.lastSeen"}, {"Status", readyMessage}}},
	{kind: "ClusterGroup", plural: "clustergroups", inCategory: true, columns: []column{
		{"Clusters-Ready", ".status.display.readyClusters"}, {"Bundles-Ready", ".status.display.readyBundles"}, {"Status", readyMessage}}},
	{kind: "ClusterRegistration", plural: "clusterregistrations", columns: []column{
		{"Cluster-Name", ".status.clusterName"}, {"Labels", ".spec.clusterLabels"}}},
	{kind: "ClusterRegistrationToken", plural: "clusterregistrationtokens", columns: []column{
		{"Secret-Name", ".status.secretName"}}},
	{kind: "BundleNamespaceMapping", plural: "bundlenamespacemappings"},
	{kind: "GitRepoRestriction", plural: "gitreporestrictions", columns: []column{
		{"Default-ServiceAccount", ".defaultServiceAccount"}, {"Allowed-ServiceAccounts", ".allowedServiceAccounts"}}},
	{kind: "Policy", plural: "policies", noStatus: true},
	{kind: "Schedule", plural: "schedules", columns: []column{
		{"Schedule", ".spec.schedule"}, {"Duration", ".spec.duration"}, {"Active", ".status.active"}, {"NextStart", ".status.nextStartTime"}}},
	{kind: "ImageScan", plural: "imagescans", columns: []column{
		{"Repository", ".spec.image"}, {"Latest", ".status.latestTag"}}},
}

func TestDefinitions(t *testing.T) {
	crds := readCRDs(t)
	if len(crds) != len(kinds) {
		t.Errorf("there are %d definitions, but %d kinds", len(crds), len(kinds))
	}
	for _, want := range kinds {
		t.Run(want.kind, func(t *testing.T) {
			crd, ok := crds[want.kind]
			if !ok {
				t.Fatal("no definition")
			}
			if crd.Name != want.plural+".fleet.cattle.io" || crd.Spec.Names.Plural != want.plural {
				t.Errorf("named %s, plural %s", crd.Name, crd.Spec.Names.Plural)
			}
			if got := crd.Spec.Scope == apiextensionsv1.ClusterScoped; got != want.clusterScoped {
				t.Errorf("scope is %s", crd.Spec.Scope)
			}
			if got := slices.Equal(crd.Spec.Names.Categories, []string{"fleet"}); got != want.inCategory {
				t.Errorf("categories are %v", crd.Spec.Names.Categories)
			}
			if len(crd.Spec.Names.ShortNames) != 0 {
				t.Errorf("short names are %v", crd.Spec.Names.ShortNames)
			}
			if crd.Annotations["helm.sh/resource-policy"] != "keep" {
				t.Error("uninstalling the chart would delete the definition, and with it every object")
			}
			version := onlyVersion(t, crd)
			if got := version.Subresources == nil || version.Subresources.Status == nil; got != want.noStatus {
				t.Errorf("status subresource: %v", !got)
			}
			if diff := cmp.Diff(want.columns, columns(version)); diff != "" {
				t.Errorf("columns (-want +got):\n%s", diff)
			}
		})
	}
}

// Every kind is registered under its name, with its list.
func TestAddToScheme(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := fleet.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, want := range kinds {
		for _, kind := range []string{want.kind, want.kind + "List"} {
			if !scheme.Recognizes(fleet.SchemeGroupVersion.WithKind(kind)) {
				t.Errorf("%s is not registered", kind)
			}
		}
	}
}

// Every field of a kind has a description: it is what kubectl explain shows.
func TestEveryFieldIsExplained(t *testing.T) {
	for kind, crd := range readCRDs(t) {
		walk(onlyVersion(t, crd).Schema.OpenAPIV3Schema, kind, func(path string, schema *apiextensionsv1.JSONSchemaProps) {
			if schema.Description == "" && !strings.HasSuffix(path, "[]") && path != kind+".metadata" {
				t.Errorf("%s has no description", path)
			}
		})
	}
}

func TestValidations(t *testing.T) {
	crds := readCRDs(t)
	releaseName := func(path string, schema *apiextensionsv1.JSONSchemaProps) {
		if schema.MaxLength == nil || *schema.MaxLength != 53 || schema.Pattern == "" {
			t.Errorf("%s: %v", path, schema)
		}
	}
	duration := func(path string, schema *apiextensionsv1.JSONSchemaProps) {
		if schema.Type != "string" || schema.MinLength == nil || *schema.MinLength != 1 ||
			schema.MaxLength == nil || *schema.MaxLength != 32 || len(schema.XValidations) != 1 {
			t.Errorf("%s: %v", path, schema)
		}
	}
	mode := func(path string, schema *apiextensionsv1.JSONSchemaProps) {
		if schema.Default == nil || string(schema.Default.Raw) != `"FirstMatch"` || len(schema.Enum) != 2 {
			t.Errorf("%s: %v", path, schema)
		}
	}
	anyObject := func(path string, schema *apiextensionsv1.JSONSchemaProps) {
		if schema.Type != "object" || schema.XPreserveUnknownFields == nil || !*schema.XPreserveUnknownFields {
			t.Errorf("%s: %v", path, schema)
		}
	}
	requires := func(fields ...string) func(string, *apiextensionsv1.JSONSchemaProps) {
		return func(path string, schema *apiextensionsv1.JSONSchemaProps) {
			if !slices.Equal(schema.Required, fields) {
				t.Errorf("%s requires %v, want %v", path, schema.Required, fields)
			}
		}
	}
	for _, rule := range []struct {
		kind, path string
		check      func(string, *apiextensionsv1.JSONSchemaProps)
	}{
		{"GitRepo", "spec", requires("repo")},
		{"GitRepo", "spec.pollingInterval", duration},
		{"GitRepo", "spec.imageScanInterval", duration},
		{"GitRepo", "status.conditions[]", requires("status", "type")},
		{"GitRepo", "status.resources[]", requires("perClusterState")},
		{"HelmOp", "spec.pollingInterval", duration},
		{"HelmOp", "spec.helm.releaseName", releaseName},
		{"HelmOp", "spec.targetCustomizationMode", mode},
		{"Bundle", "spec", requires()},
		{"Bundle", "spec.helm.releaseName", releaseName},
		{"Bundle", "spec.helm.values", anyObject},
		{"Bundle", "spec.targets[].helm.releaseName", releaseName},
		{"Bundle", "spec.targets[].helm.values", anyObject},
		{"Bundle", "spec.targetCustomizationMode", mode},
		{"BundleDeployment", "spec.options.helm.releaseName", releaseName},
		{"BundleDeployment", "spec.stagedOptions.helm.releaseName", releaseName},
		{"BundleDeployment", "spec.options.helm.values", anyObject},
		{"Cluster", "spec.templateValues", anyObject},
		{"ClusterRegistrationToken", "spec.ttl", duration},
		{"Schedule", "spec.duration", duration},
		{"ImageScan", "spec", requires("image", "interval")},
		{"ImageScan", "spec.interval", duration},
	} {
		crd, ok := crds[rule.kind]
		if !ok {
			t.Fatalf("no definition of %s", rule.kind)
		}
		found := false
		walk(onlyVersion(t, crd).Schema.OpenAPIV3Schema, "", func(path string, schema *apiextensionsv1.JSONSchemaProps) {
			if path == "."+rule.path {
				found = true
				rule.check(rule.kind+path, schema)
			}
		})
		if !found {
			t.Errorf("%s has no field %s", rule.kind, rule.path)
		}
	}
}

// Clients in other languages write null for what is not set, so null must be accepted wherever a Go client would leave
// a string, list, map or object out of what users write.
func TestUsersMayWriteNull(t *testing.T) {
	for _, kind := range []string{"GitRepo", "HelmOp", "Bundle", "Cluster", "ClusterGroup", "ClusterRegistrationToken", "ImageScan", "Schedule"} {
		spec := onlyVersion(t, readCRDs(t)[kind]).Schema.OpenAPIV3Schema.Properties["spec"]
		for name, field := range spec.Properties {
			switch {
			case field.Nullable, field.Default != nil, slices.Contains(spec.Required, name):
			case field.Type == "boolean", field.Type == "integer":
			default:
				t.Errorf("%s.spec.%s (%s) is not nullable", kind, name, field.Type)
			}
		}
	}
}

func readCRDs(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(crdFolder, "fleet.cattle.io_*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	crds := make(map[string]*apiextensionsv1.CustomResourceDefinition, len(files))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("{{")) {
			t.Errorf("%s: Helm would take {{ for a template", file)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		crds[crd.Spec.Names.Kind] = crd
	}
	return crds
}

func onlyVersion(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionVersion {
	t.Helper()
	if len(crd.Spec.Versions) != 1 {
		t.Fatalf("there are %d versions", len(crd.Spec.Versions))
	}
	version := &crd.Spec.Versions[0]
	if crd.Spec.Group != fleet.GroupName || version.Name != fleet.Version || !version.Served || !version.Storage {
		t.Fatalf("version %s/%s is served: %v, stored: %v", crd.Spec.Group, version.Name, version.Served, version.Storage)
	}
	return version
}

func columns(version *apiextensionsv1.CustomResourceDefinitionVersion) []column {
	var shown []column
	for _, c := range version.AdditionalPrinterColumns {
		if c.Priority == 0 {
			shown = append(shown, column{c.Name, c.JSONPath})
		}
	}
	return shown
}

// walk visits every field below schema; the items of lists and the values of maps have "[]" in their path.
func walk(schema *apiextensionsv1.JSONSchemaProps, path string, visit func(string, *apiextensionsv1.JSONSchemaProps)) {
	visit(path, schema)
	for name := range schema.Properties {
		field := schema.Properties[name]
		walk(&field, path+"."+name, visit)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		walk(schema.Items.Schema, path+"[]", visit)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		walk(schema.AdditionalProperties.Schema, path+"[]", visit)
	}
}

// Every kind can be copied without sharing anything, and every kind is an object with metadata.
func TestKindsAreObjects(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := fleet.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, want := range kinds {
		object, err := scheme.New(fleet.SchemeGroupVersion.WithKind(want.kind))
		if err != nil {
			t.Fatal(err)
		}
		meta, ok := object.(metav1.Object)
		if !ok {
			t.Fatalf("%s has no metadata", want.kind)
		}
		meta.SetLabels(map[string]string{"a": "1"})
		copied := object.DeepCopyObject()
		if !reflect.DeepEqual(object, copied) {
			t.Errorf("%s: the copy differs", want.kind)
		}
		copied.(metav1.Object).GetLabels()["a"] = "2"
		if meta.GetLabels()["a"] != "1" {
			t.Errorf("%s: the copy shares its labels", want.kind)
		}
	}
}
