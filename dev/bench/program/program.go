// Package program runs one of Flotilla's programs, the manager or an agent, as a process of its own, and reads what it tells of itself.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/dev/process"
)

const (
	// readyTimeout is how long a program may take until it is ready.
	readyTimeout = 5 * time.Minute
	// stopGrace is how long it may take to end.
	stopGrace   = 20 * time.Second
	killTimeout = 20 * time.Second
)

// Program is a program of ours. It must serve /metrics and /readyz, and profiles if these are asked for.
type Program struct {
	// Spec is how it is run. Arguments that tell it where to listen are added: see Start.
	Spec process.Spec

	port     int
	reserved ports.Reservation
}

// New returns a program that does not run, and reserves a port for it.
func New(spec process.Spec) (*Program, error) {
	reserved, err := ports.Reserve(spec.Name)
	if err != nil {
		return nil, err
	}
	return &Program{Spec: spec, port: reserved.Ports()[spec.Name], reserved: reserved}, nil
}

func (p *Program) address() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// Start starts the program with --metrics-address and --debug-endpoints, and returns how long it took until it was ready.
func (p *Program) Start(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	p.reserved.Release(p.Spec.Name)
	if err := ports.AwaitFree(ctx, p.port); err != nil {
		return 0, fmt.Errorf("starting %s: %w", p.Spec.Name, err)
	}
	spec := p.Spec
	spec.Args = append([]string{"--metrics-address", p.address(), "--debug-endpoints"}, spec.Args...)
	began := time.Now()
	running, err := process.Start(spec)
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	if err := running.AwaitReady(ctx, process.HTTPProbe(client, "http://"+p.address()+"/readyz")); err != nil {
		tail, _ := process.LogTail(spec.LogFile, 15)
		return 0, fmt.Errorf("waiting for %s: %w\nThe end of its log:\n%s", spec.Name, err, tail)
	}
	return time.Since(began), nil
}

// Stop asks the program to end and returns when it is gone. One that does not run is left alone.
func (p *Program) Stop(ctx context.Context) error {
	return p.end(func(running *process.Process) error { return running.Stop(ctx, stopGrace) })
}

// Close kills the program and gives its port back.
func (p *Program) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	defer p.reserved.Release(p.Spec.Name)
	return p.end(func(running *process.Process) error { return running.Kill(ctx) })
}

func (p *Program) end(end func(*process.Process) error) error {
	running, err := p.find()
	if errors.Is(err, process.ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	return end(running)
}

func (p *Program) find() (*process.Process, error) {
	return process.Find(p.Spec.RunDir, p.Spec.Name)
}

// PID is the process id, 0 if the program does not run.
func (p *Program) PID() (int, error) {
	running, err := p.find()
	switch {
	case errors.Is(err, process.ErrNotRunning):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return running.PID(), nil
}

// ask reads one page of the program's own server.
func (p *Program) ask(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address()+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", p.Spec.Name, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %.200s", path, response.Status, body)
	}
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", p.Spec.Name, err)
	}
	return body, nil
}

// Metric returns the sum of all samples of one of the program's metrics.
func (p *Program) Metric(ctx context.Context, name string) (float64, error) {
	metrics, err := p.ask(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	return counters.Sum(metrics, name)
}

// Profile writes a CPU profile of the given length into a file.
func (p *Program) Profile(ctx context.Context, file string, length time.Duration) error {
	return p.save(ctx, "/debug/pprof/profile?seconds="+strconv.Itoa(max(1, int(length.Seconds()))), file)
}

// HeapProfile writes a profile of the live objects into a file.
func (p *Program) HeapProfile(ctx context.Context, file string) error {
	return p.save(ctx, "/debug/pprof/heap?gc=1", file)
}

func (p *Program) save(ctx context.Context, path, file string) error {
	data, err := p.ask(ctx, path)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
