package ports_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/ports"
)

func TestReservedPortsAreDifferentAndHeldUntilReleased(t *testing.T) {
	names := []string{"etcd", "apiserver", "scheduler"}
	reserved, err := ports.Reserve(names...)
	if err != nil {
		t.Fatal(err)
	}
	defer reserved.Release(names...)
	seen := map[int]bool{}
	for name, port := range reserved.Ports() {
		if seen[port] {
			t.Errorf("%s shares port %d", name, port)
		}
		seen[port] = true
		if listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			listener.Close()
			t.Errorf("the port of %s can be taken by others", name)
		}
	}
	if len(seen) != len(names) {
		t.Errorf("%d ports for %d names", len(seen), len(names))
	}

	reserved.Release("etcd", "never reserved")
	if err := ports.AwaitFree(t.Context(), reserved.Ports()["etcd"]); err != nil {
		t.Errorf("the released port: %v", err)
	}
	reserved.Release("etcd")
}

func TestPortInUseIsWaitedFor(t *testing.T) {
	reserved, err := ports.Reserve("x")
	if err != nil {
		t.Fatal(err)
	}
	defer reserved.Release("x")
	port := reserved.Ports()["x"]

	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	if err := ports.AwaitFree(ctx, port); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a port in use: got %v", err)
	}
	free := make(chan error)
	go func() { free <- ports.AwaitFree(t.Context(), port) }()
	reserved.Release("x")
	if err := <-free; err != nil {
		t.Error(err)
	}
}
