package bundle

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func TestCheckTemplates(t *testing.T) {
	for name, test := range map[string]struct {
		helm string
		want []string
	}{
		"nothing":                {helm: "{}"},
		"what needs a cluster":   {helm: "values: {a: '${ .ClusterLabels.env }', b: '${ index .ClusterValues 1 }'}"},
		"values":                 {helm: "values: {a: {b: ['x', '${ if }']}}", want: []string{"helm values.a.b[1]: the template does not parse: missing value for in line 1"}},
		"a name":                 {helm: "values: {'${ (': x}", want: []string{`helm values["${ ("]: the template does not parse: unclosed action in line 1`}},
		"an unknown function":    {helm: "values: {a: '${ nosuch 1 }'}", want: []string{"nosuch"}},
		"a refused function":     {helm: "values: {a: '${ now }'}", want: []string{"now"}},
		"templateValues":         {helm: "templateValues: {a: '${ end }'}", want: []string{"helm templateValues.a: the template does not parse in line 1"}},
		"several":                {helm: "values: {a: '${ if }', b: '${ end }'}", want: []string{"helm values.a", "helm values.b"}},
		"no templates are meant": {helm: "disablePreProcess: true\nvalues: {a: '${ if }'}"},
		"a reference to a label": {helm: "values: {a: 'global.fleet.clusterLabels.${ if }'}"},
	} {
		t.Run(name, func(t *testing.T) {
			var options fleet.BundleDeploymentOptions
			options.Helm = &fleet.HelmOptions{}
			if err := yaml.UnmarshalStrict([]byte(test.helm), options.Helm); err != nil {
				t.Fatal(err)
			}
			got := CheckTemplates(options)
			if len(got) != len(test.want) {
				t.Fatalf("got %v, want %v", got, test.want)
			}
			for i, want := range test.want {
				if !strings.Contains(got[i].Error(), want) {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
	if got := CheckTemplates(fleet.BundleDeploymentOptions{}); got != nil {
		t.Errorf("without helm options: %v", got)
	}
}

func TestForIsTemplateAndIdentity(t *testing.T) {
	cluster := &fleet.Cluster{}
	cluster.Namespace, cluster.Name, cluster.Labels = "ws", "c1", map[string]string{"env": "prod"}
	cluster.Annotations = map[string]string{"team": "web"}
	cluster.Spec.TemplateValues = &fleet.GenericMap{Data: map[string]any{"replicas": int64(3)}}
	options := fleet.BundleDeploymentOptions{Helm: &fleet.HelmOptions{Chart: "c", Values: &fleet.GenericMap{Data: map[string]any{
		"name": "${ .ClusterNamespace }/${ .ClusterName }", "env": "${ .ClusterLabels.env }",
		"team": "${ .ClusterAnnotations.team }", "replicas": "${ .ClusterValues.replicas }",
	}}}}
	got, err := For(options, "M", cluster)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"env":"prod","name":"ws/c1","replicas":3,"team":"web"}`, string(got.Values)); diff != "" {
		t.Error(diff)
	}
	if got.Options.Helm.Values != nil || got.ValuesHash != sha256Hex(got.Values) || !strings.HasPrefix(got.ID, "M:") {
		t.Errorf("got %+v", got)
	}
	cluster.Labels = nil
	if _, err := For(options, "M", cluster); err == nil || !strings.Contains(err.Error(), "the cluster has no .ClusterLabels.env") {
		t.Errorf("got %v", err)
	}
}
