// Package playground tests what newcomers type first: the demo, and what happens when it goes wrong.
package playground

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/dev/installation"
	"github.com/flotilla-gitops/flotilla/dev/playground/demo"
)

func newInstallation(t *testing.T, progress io.Writer) *installation.Installation {
	t.Helper()
	i, err := installation.New(filepath.Join(t.TempDir(), ".dev"), installation.Options{Progress: progress})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := i.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return i
}

// TestDemo is the story itself, told on real clusters: the demo checks every step.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("e2e/stories tells it, too, on an installation that others use")
	}
	i := newInstallation(t, t.Output())
	var told bytes.Buffer
	if err := demo.Run(t.Context(), i, demo.Options{Out: io.MultiWriter(t.Output(), &told)}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n1. ", "\n6. ", "The whole story took "} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("the story lacks %q", want)
		}
	}
	if left := entries(t, i.Dir); len(left) != 1 || left[0] != "lock" {
		t.Errorf("the demo left %v in its folder", left)
	}
	if running := processes(t, i.Dir); len(running) != 0 {
		t.Errorf("the demo left processes: %v", running)
	}
}

func TestDemoThatFailsSaysWhyAndKeepsItsLogs(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	i := newInstallation(t, t.Output())
	r, err := repo.Init(t.Context(), i.Repository("shop").Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := gitserver.Configure(r.Dir(), gitserver.Behaviour{Failure: gitserver.FailError}); err != nil {
		t.Fatal(err)
	}
	var told bytes.Buffer
	err = demo.Run(t.Context(), i, demo.Options{Out: io.MultiWriter(t.Output(), &told), Deadline: 10 * time.Second})
	if err == nil {
		t.Fatal("it succeeded without its repository")
	}
	for _, want := range []string{"step 2 failed", "commit read: not met", "shop.git"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	for _, want := range []string{"GitRepo shop:", "The last lines of manager:"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("the story lacks %q", want)
		}
	}
	if running := processes(t, i.Dir); len(running) != 0 {
		t.Errorf("it left processes: %v", running)
	}
	if _, err := os.Stat(i.LogFile("manager")); err != nil {
		t.Errorf("the logs are gone: %v", err)
	}
}

// TestDownCleansUpAfterAKilledUp lets the real command die at the worst moment: parts run, others do not yet.
func TestDownCleansUpAfterAKilledUp(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	dir := t.TempDir()
	playground := filepath.Join(dir, "playground")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", playground, "../../dev/playground").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	i := newInstallation(t, nil)
	up := exec.CommandContext(t.Context(), playground, "--dir", i.Dir, "up")
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	for len(processes(t, i.Dir)) < 3 {
		if !wait(t.Context(), 5*time.Millisecond) {
			t.Fatal("up starts nothing")
		}
	}
	if err := up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = up.Wait()
	if len(processes(t, i.Dir)) == 0 {
		t.Error("what it started has died with it; it should outlive it")
	}

	if out, err := exec.CommandContext(t.Context(), playground, "--dir", i.Dir, "down").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if running := processes(t, i.Dir); len(running) != 0 {
		t.Errorf("processes are left: %v", running)
	}
	if left := entries(t, i.Dir); len(left) != 1 || left[0] != "lock" {
		t.Errorf("%v is left in the folder", left)
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range found {
		names = append(names, entry.Name())
	}
	return names
}

// processes lists the processes of this machine that were told about the folder, by what the kernel says of them.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		line, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !strings.Contains(err.Error(), "no such process") {
			t.Fatal(err)
		}
		// The command itself is told by --dir.
		if command := strings.ReplaceAll(string(line), "\x00", " "); strings.Contains(command, dir+"/") {
			found = append(found, command)
		}
	}
	return found
}
