package charts

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/charts"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// What `helm test` asks of the hub is no while no manager works, and yes as soon as one does; the rights of the chart suffice.
func TestCheckOfTheHub(t *testing.T) {
	env.InstallChart(t, charts.Manager, nil)
	brief, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := manager.Check(brief, asManager(t), names.NamespaceSystem); err == nil || !strings.Contains(err.Error(), "manager") {
		t.Errorf("without a manager it says %v", err)
	}
	env.StartManager(t, func(c *manager.Config) {
		c.Hub, c.LeaderElection, c.Namespace = asManager(t), true, names.NamespaceSystem
	})
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	if err := manager.Check(ctx, asManager(t), names.NamespaceSystem); err != nil {
		t.Error(err)
	}
}
