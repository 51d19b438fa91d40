// Package hub runs a hub of its own for measurements: etcd, API server, controller manager, and Flotilla's manager as a process of
// its own. Nothing else runs there, so everything that the API server counts is the manager's, the bench's own, or that of
// Kubernetes' controllers, which rest once the hub is quiet.
package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/dev/bench/apiserver"
	"github.com/flotilla-gitops/flotilla/dev/bench/program"
	"github.com/flotilla-gitops/flotilla/dev/controlplane"
	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/installation"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

const (
	logsName = "logs"
	binName  = "bin"
	// controllersTimeout is how long the controller manager may take until it watches our kinds.
	controllersTimeout = 2 * time.Minute
	controllersPoll    = 200 * time.Millisecond
)

// Options of Start.
type Options struct {
	// Progress shows what takes time.
	Progress *progress.Printer
	// ManagerArgs are added to the manager's flags.
	ManagerArgs []string
	// LogDir is where logs are kept; empty keeps them only after a failure.
	LogDir string
}

// Hub is a hub that runs. Its clients are the bench's own: what they ask for is told apart from what others do.
type Hub struct {
	*kube.Hub

	dir, logDir string
	control     *controlplane.Cluster
	server      *apiserver.Server
	manager     *program.Program
	managerArgs []string
	progress    *progress.Printer
}

// Start builds what is not built yet and starts a hub in a temporary folder, with the CRDs and without the manager.
func Start(ctx context.Context, options Options) (*Hub, error) {
	dir, err := os.MkdirTemp("", "flotilla-bench-")
	if err != nil {
		return nil, fmt.Errorf("making folder: %w", err)
	}
	h := &Hub{dir: dir, logDir: cmp.Or(options.LogDir, filepath.Join(dir, logsName)), managerArgs: options.ManagerArgs, progress: options.Progress}
	task := h.progress.Start("hub")
	if err := h.start(ctx); err != nil {
		task.Fail("")
		return nil, errors.Join(fmt.Errorf("starting a hub: %w", err), h.Stop(err)) //nolint:contextcheck // also after an interrupt
	}
	task.Done("")
	return h, nil
}

func (h *Hub) start(ctx context.Context) error {
	root, err := binaries.SourceRoot()
	if err != nil {
		return err
	}
	building, buildCtx := errgroup.WithContext(ctx)
	building.Go(func() error { return installation.Build(buildCtx, root, filepath.Join(h.dir, binName)) })
	building.Go(func() (err error) {
		h.control, err = controlplane.Start(buildCtx, controlplane.Options{
			Name: "hub", Dir: filepath.Join(h.dir, "hub"), LogDir: h.logDir, Progress: os.Stderr,
			// No pod ever runs.
			Components: []controlplane.Component{controlplane.ControllerManager},
		})
		return err
	})
	if err := building.Wait(); err != nil {
		return err
	}
	if err := installation.PrepareHub(ctx, root, h.control); err != nil {
		return err
	}
	if h.server, err = apiserver.Of(h.control); err != nil {
		return err
	}
	h.Hub = kube.NewHub(h.server.Connection)
	if h.manager, err = program.New(h.managerSpec()); err != nil {
		return err
	}
	return h.restartControllers(ctx)
}

// restartControllers has the controller manager know our kinds from the start, which it would otherwise learn within half a minute.
// From then on its garbage collector watches deployments, which costs the API server the same in every measure.
func (h *Hub) restartControllers(ctx context.Context) error {
	if err := h.control.KillComponent(ctx, controlplane.ControllerManager); err != nil {
		return err
	}
	if err := h.control.StartComponent(ctx, controlplane.ControllerManager); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, controllersTimeout)
	defer cancel()
	ticker := time.NewTicker(controllersPoll)
	defer ticker.Stop()
	for {
		watches, err := h.server.Watches(ctx, "bundledeployments")
		if err != nil || watches > 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the controller manager to watch deployments: %w", ctx.Err())
		case <-ticker.C:
		}
	}
}

// Connect returns another client of the bench, with caches of its own.
func (h *Hub) Connect() (*kube.Hub, error) {
	conn, err := h.server.Connect()
	if err != nil {
		return nil, err
	}
	return kube.NewHub(conn), nil
}

// REST is a client for requests by path.
func (h *Hub) REST() rest.Interface { return h.server.REST() }

// Stop ends everything and removes it. After a failure the logs stay, and their folder is named.
func (h *Hub) Stop(failure error) error {
	var err error
	if h.control != nil {
		err = h.control.Stop()
	}
	if h.manager != nil {
		err = errors.Join(err, h.manager.Close())
	}
	if failure == nil || errors.Is(failure, context.Canceled) {
		return errors.Join(err, os.RemoveAll(h.dir))
	}
	entries, readErr := os.ReadDir(h.dir)
	for _, entry := range entries {
		if entry.Name() != logsName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(h.dir, entry.Name())))
		}
	}
	h.progress.Println("Logs are in " + h.logDir)
	return errors.Join(err, readErr)
}
