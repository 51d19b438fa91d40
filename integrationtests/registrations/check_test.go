package registrations

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// What `helm test` asks of an agent is no before it has joined, and yes after.
func TestCheckOfAnAgent(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	d := newDownstream(t)
	brief, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := agent.Check(brief, env.Config, d.namespace); err == nil || !strings.Contains(err.Error(), "has not joined") {
		t.Errorf("without an agent it says %v", err)
	}
	d.bootstrap(token(t, workspace, "check"), map[string]string{names.KeyClientID: "check"})
	d.start()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	if err := agent.Check(ctx, env.Config, d.namespace); err != nil {
		t.Error(err)
	}
}
