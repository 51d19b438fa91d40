package filelock_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/filelock"
)

// holderEnv makes the test binary play the other process: it takes the lock at that path, says so and waits to be killed.
const holderEnv = "FILELOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holderEnv); path != "" {
		if _, err := filelock.Acquire(context.Background(), path, nil); err != nil {
			os.Exit(1)
		}
		os.Stdout.WriteString("locked\n")
		<-time.After(time.Hour) // Until it is ended.
	}
	os.Exit(m.Run())
}

func TestSecondCallerWaitsForTheFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "some", "lock")
	release, err := filelock.Acquire(t.Context(), path, func() { t.Error("waiting for a lock that nobody holds") })
	if err != nil {
		t.Fatalf("taking a free lock: %v", err)
	}

	waits := make(chan struct{})
	done := make(chan error)
	go func() {
		releaseSecond, err := filelock.Acquire(t.Context(), path, func() { close(waits) })
		if err == nil {
			releaseSecond()
		}
		done <- err
	}()
	<-waits
	select {
	case err := <-done:
		t.Fatalf("the second caller did not wait (error: %v)", err)
	default:
	}
	release()
	if err := <-done; err != nil {
		t.Fatalf("taking the lock after it was given back: %v", err)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	release, err := filelock.Acquire(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer release()

	ctx, cancel := context.WithCancel(t.Context())
	_, err = filelock.Acquire(ctx, path, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
}

func TestLockOfADeadProcessIsFree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holderEnv+"="+path)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the other process did not take the lock: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	killed := false
	release, err := filelock.Acquire(ctx, path, func() {
		killed = true
		if err := holder.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = holder.Wait()
	})
	if err != nil {
		t.Fatalf("taking the lock of a killed process: %v", err)
	}
	release()
	if !killed {
		t.Error("the lock was free while another process held it")
	}
}
