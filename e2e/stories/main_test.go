// Package stories tests Flotilla as its users run it: the real binaries on
// three real control planes, with a real git server.
package stories

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/installation"
)

// flotilla is the installation that all stories share.
var flotilla *installation.Installation

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const (
	upTimeout   = 15 * time.Minute
	downTimeout = time.Minute
)

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "flotilla-e2e-")
	if err != nil {
		return 0, err
	}
	if flotilla, err = installation.New(dir, installation.Options{Progress: os.Stdout}); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), upTimeout)
	defer cancel()
	if err := flotilla.Up(ctx); err != nil {
		return 0, errors.Join(err, halt(dir))
	}
	code := m.Run()
	if code != 0 {
		return code, halt(dir)
	}
	ctx, cancel = context.WithTimeout(context.Background(), downTimeout)
	defer cancel()
	_, err = flotilla.Down(ctx)
	return code, errors.Join(err, os.RemoveAll(dir))
}

// halt ends everything and leaves the logs.
func halt(dir string) error {
	fmt.Fprintln(os.Stderr, "logs are in", dir)
	ctx, cancel := context.WithTimeout(context.Background(), downTimeout)
	defer cancel()
	return flotilla.Halt(ctx)
}
