package process

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
)

// Run runs a command to its end. It does not outlive us, however we end (Linux only); when ctx ends, it is killed
// together with whatever it has started, and the error is that of ctx.
func Run(ctx context.Context, cmd *exec.Cmd) error {
	cmd.SysProcAttr = attributes(true, false)
	started := make(chan error, 1)
	ended := make(chan struct{})
	var result error
	go func() {
		// The thread that starts it must live as long as it does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			result = cmd.Wait()
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	select {
	case <-ended:
		return result
	case <-ctx.Done():
		// It leads a session, and so a group, of its own.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		return ctx.Err()
	}
}
