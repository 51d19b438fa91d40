package installation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/dev/process"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// The parts that are programs of ours; each agent is one, too.
const (
	managerPart = "manager"
	gitPart     = "git"
	agentPrefix = "agent/"
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

// build compiles our programs, the way `go run` and `go test` do, so that they all share Go's cache.
func (i *Installation) build(ctx context.Context) error {
	if err := os.MkdirAll(i.binDir(), 0o755); err != nil {
		return fmt.Errorf("making folder: %w", err)
	}
	// A program that runs cannot be overwritten, but replaced.
	fresh, err := os.MkdirTemp(i.binDir(), "new-")
	if err != nil {
		return fmt.Errorf("making folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	cmd := exec.Command("go", "build", "-o", fresh+string(filepath.Separator),
		"./cmd/manager", "./cmd/agent", "./dev/gitserver/git-server")
	var output bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = i.root, &output, &output
	if err := process.Run(ctx, cmd); err != nil {
		return fmt.Errorf("compiling: %w\n%s", err, &output)
	}
	programs, err := os.ReadDir(fresh)
	if err != nil {
		return fmt.Errorf("compiling: %w", err)
	}
	for _, program := range programs {
		if err := os.Rename(filepath.Join(fresh, program.Name()), filepath.Join(i.binDir(), program.Name())); err != nil {
			return fmt.Errorf("compiling: %w", err)
		}
	}
	return nil
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
			"--metrics-address", address,
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

// startProgram runs a program, unless it runs already, and returns when it answers yes under the given path.
func (i *Installation) startProgram(ctx context.Context, part, path string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	spec := i.spec(part)
	running, err := process.Find(spec.RunDir, spec.Name)
	if errors.Is(err, process.ErrNotRunning) {
		i.reserved.Release(part)
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
	if err := running.AwaitReady(ctx, process.HTTPProbe(client, fmt.Sprintf("http://127.0.0.1:%d/%s", i.ports[part], path))); err != nil {
		tail, _ := process.LogTail(spec.LogFile, 15)
		return fmt.Errorf("waiting for %s: %w\nThe end of %s:\n%s", part, err, spec.LogFile, tail)
	}
	return nil
}
