// Package nodes tells how Flotilla is installed, joined, disturbed and uninstalled, on two clusters with real nodes:
// real images in real pods, the commands of the documentation. It needs Linux and root, and takes minutes: `make
// e2e-nodes` runs it, `make test-long` too, and where it cannot run it says so in one line.
package nodes

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-gitops/flotilla/dev/charts"
	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/filelock"
	"github.com/flotilla-gitops/flotilla/dev/node"
	"github.com/flotilla-gitops/flotilla/dev/process"
	"github.com/flotilla-gitops/flotilla/dev/progress"
)

const (
	// upTimeout is for the first time on a machine, when everything is built.
	upTimeout   = 40 * time.Minute
	downTimeout = 2 * time.Minute
	// registry is what the documentation writes for the registry of the images. Nobody asks it: the nodes have the images.
	registry = "registry.example.com/flotilla"
)

// world is what all tests share.
var world struct {
	hub, edge *node.Cluster
	// dir is the folder that commands run in, bin what they find first.
	dir, bin string
	root     string
}

func TestMain(m *testing.M) {
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), upTimeout)
	defer cancel()
	if testing.Short() {
		fmt.Println("e2e/nodes is left out: it takes long, `make e2e-nodes` runs it")
		return
	}
	if missing := node.Missing(ctx); missing != "" {
		fmt.Println("e2e/nodes is left out:", missing)
		return
	}
	code, err := run(ctx, m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code) //nolint:gocritic // nothing is deferred that the end of the process does not do
}

// run brings everything up, and takes it away again; of a run that fails the logs stay. What a run that was killed has left is
// taken away first.
func run(ctx context.Context, m *testing.M) (int, error) {
	cache, err := binaries.CacheDir("")
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(cache, "nodes")
	printer := progress.New(os.Stdout)
	release, err := filelock.Acquire(ctx, filepath.Join(cache, "nodes.lock"), func() {
		printer.Println("  … another process has the nodes of this machine; waiting for it")
	})
	if err != nil {
		return 0, err
	}
	defer release()
	if err := remove(ctx, dir); err != nil {
		return 0, err
	}
	if err := up(ctx, printer, dir); err != nil {
		return 0, errors.Join(err, halt(dir))
	}
	if code := m.Run(); code != 0 {
		return code, halt(dir)
	}
	ctx, cancel := context.WithTimeout(context.Background(), downTimeout)
	defer cancel()
	return 0, remove(ctx, dir)
}

func clusters(dir string) []node.Options {
	return []node.Options{
		{Name: "hub", Number: 1, Dir: filepath.Join(dir, "hub")},
		{Name: "edge", Number: 2, Dir: filepath.Join(dir, "edge")},
	}
}

func remove(ctx context.Context, dir string) error {
	for _, options := range clusters(dir) {
		if err := node.Remove(ctx, options); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// halt ends everything and leaves the logs.
func halt(dir string) error {
	fmt.Fprintln(os.Stderr, "logs are in", dir)
	ctx, cancel := context.WithTimeout(context.Background(), downTimeout)
	defer cancel()
	var err error
	for _, options := range clusters(dir) {
		err = errors.Join(err, node.Halt(ctx, options))
	}
	return err
}

func up(ctx context.Context, printer *progress.Printer, dir string) error {
	var err error
	if world.root, err = binaries.SourceRoot(); err != nil {
		return err
	}
	world.dir, world.bin = filepath.Join(dir, "work"), filepath.Join(dir, "bin")
	for _, folder := range []string{world.dir, world.bin} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	programs, err := node.Prepare(ctx, world.bin, os.Stdout)
	if err != nil {
		return err
	}
	var archives []string
	options := clusters(dir)
	started := make([]*node.Cluster, len(options))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, o := range options {
		o.Programs = programs
		group.Go(func() error {
			return task(printer, "cluster "+o.Name, func() error {
				cluster, err := node.Start(groupCtx, o)
				started[i] = cluster
				return err
			})
		})
	}
	group.Go(func() error { return task(printer, "commands", func() error { return commands(groupCtx, programs) }) })
	group.Go(func() error {
		return task(printer, "images", func() (err error) {
			archives, err = images(groupCtx, filepath.Join(dir, "images"))
			return err
		})
	})
	if err := group.Wait(); err != nil {
		return err
	}
	world.hub, world.edge = started[0], started[1]
	// The nodes have the images, and ask no registry for them.
	return errors.Join(world.hub.Load(ctx, archives...), world.edge.Load(ctx, archives...))
}

func task(printer *progress.Printer, name string, do func() error) error {
	t := printer.Start(name)
	if err := do(); err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n")
		t.Fail(line)
		return fmt.Errorf("%s: %w", name, err)
	}
	t.Done("")
	return nil
}

// commands puts what people type into the folder bin: flotilla, helm and kubectl.
func commands(ctx context.Context, programs node.Programs) error {
	if err := os.Symlink(programs.Node.Kubectl, filepath.Join(world.bin, "kubectl")); err != nil {
		return err
	}
	var helm, output strings.Builder
	install := exec.Command(filepath.Join(world.root, "dev", "tools", "install"), "helm")
	install.Stdout, install.Stderr = &helm, &output
	if err := process.Run(ctx, install); err != nil {
		return fmt.Errorf("installing helm: %w\n%s", err, &output)
	}
	if err := os.Symlink(strings.TrimSpace(helm.String()), filepath.Join(world.bin, "helm")); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", filepath.Join(world.bin, "flotilla"), "./cmd/flotilla")
	build.Dir, build.Stdout, build.Stderr = world.root, &output, &output
	if err := process.Run(ctx, build); err != nil {
		return fmt.Errorf("compiling flotilla: %w\n%s", err, &output)
	}
	return os.Symlink(filepath.Join(world.root, "charts"), filepath.Join(world.dir, "charts"))
}

// images builds the images and returns their archives.
func images(ctx context.Context, folder string) ([]string, error) {
	if err := node.BuildSandboxImage(ctx, folder); err != nil {
		return nil, err
	}
	chart, err := charts.Load(charts.Manager)
	if err != nil {
		return nil, err
	}
	return node.BuildImages(ctx, node.ImageOptions{Folder: folder, Registry: registry, Tag: chart.AppVersion()})
}
