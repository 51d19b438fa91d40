package binaries

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/flotilla-gitops/flotilla/dev/process"
	"github.com/flotilla-gitops/flotilla/dev/progress"
)

// keptLines is how much of the compiler's output an error shows.
const keptLines = 20

// build makes one program of the recipe and puts it at target in one step, so that a file that is there is whole.
// What a killed build has compiled stays in Go's own cache: the next one goes on from there.
func (r recipe) build(ctx context.Context, p program, target string, task *progress.Task) error {
	removeLeftovers(target)
	temporary := fmt.Sprintf("%s.%d", target, os.Getpid())
	defer func() { _ = os.Remove(temporary) }()
	args := append([]string{"build", "-v", "-o", temporary}, r.flags...)
	output := &buildOutput{task: task}
	cmd := r.command(append(args, p.pkg)...)
	cmd.Stderr = output
	if err := process.Run(ctx, cmd); err != nil {
		return fmt.Errorf("compiling %s: %w\n%s", p.name, err, output.tail())
	}
	if err := os.Rename(temporary, target); err != nil {
		return fmt.Errorf("storing %s: %w", p.name, err)
	}
	return nil
}

// removeLeftovers takes away what killed builds of the same file left beside it. The caller holds the lock.
func removeLeftovers(target string) {
	leftovers, err := filepath.Glob(target + ".*")
	if err != nil {
		return // They are in nobody's way.
	}
	for _, path := range leftovers {
		_ = os.Remove(path)
	}
}

// moduleDir returns where Go keeps the source of a module that the recipe builds from.
func (r recipe) moduleDir(ctx context.Context, path string) (string, error) {
	var out, complaint bytes.Buffer
	cmd := r.command("list", "-m", "-f", "{{.Dir}}", path)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := process.Run(ctx, cmd); err != nil {
		return "", fmt.Errorf("finding the source of %s: %w\n%s", path, err, &complaint)
	}
	return strings.TrimSpace(out.String()), nil
}

// command prepares the go tool to run in the build module, apart from the workspace and from C: the programs then
// depend on nothing of this machine.
func (r recipe) command(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	return cmd
}

// buildOutput turns what `go build -v` says into progress and keeps its last lines for an error.
type buildOutput struct {
	task *progress.Task

	mu         sync.Mutex
	rest       []byte
	lines      []string
	compiled   int
	downloaded int
}

func (o *buildOutput) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rest = append(o.rest, data...)
	for {
		end := bytes.IndexByte(o.rest, '\n')
		if end < 0 {
			break
		}
		o.line(string(o.rest[:end]))
		o.rest = o.rest[end+1:]
	}
	switch {
	case o.compiled > 0:
		o.task.Update(fmt.Sprintf("%d packages compiled", o.compiled))
	case o.downloaded > 0:
		o.task.Update(fmt.Sprintf("%d modules downloaded", o.downloaded))
	}
	return len(data), nil
}

func (o *buildOutput) line(line string) {
	switch {
	case strings.HasPrefix(line, "go: downloading "):
		o.downloaded++
	case !strings.HasPrefix(line, "#") && !strings.ContainsAny(line, " \t"):
		o.compiled++ // With -v, Go names each package that it compiles.
	default:
		o.lines = append(o.lines, line)
		o.lines = o.lines[max(0, len(o.lines)-keptLines):]
	}
}

func (o *buildOutput) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(append(o.lines, string(o.rest)), "\n")
}

// writeStages stores the files that tell kwok how nodes and pods behave as one file.
func (r recipe) writeStages(ctx context.Context, target string) error {
	source, err := r.moduleDir(ctx, kwokModule)
	if err != nil {
		return err
	}
	var all bytes.Buffer
	for _, kind := range []string{"node", "pod"} {
		paths, err := filepath.Glob(filepath.Join(source, "kustomize", "stage", kind, "fast", kind+"-*.yaml"))
		if err != nil {
			return fmt.Errorf("listing stages: %w", err)
		}
		if len(paths) == 0 {
			return fmt.Errorf("finding stages: %s %s has none for a %s", kwokModule, r.version, kind)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("reading stage: %w", err)
			}
			all.WriteString("---\n")
			all.Write(data)
		}
	}
	temporary := fmt.Sprintf("%s.%d", target, os.Getpid())
	if err := os.WriteFile(temporary, all.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing stages: %w", err)
	}
	return os.Rename(temporary, target)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
