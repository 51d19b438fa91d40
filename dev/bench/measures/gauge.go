package measures

import (
	"context"
	"fmt"

	"github.com/flotilla-gitops/flotilla/dev/bench/gauge"
	"github.com/flotilla-gitops/flotilla/dev/bench/stream"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// countDeployments counts BundleDeployments without looking at them, and returns when those that are there are counted.
func (r *Run) countDeployments(ctx context.Context, there int) (*gauge.Gauge, error) {
	g := gauge.Follow(ctx, r.hub.REST(), fleet.SchemeGroupVersion.WithResource("bundledeployments"), count)
	if _, err := g.Await(ctx, there, gauge.Quietly); err != nil {
		g.Close()
		return nil, fmt.Errorf("counting deployments: %w", err)
	}
	return g, nil
}

func count(g *gauge.Gauge, e stream.Event) {
	switch e.Type {
	case stream.Added:
		g.Add(1)
	case stream.Deleted:
		g.Add(-1)
	}
}
