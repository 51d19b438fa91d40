// Package process runs programs in the background and finds them again.
//
// A program is started under a name in a run folder, which remembers it: a later process, such as the next
// call of a command-line tool, finds it there, stops it or kills it. A program is known by its process id
// together with the instant it was started, so a process id that the kernel has given to somebody else
// since is never touched. A tied program dies with the process that started it; any other outlives it.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// ErrNotRunning says that nothing of that name runs.
var ErrNotRunning = errors.New("not running")

// markerEnv is set in every program started here, to its place in the run folder. It finds a program whose
// pid file was never written, or was deleted under it.
const markerEnv = "FLOTILLA_DEV_PROCESS"

// poll is how often a process that is not our child is looked at; for a child the kernel tells.
const poll = 10 * time.Millisecond

// Spec says what to run.
type Spec struct {
	// Name is unique in the run folder.
	Name string
	// RunDir is the folder that remembers the program.
	RunDir string
	// Path is the program, Args its arguments without the program itself, Env what is added to our environment.
	Path string
	Args []string
	Env  []string
	// LogFile takes both outputs; it is appended to.
	LogFile string
	// Tied programs are killed by the kernel when our process ends, however it ends (Linux only).
	Tied bool
	// Isolated programs are the first process of namespaces of their own, for mounts, processes, the network, the host's name and
	// IPC (Linux only, as root). When one ends, the kernel kills whatever it has started, and takes its mounts and links away.
	Isolated bool
}

// Process is a program that was started, by us or by another process.
type Process struct {
	id      identity
	pidFile string
	// exited is closed when a child of ours has ended; nil for a process that is somebody else's child.
	exited chan struct{}
}

// identity is what a pid file holds.
type identity struct {
	PID int `json:"pid"`
	// Started is when the process was started, in a unit of the operating system; it only serves to be compared.
	Started string `json:"started"`
}

// Start runs the program. It returns as soon as the program runs, without waiting for it to be of use.
func Start(spec Spec) (*Process, error) {
	if spec.Isolated && runtime.GOOS != "linux" {
		return nil, fmt.Errorf("starting %s: only Linux has namespaces", spec.Name)
	}
	if running, err := Find(spec.RunDir, spec.Name); err == nil {
		return nil, fmt.Errorf("starting %s: it runs already, as process %d", spec.Name, running.PID())
	}
	for _, dir := range []string{spec.RunDir, filepath.Dir(spec.LogFile)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("making folder for %s: %w", spec.Name, err)
		}
	}
	log, err := os.OpenFile(spec.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening log of %s: %w", spec.Name, err)
	}
	// The program has its own copy of the file by the time Start returns.
	defer func() { _ = log.Close() }()

	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(append(os.Environ(), spec.Env...), markerEnv+"="+marker(spec.RunDir, spec.Name))
	cmd.SysProcAttr = attributes(spec.Tied, spec.Isolated)
	p := &Process{pidFile: pidFile(spec.RunDir, spec.Name), exited: make(chan struct{})}
	if err := p.run(cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	if err := p.remember(); err != nil {
		_ = cmd.Process.Kill()
		<-p.exited
		return nil, fmt.Errorf("remembering %s: %w", spec.Name, err)
	}
	return p, nil
}

// run starts the program and waits for its end in the background. The thread that starts a tied program must
// live as long as the program does: it is the thread's death that makes the kernel kill it.
func (p *Process) run(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			// How it ended is in its log.
			_ = cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.id.PID = cmd.Process.Pid
	return nil
}

func (p *Process) remember() error {
	started, err := startOf(p.id.PID)
	if errors.Is(err, ErrNotRunning) {
		return nil // It has ended already: there is nothing to find later.
	}
	if err != nil {
		return err
	}
	p.id.Started = started
	data, err := json.Marshal(p.id)
	if err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%d", p.pidFile, os.Getpid())
	if err := os.WriteFile(temporary, data, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, p.pidFile)
}

// Find returns the running program of that name, or ErrNotRunning.
func Find(runDir, name string) (*Process, error) {
	path := pidFile(runDir, name)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrNotRunning)
	}
	if err != nil {
		return nil, fmt.Errorf("reading pid file: %w", err)
	}
	p := &Process{pidFile: path}
	if err := json.Unmarshal(data, &p.id); err != nil {
		return nil, fmt.Errorf("reading pid file %s: %w", path, err)
	}
	if !p.Alive() {
		return nil, fmt.Errorf("%s: %w", name, ErrNotRunning)
	}
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.id.PID }

// Alive tells whether the program still runs.
func (p *Process) Alive() bool {
	if p.exited != nil {
		select {
		case <-p.exited:
			return false
		default:
			return true
		}
	}
	started, err := startOf(p.id.PID)
	return err == nil && started == p.id.Started
}

// Wait returns when the program has ended, or with the context's error.
func (p *Process) Wait(ctx context.Context) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for p.Alive() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.exited:
		case <-ticker.C:
		}
	}
	return nil
}

// Stop asks the program to end, kills it when it has not ended after grace, and returns when it is gone.
// A program that has ended already is stopped.
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	graceful, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if p.Wait(graceful) == nil {
		return p.forget()
	}
	return p.Kill(ctx)
}

// Kill ends the program at once and returns when it is gone.
func (p *Process) Kill(ctx context.Context) error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		return fmt.Errorf("waiting for process %d to be gone: %w", p.PID(), err)
	}
	return p.forget()
}

func (p *Process) signal(sig syscall.Signal) error {
	// From here on the handle means this process and no later one of the same id.
	handle, err := os.FindProcess(p.PID())
	if err != nil {
		return fmt.Errorf("finding process %d: %w", p.PID(), err)
	}
	defer func() { _ = handle.Release() }()
	if !p.Alive() {
		return nil
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %s to process %d: %w", sig, p.PID(), err)
	}
	return nil
}

func (p *Process) forget() error {
	if err := os.Remove(p.pidFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing pid file: %w", err)
	}
	return nil
}

func pidFile(runDir, name string) string { return filepath.Join(runDir, name+".pid") }

// marker is the absolute place of a program in its run folder.
func marker(runDir, name string) string {
	if absolute, err := filepath.Abs(runDir); err == nil {
		runDir = absolute
	}
	return filepath.Join(runDir, name)
}
