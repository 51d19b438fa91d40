// Package filelock keeps processes of one machine out of each other's way.
//
// A lock is a file; whoever holds it is the only one until it lets go or dies. The kernel frees the
// lock of a process that dies, however it dies, so a lock never has to be cleaned up.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// interval is how often a waiting process looks again. The kernel can wake a waiter by itself, but such
// a wait cannot be given up when the context ends.
const interval = 100 * time.Millisecond

// Acquire takes the lock at path, creating the file and its folder where needed, and returns the function
// that gives it back. While another process holds it, Acquire waits until ctx ends; waiting, if not nil,
// is called once before the first wait.
func Acquire(ctx context.Context, path string, waiting func()) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the lock's folder: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening lock: %w", err)
	}
	if err := acquire(ctx, file, waiting); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), file.Close())
	}
	// Closing the file is what frees the lock.
	return func() { _ = file.Close() }, nil
}

func acquire(ctx context.Context, file *os.File, waiting func()) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
