package bundle_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

// Options that do not vary come to the same for all clusters that agree on
// whether there are labels to be seen.
func TestVaries(t *testing.T) {
	tests := []struct {
		options string
		want    bool
	}{
		{`{namespace: a}`, false},
		{`{helm: {releaseName: a}}`, false},
		{`{helm: {values: {a: {b: [c, 1, true]}}}}`, false},
		{`{helm: {values: {a: "${ .ClusterName }"}}}`, true},
		{`{helm: {values: {a: [{b: "x-${ .ClusterName }"}]}}}`, true},
		{`{helm: {values: {"${ .ClusterName }": 1}}}`, true},
		{`{helm: {values: {a: global.fleet.clusterLabels.env}}}`, true},
		{`{helm: {values: {a: "not global.fleet.clusterLabels.env"}}}`, false},
		{`{helm: {templateValues: {a: "${ .ClusterName }"}}}`, true},
		{`{helm: {disablePreProcess: true, values: {a: "${ .ClusterName }"}, templateValues: {a: "${ .ClusterName }"}}}`, false},
	}
	clusters := []bundle.ClusterFacts{
		{ClusterName: "a", ClusterNamespace: "n"},
		{ClusterName: "b", ClusterNamespace: "m", Labels: map[string]string{"kubectl.kubernetes.io/x": "1", "other.cattle.io/y": "2"}},
		{ClusterName: "c", ClusterNamespace: "n", Labels: map[string]string{"env": "dev"}},
		{ClusterName: "d", ClusterNamespace: "n", Labels: map[string]string{"env": "prod", "other.cattle.io/y": "2"}, TemplateValues: map[string]any{"x": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.options, func(t *testing.T) {
			var options fleet.BundleDeploymentOptions
			if err := yaml.UnmarshalStrict([]byte(tt.options), &options); err != nil {
				t.Fatal(err)
			}
			if got := bundle.Varies(options); got != tt.want {
				t.Fatalf("got %t, want %t", got, tt.want)
			}
			byLabels := map[bool]fleet.BundleDeploymentOptions{}
			differs := ""
			for _, facts := range clusters {
				got, err := bundle.Template(options, facts)
				if err != nil {
					t.Fatal(err)
				}
				sees := bundle.SeesLabels(facts.Labels)
				if before, ok := byLabels[sees]; ok {
					differs += cmp.Diff(before, got)
				} else {
					byLabels[sees] = got
				}
			}
			if (differs != "") != tt.want {
				t.Errorf("the results differ: %s", fmt.Sprint(differs != ""))
			}
		})
	}
}
