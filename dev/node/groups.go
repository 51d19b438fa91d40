package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	groupRoot = "/sys/fs/cgroup"
	// groupsTimeout is how long the kernel may take until the groups of ended processes are empty.
	groupsTimeout = 20 * time.Second
)

// group is the control group below which the kubelet makes those of pods.
func (c *Cluster) group() string { return "flotilla-" + c.options.Name }

// hierarchies lists the roots of control groups: one with the second version, one per controller with the first.
func hierarchies() []string {
	if _, err := os.Stat(filepath.Join(groupRoot, "cgroup.controllers")); err == nil {
		return []string{groupRoot}
	}
	var roots []string
	for _, controller := range controllers() {
		roots = append(roots, filepath.Join(groupRoot, controller))
	}
	return roots
}

func controllers() []string {
	return []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"}
}

// makeGroups makes the control groups, which the kubelet wants to find.
func (c *Cluster) makeGroups() error {
	for _, root := range hierarchies() {
		group := filepath.Join(root, c.group())
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making control group: %w", err)
		}
		if filepath.Base(root) != "cpuset" {
			continue
		}
		// In the first version a group has no processors and no memory until it is given some.
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			all, err := os.ReadFile(filepath.Join(root, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(group, name), all, 0o644)
			}
			if err != nil {
				return fmt.Errorf("giving control group %s: %w", name, err)
			}
		}
	}
	return nil
}

// removeGroups removes the control groups once the kernel has let go of them.
func (c *Cluster) removeGroups(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, groupsTimeout)
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		var err error
		for _, root := range hierarchies() {
			err = errors.Join(err, removeTree(filepath.Join(root, c.group())))
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("removing control groups: %w", err)
		case <-ticker.C:
		}
	}
}

// removeTree removes a group and those below it: they are folders whose files cannot be removed.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeTree(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
