// Package ports finds ports of this machine for programs that are to keep them.
package ports

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
	"time"
)

// Ports are taken from below the range that the kernel gives to outgoing connections (32768 and up on Linux):
// a program that is down for a while must find its port free when it comes back.
const (
	first = 15000
	last  = 32000
	tries = 1000
)

// poll is how often a port in use is looked at again.
const poll = 25 * time.Millisecond

// Reservation holds ports, by the names of who will use them, by listening on them until they are released:
// of several programs that choose ports at the same time, no two choose the same.
type Reservation map[string]net.Listener

// Reserve chooses a free port of the loopback interface for each name.
func Reserve(names ...string) (Reservation, error) {
	reserved := Reservation{}
	for _, name := range names {
		listener, err := listenSomewhere()
		if err != nil {
			reserved.Release(names...)
			return nil, fmt.Errorf("choosing a port for %s: %w", name, err)
		}
		reserved[name] = listener
	}
	return reserved, nil
}

// Ports returns the chosen ports.
func (r Reservation) Ports() map[string]int {
	ports := make(map[string]int, len(r))
	for name, listener := range r {
		ports[name] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// Release lets the program of that name listen. Releasing again, or what was never reserved, does nothing.
func (r Reservation) Release(names ...string) {
	for _, name := range names {
		if listener := r[name]; listener != nil {
			_ = listener.Close()
		}
	}
}

// AwaitFree returns when the port of the loopback interface can be listened on: a program that is ending may
// hold it for a while.
func AwaitFree(ctx context.Context, port int) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		listener, err := listen(port)
		if err == nil {
			return listener.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("port %d is in use: %w", port, ctx.Err())
		case <-ticker.C:
		}
	}
}

func listenSomewhere() (net.Listener, error) {
	var err error
	for range tries {
		var listener net.Listener
		if listener, err = listen(first + rand.IntN(last-first)); err == nil {
			return listener, nil
		}
	}
	return nil, err
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
