package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/dev/process"
)

const managerName = "manager"

const (
	// readyTimeout is how long the manager may take until its caches are synced.
	readyTimeout = 5 * time.Minute
	// stopGrace is how long it may take to end.
	stopGrace   = 20 * time.Second
	killTimeout = 20 * time.Second
)

func (h *Hub) managerSpec() process.Spec {
	return process.Spec{
		Name: managerName, RunDir: filepath.Join(h.dir, "run"), LogFile: filepath.Join(h.logDir, "manager.log"), Tied: true,
		Path: filepath.Join(h.dir, binName, "manager"),
		Args: append([]string{
			"--kubeconfig", h.control.Kubeconfig(), "--data-dir", filepath.Join(h.dir, "data"),
			// There is one manager, and it must not wait for the lease of the one before.
			"--leader-elect=false",
			"--metrics-address", h.managerAddress(), "--debug-endpoints",
		}, h.managerArgs...),
	}
}

func (h *Hub) managerAddress() string {
	return fmt.Sprintf("127.0.0.1:%d", h.reserved.Ports()[managerName])
}

// StartManager starts the manager and returns how long it took until its caches were synced.
func (h *Hub) StartManager(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	h.reserved.Release(managerName)
	if err := ports.AwaitFree(ctx, h.reserved.Ports()[managerName]); err != nil {
		return 0, fmt.Errorf("starting manager: %w", err)
	}
	spec := h.managerSpec()
	began := time.Now()
	running, err := process.Start(spec)
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	if err := running.AwaitReady(ctx, process.HTTPProbe(client, "http://"+h.managerAddress()+"/readyz")); err != nil {
		tail, _ := process.LogTail(spec.LogFile, 15)
		return 0, fmt.Errorf("waiting for the manager: %w\nThe end of its log:\n%s", err, tail)
	}
	return time.Since(began), nil
}

// StopManager asks the manager to end and returns when it is gone.
func (h *Hub) StopManager(ctx context.Context) error {
	return h.endManager(func(p *process.Process) error { return p.Stop(ctx, stopGrace) })
}

func (h *Hub) killManager() error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	return h.endManager(func(p *process.Process) error { return p.Kill(ctx) })
}

func (h *Hub) endManager(end func(*process.Process) error) error {
	running, err := h.manager()
	if errors.Is(err, process.ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	return end(running)
}

func (h *Hub) manager() (*process.Process, error) {
	return process.Find(filepath.Join(h.dir, "run"), managerName)
}

// ask reads one page of the manager's own server.
func (h *Hub) ask(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.managerAddress()+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the manager: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %.200s", path, response.Status, body)
	}
	if err != nil {
		return nil, fmt.Errorf("asking the manager: %w", err)
	}
	return body, nil
}

// Usage is what the manager's process takes.
type Usage struct {
	// Heap are the bytes of live objects, right after a garbage collection.
	Heap float64
	// Resident is the memory that the operating system has given to the process; Peak the most that it had since its start.
	Resident, Peak float64
	// CPU is the processor time used since its start, in seconds.
	CPU float64
}

// Usage returns what the manager's process takes now.
func (h *Hub) Usage(ctx context.Context) (Usage, error) {
	running, err := h.manager()
	if err != nil {
		return Usage{}, err
	}
	// Of the profile only its garbage collection is of interest.
	if _, err := h.ask(ctx, "/debug/pprof/heap?gc=1"); err != nil {
		return Usage{}, err
	}
	metrics, err := h.ask(ctx, "/metrics")
	if err != nil {
		return Usage{}, err
	}
	var usage Usage
	for name, into := range map[string]*float64{
		"go_memstats_heap_alloc_bytes": &usage.Heap, "process_resident_memory_bytes": &usage.Resident,
		"process_cpu_seconds_total": &usage.CPU,
	} {
		if *into, err = counters.Sum(metrics, name); err != nil {
			return Usage{}, err
		}
	}
	usage.Peak, err = peak(running.PID())
	return usage, err
}

// peak returns the most memory that a process had, in bytes.
func peak(pid int) (float64, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of the manager: %w", err)
	}
	return parsePeak(string(status))
}

// parsePeak reads the line "VmHWM:   1234 kB".
func parsePeak(status string) (float64, error) {
	for line := range strings.Lines(status) {
		value, ok := strings.CutPrefix(line, "VmHWM:")
		if !ok {
			continue
		}
		number, unit, _ := strings.Cut(strings.TrimSpace(value), " ")
		kibibytes, err := strconv.ParseFloat(number, 64)
		if err != nil || unit != "kB" {
			return 0, fmt.Errorf("reading the memory of the manager: %q", line)
		}
		return kibibytes * 1024, nil
	}
	return 0, errors.New("reading the memory of the manager: there is no VmHWM")
}

// Reconciles returns how many reconciles the manager has finished since its start.
func (h *Hub) Reconciles(ctx context.Context) (int, error) {
	metrics, err := h.ask(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	count, err := counters.Sum(metrics, "flotilla_reconcile_duration_seconds_count")
	return int(count), err
}

// Profile writes CPU profiles of the manager, if it runs, and of the API server into files that begin with the given path.
func (h *Hub) Profile(ctx context.Context, path string, length time.Duration) error {
	seconds := strconv.Itoa(max(1, int(length.Seconds())))
	var group errgroup.Group
	if _, err := h.manager(); err == nil {
		group.Go(func() error {
			data, err := h.ask(ctx, "/debug/pprof/profile?seconds="+seconds)
			if err != nil {
				return err
			}
			return os.WriteFile(path+".manager.cpu.pprof", data, 0o644)
		})
	}
	group.Go(func() error {
		data, err := h.REST().Get().AbsPath("/debug/pprof/profile").Param("seconds", seconds).DoRaw(ctx)
		if err != nil {
			return fmt.Errorf("profiling the API server: %w", err)
		}
		return os.WriteFile(path+".apiserver.cpu.pprof", data, 0o644)
	})
	return group.Wait()
}

// HeapProfile writes a profile of the manager's live objects into a file.
func (h *Hub) HeapProfile(ctx context.Context, file string) error {
	data, err := h.ask(ctx, "/debug/pprof/heap?gc=1")
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
