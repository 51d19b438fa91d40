package bundle_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

// The example of docs/spec/bundle.md.
func TestDocumentedValues(t *testing.T) {
	cluster := bundle.ClusterFacts{
		ClusterName: "shop", Labels: map[string]string{"version": "1.10"},
		TemplateValues: map[string]any{
			"domain": "eu.example.com", "zones": []any{"a", "b"},
			"taints": []any{map[string]any{"key": "edge"}, map[string]any{"key": "arm"}},
		},
	}
	got, err := bundle.Template(helmOptions(t, `
host: ${ .ClusterName }.${ .ClusterValues.domain }
replicas: ${ get .ClusterLabels "replicas" | default "1" }      # the number 1
version: ${ .ClusterLabels.version | quote }                    # the text "1.10"
zones: ${ .ClusterValues.zones | toJson }                       # a list
`, map[string]string{"tolerations": `${- range .ClusterValues.taints }
- key: ${ .key }
${- end }
`}), cluster)
	if err != nil {
		t.Fatal(err)
	}
	want := valuesOf(t, `{host: shop.eu.example.com, replicas: 1, version: "1.10", zones: [a, b], tolerations: [{key: edge}, {key: arm}]}`)
	if diff := cmp.Diff(want, got.Helm.Values.Data); diff != "" {
		t.Errorf("values differ (-want +got):\n%s", diff)
	}
}
