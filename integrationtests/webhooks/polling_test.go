package webhooks

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
)

// TestMirrorsGoWithTheirGitRepos has three GitRepos of two repositories.
func TestMirrorsGoWithTheirGitRepos(t *testing.T) {
	workspace := env.Workspace(t)
	shared, lone := harness.GitRepository(t), harness.GitRepository(t)
	var dir string
	m := env.StartManager(t, func(c *manager.Config) {
		dir, c.MirrorGrace = filepath.Join(c.DataDir, "mirrors"), time.Millisecond
	})
	named := func(name string) func(*fleet.GitRepo) { return func(gr *fleet.GitRepo) { gr.Name = name } }
	commits := map[*harness.Repository]string{shared: commit(t, shared, "one"), lone: commit(t, lone, "one")}
	first, second, third := follow(t, workspace, shared, named("a")), follow(t, workspace, shared, named("b")), follow(t, workspace, lone, named("c"))
	awaitCommit(t, first, commits[shared])
	awaitCommit(t, second, commits[shared])
	awaitCommit(t, third, commits[lone])
	awaitMirrors := func(want int) {
		t.Helper()
		harness.Eventually(t, fmt.Sprintf("%d mirrors are on disk", want), func(ctx) error {
			found, err := os.ReadDir(dir)
			if err == nil && len(found) != want {
				return fmt.Errorf("there are %d", len(found))
			}
			return err
		})
	}
	awaitMirrors(2)
	env.GitRepos.Remove(t, first)
	env.GitRepos.Remove(t, third)
	awaitMirrors(1)
	// One that goes while no manager runs, too.
	m.Stop(t)
	env.GitRepos.Remove(t, second)
	m.Start()
	awaitMirrors(0)
}
