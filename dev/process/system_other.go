//go:build !linux

package process

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// attributes puts the program into a session of its own. Only Linux can tie a program to our life or isolate it.
func attributes(_, _ bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true}
}

// startOf returns when the process was started, as ps writes it.
func startOf(pid int) (string, error) {
	out, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", ErrNotRunning
	}
	if err != nil {
		return "", fmt.Errorf("reading state of process %d: %w", pid, err)
	}
	state, started, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if state == "" || strings.HasPrefix(state, "Z") {
		return "", ErrNotRunning
	}
	return strings.TrimSpace(started), nil
}

// KillAll ends at once every program that a pid file in the run folder names. It returns when all are gone.
func KillAll(ctx context.Context, runDir string) error {
	paths, err := filepath.Glob(filepath.Join(runDir, "*.pid"))
	if err != nil {
		return fmt.Errorf("listing pid files: %w", err)
	}
	var errs []error
	for _, path := range paths {
		p, err := Find(runDir, strings.TrimSuffix(filepath.Base(path), ".pid"))
		if errors.Is(err, ErrNotRunning) {
			continue
		}
		if err == nil {
			err = p.Kill(ctx)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
