package harness

import (
	"context"
	"fmt"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/flotilla-gitops/flotilla/pkg/manager"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Manager is the real manager, running in the process of the test.
type Manager struct {
	config manager.Config
	log    logrus.FieldLogger
	run    *running
}

// StartManager runs the manager until the test ends; a test that fails shows its log. There is one manager per hub, as no
// lease keeps two of them apart: tests that start one do not run in parallel, or share one that TestMain started by
// Options.Manager. A nil edit takes the configuration as it is.
func (e *Environment) StartManager(t testing.TB, edit func(*manager.Config)) *Manager {
	t.Helper()
	if !e.managed.TryLock() {
		t.Fatal("a manager is running already")
	}
	t.Cleanup(e.managed.Unlock)
	config := e.managerConfig(t.TempDir())
	if edit != nil {
		edit(&config)
	}
	m := &Manager{config: config, log: LogOf(t)}
	m.Start()
	t.Cleanup(func() { m.Stop(t) })
	return m
}

// StartReplica runs one more manager beside that of StartManager until the test ends. What keeps the two apart is for the test to
// say: nothing does unless both have LeaderElection.
func (e *Environment) StartReplica(t testing.TB, edit func(*manager.Config)) *Manager {
	t.Helper()
	config := e.managerConfig(t.TempDir())
	if edit != nil {
		edit(&config)
	}
	m := &Manager{config: config, log: LogOf(t)}
	m.Start()
	t.Cleanup(func() { _ = m.Crash() })
	return m
}

// Start starts a manager that was stopped, with the same data folder.
func (m *Manager) Start() {
	m.run = start(func(ctx context.Context) error { return manager.Run(ctx, m.config, m.log) })
}

// Stop ends the manager as a signal would, and returns when it is gone. It does nothing to one that was stopped before.
func (m *Manager) Stop(t testing.TB) {
	t.Helper()
	if err := m.run.stop(); err != nil {
		t.Errorf("the manager ended: %v", err)
	}
}

// Crash ends the manager without a word about how it ended, which it returns. Unless its line to the API server is cut before, it
// finishes what it is doing.
func (m *Manager) Crash() error { return m.run.stop() }

// Ended is closed when the manager has ended, by itself or because it was told to.
func (m *Manager) Ended() <-chan struct{} { return m.run.ended }

// managerConfig is how tests run the manager: alone on its hub, serving nothing.
func (e *Environment) managerConfig(dataDir string) manager.Config {
	return manager.Config{
		Hub:                e.Config,
		DataDir:            dataDir,
		Namespace:          names.NamespaceSystem,
		AgentURL:           e.ControlPlane.URL(),
		AgentImage:         "flotilla-agent:test",
		ContentGrace:       manager.DefaultContentGrace,
		FetchTimeout:       manager.DefaultFetchTimeout,
		MaxRepositoryBytes: manager.DefaultMaxRepositoryBytes,
	}
}

// running is something that runs in the background until it is stopped.
type running struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

func start(run func(context.Context) error) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = run(ctx)
		if r.err == nil && ctx.Err() == nil {
			r.err = fmt.Errorf("ended without being told to")
		}
	}()
	return r
}

// stop ends it and returns the error that it ended with, also when it ended before.
func (r *running) stop() error {
	r.cancel()
	<-r.ended
	return r.err
}
