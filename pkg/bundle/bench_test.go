package bundle_test

import (
	"testing"

	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

// BenchmarkTarget is what one (bundle, cluster) pair costs: merging, templating, identity, splitting.
func BenchmarkTarget(b *testing.B) {
	root := helmOptions(b, `{image: {repository: web, tag: "1"}, replicas: 1, hosts: [a, b], name: "${ .ClusterName }", env: "${ .ClusterLabels.env | upper }"}`, nil)
	custom := helmOptions(b, `{image: {tag: "2"}, replicas: 3}`, nil)
	cluster := facts()
	b.ReportAllocs()
	for b.Loop() {
		o, err := bundle.Template(bundle.Merge(root, custom), cluster)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := bundle.DeploymentID("s-0", o); err != nil {
			b.Fatal(err)
		}
		bundle.SplitValues(o)
	}
}

func BenchmarkTemplateWithoutTemplates(b *testing.B) {
	o := helmOptions(b, `{image: {repository: web, tag: "1"}, replicas: 1, hosts: [a, b]}`, nil)
	cluster := facts()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bundle.Template(o, cluster); err != nil {
			b.Fatal(err)
		}
	}
}
