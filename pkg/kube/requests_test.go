package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
)

func TestRequestsMakeNoMoreThanTheySay(t *testing.T) {
	const parallel, n = 3, 50
	load := &Load{}
	r := NewRequests(parallel, load)
	var now, most, calls atomic.Int64
	err := r.Write(t.Context(), n, func(int) error {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		calls.Add(1)
		if load.writes.Load() == 0 {
			t.Error("a write is no load")
		}
		return nil
	})
	if err != nil || calls.Load() != n || most.Load() > parallel || load.writes.Load() != 0 {
		t.Errorf("%d calls, %d at once, load %d, error %v", calls.Load(), most.Load(), load.writes.Load(), err)
	}
	_ = r.Read(t.Context(), n, func(int) error {
		if load.writes.Load() != 0 {
			t.Error("a read is load")
		}
		return nil
	})
}

func TestRequestsThatFailKeepNobodyWaiting(t *testing.T) {
	var calls atomic.Int64
	err := NewRequests(2, &Load{}).Write(t.Context(), 20, func(i int) error {
		calls.Add(1)
		if i%2 == 0 {
			panic("poison")
		}
		return fmt.Errorf("failed %d", i)
	})
	var panicked *PanicError
	if calls.Load() != 20 || !errors.As(err, &panicked) || !strings.Contains(err.Error(), "and 15 more") {
		t.Errorf("%d calls, error %v", calls.Load(), err)
	}
	if strings.Contains(err.Error(), "goroutine") {
		t.Errorf("the error holds a stack: %v", err)
	}
}

func TestRequestsThatHaveNotBegunDoNotBegin(t *testing.T) {
	load := &Load{}
	ctx, cancel := context.WithCancel(t.Context())
	r := NewRequests(1, load)
	calls := 0
	err := r.Write(ctx, 1000, func(int) error {
		calls++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || calls == 1000 || load.writes.Load() != 0 {
		t.Errorf("%d calls, load %d, error %v", calls, load.writes.Load(), err)
	}
}
