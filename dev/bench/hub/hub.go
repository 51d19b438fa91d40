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

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/controlplane"
	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/installation"
	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

const (
	logsName = "logs"
	binName  = "bin"
	// controllersTimeout is how long the controller manager may take until it watches our kinds.
	controllersTimeout = 2 * time.Minute
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
	own         *counters.Meter
	reserved    ports.Reservation
	managerArgs []string
	progress    *progress.Printer
}

// Start builds what is not built yet and starts a hub in a temporary folder, with the CRDs and without the manager.
func Start(ctx context.Context, options Options) (*Hub, error) {
	dir, err := os.MkdirTemp("", "flotilla-bench-")
	if err != nil {
		return nil, fmt.Errorf("making folder: %w", err)
	}
	h := &Hub{dir: dir, logDir: cmp.Or(options.LogDir, filepath.Join(dir, logsName)), own: &counters.Meter{}, managerArgs: options.ManagerArgs, progress: options.Progress}
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
	if h.reserved, err = ports.Reserve(managerName); err != nil {
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
	if h.Hub, err = h.Connect(); err != nil {
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
	ticker := time.NewTicker(quietPoll)
	defer ticker.Stop()
	for {
		watches, err := h.watches(ctx, "bundledeployments")
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

// watches returns how many watches of a resource the API server serves.
func (h *Hub) watches(ctx context.Context, resource string) (int, error) {
	metrics, err := h.metrics(ctx)
	if err != nil {
		return 0, err
	}
	count := 0
	err = counters.Samples(metrics, func(s counters.Sample) {
		if s.Labels["resource"] == resource && s.Labels["verb"] == "WATCH" {
			count += int(s.Value)
		}
	}, "apiserver_longrunning_requests")
	return count, err
}

// Connect returns another client of the bench, with caches of its own.
func (h *Hub) Connect() (*kube.Hub, error) {
	config, err := h.control.RESTConfig()
	if err != nil {
		return nil, err
	}
	config.Wrap(h.own.Wrap)
	conn, err := kube.Connect(config, kube.Options{UserAgent: "flotilla-bench"})
	if err != nil {
		return nil, fmt.Errorf("connecting to the hub: %w", err)
	}
	return kube.NewHub(conn), nil
}

// REST is a client for requests by path.
func (h *Hub) REST() rest.Interface { return h.Kubernetes.CoreV1().RESTClient() }

// Stop ends everything and removes it. After a failure the logs stay, and their folder is named.
func (h *Hub) Stop(failure error) error {
	var err error
	if h.control != nil {
		err = h.control.Stop()
	}
	err = errors.Join(err, h.killManager())
	h.reserved.Release(managerName)
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
