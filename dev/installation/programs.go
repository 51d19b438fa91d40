package installation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/filelock"
	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/dev/process"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// The parts that are programs of ours; each agent is one, too.
const (
	managerPart = "manager"
	gitPart     = "git"
	// webhooksPort is a second port of the manager.
	webhooksPort = "webhooks"
	agentPrefix  = "agent/"
)

// What a program answers once it runs, and once it is of use.
const (
	healthz = "healthz"
	readyz  = "readyz"
)

const (
	// startTimeout is how long a program may take until it answers.
	startTimeout = time.Minute
	// stopGrace is how long a program that is asked to stop may take.
	stopGrace = 20 * time.Second
)

func agentPart(cluster string) string { return agentPrefix + cluster }

// fileName is a part's name as a file's.
func fileName(part string) string { return strings.ReplaceAll(part, "/", "-") }

// LogFile is the path of a program's log.
func (l Layout) LogFile(part string) string {
	return filepath.Join(l.LogDir(), fileName(part)+".log")
}

// Build puts our programs, manager, agent and git-server, of the source tree at root into a folder. They are linked in the
// user's cache, where a program that is up to date already stays as it is: linking them anew would take longer than starting
// a cluster.
func Build(ctx context.Context, root, dir string) error {
	cache, err := binaries.CacheDir("")
	if err != nil {
		return err
	}
	release, err := filelock.Acquire(ctx, filepath.Join(cache, "programs.lock"), nil)
	if err != nil {
		return fmt.Errorf("waiting for another build: %w", err)
	}
	defer release()
	built := filepath.Join(cache, "programs")
	for _, folder := range []string{built, dir} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("making folder: %w", err)
		}
	}
	// Compiled the way `go run` and `go test` do, all share Go's cache.
	args := []string{"build", "-ldflags", "-s -w", "-o", built + string(filepath.Separator)}
	for _, pkg := range programs() {
		args = append(args, "./"+pkg)
	}
	cmd := exec.Command("go", args...)
	var output bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, &output, &output
	if err := process.Run(ctx, cmd); err != nil {
		return fmt.Errorf("compiling: %w\n%s", err, &output)
	}
	for _, pkg := range programs() {
		name := path.Base(pkg)
		if err := install(filepath.Join(built, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("installing %s: %w", name, err)
		}
	}
	return nil
}

// programs lists the packages of our programs, from the root of the source tree.
func programs() []string { return []string{"cmd/manager", "cmd/agent", "dev/gitserver/git-server"} }

// install makes target the same program as source. A later build replaces source and leaves target alone.
func install(source, target string) error {
	// A program that runs cannot be overwritten, but replaced.
	fresh := target + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(source, fresh); err != nil {
		// The two may be on different file systems.
		if err := copyProgram(source, fresh); err != nil {
			return err
		}
	}
	return os.Rename(fresh, target)
}

func copyProgram(source, target string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// spec is how a program is run.
func (i *Installation) spec(part string) process.Spec {
	spec := process.Spec{
		Name: fileName(part), RunDir: i.runDir(), LogFile: i.LogFile(part), Tied: !i.options.Detached,
	}
	address := fmt.Sprintf("127.0.0.1:%d", i.ports[part])
	switch part {
	case managerPart:
		spec.Path = filepath.Join(i.binDir(), "manager")
		spec.Args = []string{
			"--kubeconfig", i.Kubeconfig(HubName), "--data-dir", filepath.Join(i.dataDir(), "manager"),
			// There is one manager, and one that was killed must not keep the next one waiting.
			"--leader-elect=false",
			"--metrics-address", address, "--webhook-address", fmt.Sprintf("127.0.0.1:%d", i.ports[webhooksPort]),
		}
	case gitPart:
		spec.Path = filepath.Join(i.binDir(), "git-server")
		spec.Args = []string{"--dir", i.GitDir(), "--address", address}
	default:
		spec.Path = filepath.Join(i.binDir(), "agent")
		spec.Args = []string{
			"--kubeconfig", i.Kubeconfig(strings.TrimPrefix(part, agentPrefix)), "--namespace", names.NamespaceSystem,
			"--metrics-address", address,
		}
	}
	return spec
}

// startProgram runs a program, unless it runs already, and returns when it answers yes to healthz or readyz.
func (i *Installation) startProgram(ctx context.Context, part, question string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	spec := i.spec(part)
	running, err := process.Find(spec.RunDir, spec.Name)
	if errors.Is(err, process.ErrNotRunning) {
		i.reserved.Release(part)
		if part == managerPart {
			i.reserved.Release(webhooksPort)
		}
		if err := ports.AwaitFree(ctx, i.ports[part]); err != nil {
			return fmt.Errorf("starting %s: %w", part, err)
		}
		running, err = process.Start(spec)
	}
	if err != nil {
		return err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	if err := running.AwaitReady(ctx, process.HTTPProbe(client, fmt.Sprintf("http://127.0.0.1:%d/%s", i.ports[part], question))); err != nil {
		tail, _ := process.LogTail(spec.LogFile, 15)
		return fmt.Errorf("waiting for %s: %w\nThe end of %s:\n%s", part, err, spec.LogFile, tail)
	}
	return nil
}
