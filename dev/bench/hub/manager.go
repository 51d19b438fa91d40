package hub

import (
	"context"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-gitops/flotilla/dev/bench/program"
	"github.com/flotilla-gitops/flotilla/dev/process"
)

const managerName = "manager"

func (h *Hub) managerSpec() process.Spec {
	return process.Spec{
		Name: managerName, RunDir: filepath.Join(h.dir, "run"), LogFile: filepath.Join(h.logDir, "manager.log"), Tied: true,
		Path: filepath.Join(h.dir, binName, "manager"),
		Args: append([]string{
			"--kubeconfig", h.control.Kubeconfig(), "--data-dir", filepath.Join(h.dir, "data"),
			// There is one manager, and it must not wait for the lease of the one before.
			"--leader-elect=false",
		}, h.managerArgs...),
	}
}

// StartManager starts the manager and returns how long it took until its caches were synced.
func (h *Hub) StartManager(ctx context.Context) (time.Duration, error) { return h.manager.Start(ctx) }

// StopManager asks the manager to end and returns when it is gone.
func (h *Hub) StopManager(ctx context.Context) error { return h.manager.Stop(ctx) }

// Usage returns what the manager's process takes now.
func (h *Hub) Usage(ctx context.Context) (program.Usage, error) { return h.manager.Usage(ctx) }

// Reconciles returns how many reconciles the manager has finished since its start.
func (h *Hub) Reconciles(ctx context.Context) (int, error) {
	count, err := h.manager.Metric(ctx, "flotilla_reconcile_duration_seconds_count")
	return int(count), err
}

// Profile writes CPU profiles of the manager, if it runs, and of the API server into files that begin with the given path.
func (h *Hub) Profile(ctx context.Context, path string, length time.Duration) error {
	var group errgroup.Group
	if pid, err := h.manager.PID(); err == nil && pid != 0 {
		group.Go(func() error { return h.manager.Profile(ctx, path+".manager.cpu.pprof", length) })
	}
	group.Go(func() error { return h.server.Profile(ctx, path+".apiserver.cpu.pprof", length) })
	return group.Wait()
}

// HeapProfile writes a profile of the manager's live objects into a file.
func (h *Hub) HeapProfile(ctx context.Context, file string) error {
	return h.manager.HeapProfile(ctx, file)
}
