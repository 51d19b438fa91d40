package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// attributes puts the program into a session of its own, so that a Ctrl-C meant for us does not reach it.
func attributes(tied, isolated bool) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setsid: true}
	if isolated {
		attributes.Cloneflags = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC
	}
	if tied {
		attributes.Pdeathsig = syscall.SIGKILL
	}
	return attributes
}

// startOf returns when the process was started, in clock ticks since boot. A process that has ended but
// whose parent has not collected it yet counts as not running: a container's first process may never do so.
func startOf(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return "", ErrNotRunning
	}
	if err != nil {
		return "", fmt.Errorf("reading state of process %d: %w", pid, err)
	}
	// The second field is the program's name in brackets and may hold anything; see proc_pid_stat(5).
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	const state, starttime = 0, 19
	if len(fields) <= starttime {
		return "", fmt.Errorf("reading state of process %d: unknown format", pid)
	}
	if (fields[state] == "Z" || fields[state] == "X") && !hasOtherThreads(pid) {
		return "", ErrNotRunning
	}
	return fields[starttime], nil
}

// hasOtherThreads tells whether a process whose first thread has ended goes on in another: until the last has
// ended, its files and ports are still open.
func hasOtherThreads(pid int) bool {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && len(threads) > 1
}

// KillAll ends at once every program that was ever started in the run folder or in a folder below it, known
// to a pid file or not, and whatever these programs started. It returns when all are gone.
func KillAll(ctx context.Context, runDir string) error {
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	var found []*Process
	for _, path := range environments {
		environment, err := os.ReadFile(path)
		if err != nil {
			continue // It has ended meanwhile, or belongs to somebody else.
		}
		mark, ok := markerIn(environment)
		if !ok || !strings.HasPrefix(mark, marker(runDir, "")+string(filepath.Separator)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if started, err := startOf(pid); err == nil {
			found = append(found, &Process{id: identity{PID: pid, Started: started}, pidFile: mark + ".pid"})
		}
	}
	var errs []error
	for _, p := range found {
		errs = append(errs, p.signal(syscall.SIGKILL))
	}
	for _, p := range found {
		errs = append(errs, p.Kill(ctx))
	}
	return errors.Join(errs...)
}

func markerIn(environment []byte) (string, bool) {
	for variable := range bytes.SplitSeq(environment, []byte{0}) {
		if value, ok := bytes.CutPrefix(variable, []byte(markerEnv+"=")); ok {
			return string(value), true
		}
	}
	return "", false
}
