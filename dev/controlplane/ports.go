package controlplane

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// etcdPeer is no component but has a port of its own.
const etcdPeer = "etcd-peer"

// Ports are taken from below the range that the kernel gives to outgoing connections (32768 and up on Linux):
// a component that is down for a while must find its port free when it comes back.
const (
	firstPort = 15000
	lastPort  = 32000
	portTries = 1000
)

// reservation holds a cluster's ports by listening on them, from when they are chosen until their components
// take them, so that of several clusters made at the same time no two choose the same.
type reservation map[Component]net.Listener

// reserve chooses a free port for each name.
func reserve(names []Component) (reservation, error) {
	reserved := reservation{}
	for _, name := range names {
		listener, err := listenSomewhere()
		if err != nil {
			reserved.release(names...)
			return nil, fmt.Errorf("choosing a port for %s: %w", name, err)
		}
		reserved[name] = listener
	}
	return reserved, nil
}

func (r reservation) ports() map[Component]int {
	ports := make(map[Component]int, len(r))
	for name, listener := range r {
		ports[name] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// release lets others listen. It may be called again.
func (r reservation) release(names ...Component) {
	for _, name := range names {
		if listener := r[name]; listener != nil {
			_ = listener.Close()
		}
	}
}

func listenSomewhere() (net.Listener, error) {
	var err error
	for range portTries {
		var listener net.Listener
		if listener, err = listen(firstPort + rand.IntN(lastPort-firstPort)); err == nil {
			return listener, nil
		}
	}
	return nil, err
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// takePorts returns when the component's ports can be listened on.
func (c *Cluster) takePorts(ctx context.Context, component Component) error {
	needed := portsOf(component)
	c.reserved.release(needed...)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for _, name := range needed {
		for {
			listener, err := listen(c.state.Ports[name])
			if err == nil {
				_ = listener.Close()
				break
			}
			if !errors.Is(err, syscall.EADDRINUSE) {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("port %d is in use: %w", c.state.Ports[name], ctx.Err())
			case <-ticker.C:
			}
		}
	}
	return nil
}

// portsOf names the ports that a component listens on.
func portsOf(components ...Component) []Component {
	if slices.Contains(components, Etcd) {
		return append(slices.Clone(components), etcdPeer)
	}
	return components
}
