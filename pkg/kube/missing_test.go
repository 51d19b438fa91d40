package kube

import (
	"context"
	"errors"
	"testing"
)

func TestAwaitNothingMissing(t *testing.T) {
	lacking := errors.New("there is no lease")
	looks := 0
	err := AwaitNothingMissing(t.Context(), func(context.Context) error {
		if looks++; looks == 1 {
			return lacking
		}
		return nil
	})
	if err != nil || looks != 2 {
		t.Errorf("after %d looks: %v", looks, err)
	}

	// The look that the end cuts short does not hide what was missing.
	ctx, cancel := context.WithCancel(t.Context())
	looks = 0
	err = AwaitNothingMissing(ctx, func(ctx context.Context) error {
		if looks++; looks == 1 {
			return lacking
		}
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, lacking) {
		t.Errorf("it says %v", err)
	}
}
