// Package installation runs a whole Flotilla on this machine: a hub and two downstream clusters with real
// control planes, a git server, the manager, and an agent for each cluster, the hub included.
//
// An installation is a folder. Everything it consists of is a part with a name (see Parts), a process of its
// own that can be started, stopped and killed by itself, also by another process than the one that started it.
// No kubelet runs, so the agents that the manager installs downstream are only played by kwok; in their place
// each agent runs here as a process, with exactly the Secret that the manager wrote for it.
package installation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-gitops/flotilla/dev/controlplane"
	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/filelock"
	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/dev/process"
	"github.com/flotilla-gitops/flotilla/dev/progress"
)

// killTimeout is how long the kernel may take to end everything.
const killTimeout = 30 * time.Second

// Options of New.
type Options struct {
	// Detached installations outlive the process that starts them. Any other dies with it (Linux only).
	Detached bool
	// Progress takes one line per step of Up; nil shows nothing.
	Progress io.Writer
}

// Installation is a Flotilla in a folder, whether it runs or not.
type Installation struct {
	Layout

	options  Options
	printer  *progress.Printer
	root     string
	ports    map[string]int
	reserved ports.Reservation
	binaries *binaries.Set
}

// New returns the installation in a folder, which need not be there yet. It must be called inside the source
// tree, which everything is built from.
func New(dir string, options Options) (*Installation, error) {
	root, err := binaries.SourceRoot()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("finding folder: %w", err)
	}
	return &Installation{Layout: Layout{Dir: dir}, options: options, printer: progress.New(options.Progress), root: root}, nil
}

// Up builds and starts whatever is not there yet and returns when everything is connected. If it fails, what
// runs goes on running, for somebody to look at; Down cleans up after it.
func (i *Installation) Up(ctx context.Context) error {
	release, err := i.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := i.choosePorts(); err != nil {
		return err
	}
	defer i.reserved.Release(portNames()...)
	set, err := binaries.Ensure(ctx, binaries.Options{Progress: i.options.Progress})
	if err != nil {
		return err
	}
	i.binaries = &set

	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return i.task(groupCtx, "manager and agent", "built", func(ctx context.Context) error { return Build(ctx, i.root, i.binDir()) })
	})
	for _, member := range Members() {
		group.Go(func() error {
			return i.task(groupCtx, "cluster "+member.Name, "", func(ctx context.Context) error { return i.startCluster(ctx, member) })
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return i.connect(ctx)
}

// connect starts what needs the clusters and the programs, and returns when every agent has reported to the hub.
func (i *Installation) connect(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return i.task(groupCtx, "git server", "", i.startGit) })
	group.Go(func() error {
		return i.task(groupCtx, "manager", "", i.startManager)
	})
	group.Go(func() error { return i.register(groupCtx) })
	for _, member := range Members() {
		group.Go(func() error {
			return i.task(groupCtx, "agent of "+member.Name, "connected", func(ctx context.Context) error { return i.connectAgent(ctx, member) })
		})
	}
	return group.Wait()
}

// startManager starts the manager and writes down where it receives webhooks.
func (i *Installation) startManager(ctx context.Context) error {
	if err := i.startProgram(ctx, managerPart, readyz); err != nil {
		return err
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/\n", i.ports[webhooksPort])
	return os.WriteFile(i.WebhooksURLFile(), []byte(url), 0o644)
}

func (i *Installation) task(ctx context.Context, name, done string, run func(context.Context) error) error {
	task := i.printer.Start(name)
	if err := run(ctx); err != nil {
		task.Fail(reason(err))
		return fmt.Errorf("%s: %w", name, err)
	}
	task.Done(done)
	return nil
}

// reason is what fits into a line of progress; the whole error comes at the end.
func reason(err error) string {
	if errors.Is(err, context.Canceled) {
		return "given up"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Down ends everything, also what a half-finished Up left behind, and removes the folder but for repositories
// that Flotilla did not make: these are returned.
func (i *Installation) Down(ctx context.Context) (kept []string, err error) {
	release, err := i.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := i.killAll(ctx); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(i.Dir)
	if err != nil {
		return nil, fmt.Errorf("removing %s: %w", i.Dir, err)
	}
	for _, entry := range entries {
		// Removing the lock would let two others in at once.
		if name := entry.Name(); name != lockName && name != gitName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(i.Dir, name)))
		}
	}
	kept, gitErr := i.removeGit()
	return kept, errors.Join(err, gitErr)
}

// Halt ends everything and leaves the folder with its logs.
func (i *Installation) Halt(ctx context.Context) error {
	release, err := i.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	return i.killAll(ctx)
}

func (i *Installation) killAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	if err := process.KillAll(ctx, i.Dir); err != nil {
		return fmt.Errorf("ending everything: %w", err)
	}
	return nil
}

func (i *Installation) lock(ctx context.Context) (release func(), err error) {
	return filelock.Acquire(ctx, filepath.Join(i.Dir, lockName), func() {
		i.printer.Println("  … another command works on the same installation; waiting for it")
	})
}

// Cluster returns one of the installation's clusters, once it has been made.
func (i *Installation) Cluster(name string) (*controlplane.Cluster, error) {
	if !slices.ContainsFunc(Members(), func(m Member) bool { return m.Name == name }) {
		return nil, fmt.Errorf("there is no cluster %q; there are %s", name, strings.Join(memberNames(), ", "))
	}
	return controlplane.Open(i.ClusterDir(name))
}

// startCluster makes or continues a cluster and prepares it.
func (i *Installation) startCluster(ctx context.Context, member Member) error {
	cluster, err := i.Cluster(member.Name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		cluster, err = controlplane.Start(ctx, controlplane.Options{
			Name: member.Name, Dir: i.ClusterDir(member.Name), LogDir: i.LogDir(), LogPrefix: member.Name + "-",
			Detached: i.options.Detached, Binaries: i.binaries,
		})
	case err == nil:
		err = cluster.Start(ctx)
	}
	if err != nil {
		return err
	}
	if member.Name == HubName {
		return PrepareHub(ctx, i.root, cluster)
	}
	return nil
}
