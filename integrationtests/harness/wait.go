package harness

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// Patience is how long a test waits for something that it expects. What works takes milliseconds; the rest is for
// busy machines. It bounds failing tests, not passing ones.
const Patience = time.Minute

const pollInterval = 20 * time.Millisecond

// Eventually calls try until it returns nil, and fails the test with its last error after Patience.
func Eventually(t testing.TB, what string, try func(ctx context.Context) error) {
	t.Helper()
	if err := poll(t.Context(), Patience, try); err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}

// poll calls try until it returns nil, and returns its last error when the time is over or ctx ends.
func poll(ctx context.Context, patience time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	last := errors.New("was never tried")
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		// An attempt that the deadline cut short knows less than the one before it.
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (gave up: %w)", last, ctx.Err())
		case <-ticker.C:
		}
	}
}

// Long has a test run only where tests may take long: by make test-long, not by make test.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: make test-long runs it")
	}
}
