package targeting_test

import (
	"fmt"
	"testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// BenchmarkMatch asks for every cluster of a large fleet: b.N rounds over 10,000 clusters.
func BenchmarkMatch(b *testing.B) {
	const size = 10_000
	fleetOf := make([]*fleet.Cluster, size)
	for i := range fleetOf {
		env := []string{"dev", "prod", "test"}[i%3]
		fleetOf[i] = cluster(fmt.Sprintf("cluster-%05d", i), map[string]string{"env": env, "n": fmt.Sprint(i)})
	}
	for name, text := range map[string]string{
		"one selector": `targets: [{clusterSelector: {matchLabels: {env: dev}}}]`,
		"groups":       `targets: [{clusterGroup: devs}, {clusterGroupSelector: {matchLabels: {kind: env}}}]`,
		"customizations": `{targets: [{clusterSelector: {matchLabels: {env: dev}}, namespace: a}, {clusterSelector: {matchLabels: {env: prod}}, namespace: b},
			{clusterName: cluster-00001, doNotDeploy: true}, {clusterSelector: {}}], targetRestrictions: [{clusterSelector: {}}]}`,
		"a doubt": `targets: [{clusterGroup: missing}, {clusterSelector: {matchLabels: {env: dev}}}]`,
	} {
		b.Run(name, func(b *testing.B) {
			m := targeting.Compile(workspace, specOf(b, text), groups(b))
			b.ReportAllocs()
			for b.Loop() {
				for _, c := range fleetOf {
					m.Match(c)
				}
			}
		})
	}
}
