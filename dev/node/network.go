package node

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
)

// bridge is the machine's end of the cluster's network, which stays while the node is off: the API server listens on its
// address. cable is the machine's end of the link to the running node.
func (c *Cluster) bridge() string { return "flotilla-" + c.options.Name }
func (c *Cluster) cable() string  { return "flocable-" + c.options.Name }

// hardware is an address of our own making. One that stayed the same over a restart is in nobody's memory wrongly.
func (c *Cluster) hardware(host int) string {
	return fmt.Sprintf("02:f1:07:00:%02x:%02x", c.options.Number, host)
}

func (c *Cluster) makeNetwork(ctx context.Context) error {
	return ipAll(ctx,
		[]string{"link", "add", c.bridge(), "address", c.hardware(1), "type", "bridge"},
		[]string{"address", "add", c.Host() + "/30", "dev", c.bridge()},
		[]string{"link", "set", c.bridge(), "up"},
	)
}

// plug connects the running node.
func (c *Cluster) plug(ctx context.Context, pid int) error {
	return ipAll(ctx,
		[]string{
			"link", "add", c.cable(), "type", "veth",
			"peer", "name", "eth0", "address", c.hardware(2), "netns", strconv.Itoa(pid),
		},
		[]string{"link", "set", c.cable(), "master", c.bridge(), "up"},
	)
}

// unplug takes away what the kernel takes away too, but later than it ends the node.
func (c *Cluster) unplug(ctx context.Context) error { return removeLink(ctx, c.cable()) }

func (c *Cluster) removeNetwork(ctx context.Context) error {
	if err := c.unplug(ctx); err != nil {
		return err
	}
	return removeLink(ctx, c.bridge())
}

func removeLink(ctx context.Context, name string) error {
	if _, err := net.InterfaceByName(name); err != nil {
		return nil //nolint:nilerr // it is not there
	}
	err := ip(ctx, "link", "delete", name)
	if _, gone := net.InterfaceByName(name); gone != nil {
		return nil //nolint:nilerr // it went by itself
	}
	return err
}

// Cut ends all traffic between two clusters: whatever a node or pod of one sends to the other is lost without a word, as
// behind a broken line. Mend brings it back.
func Cut(ctx context.Context, a, b *Cluster) error { return routes(ctx, "add", a, b) }

// Mend undoes Cut.
func Mend(ctx context.Context, a, b *Cluster) error { return routes(ctx, "delete", a, b) }

func routes(ctx context.Context, verb string, a, b *Cluster) error {
	for _, way := range [][2]*Cluster{{a, b}, {b, a}} {
		cmd, err := way[0].Command(ctx, "ip", "route", verb, "blackhole", way[1].network())
		if err != nil {
			return err
		}
		if err := run(cmd); err != nil {
			return err
		}
	}
	return nil
}

func ipAll(ctx context.Context, commands ...[]string) error {
	for _, args := range commands {
		if err := ip(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func ip(ctx context.Context, args ...string) error {
	return run(exec.CommandContext(ctx, "ip", args...))
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
	}
	return nil
}
