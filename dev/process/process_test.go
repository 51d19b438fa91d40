package process_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/process"
)

// roleEnv makes the test binary play a program, or a process that starts one.
const roleEnv = "PROCESS_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleEnv); {
	case role == "":
		os.Exit(m.Run())
	case role == "polite":
		fmt.Println("ready")
		<-time.After(time.Hour) // Until it is ended.
	case role == "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		<-time.After(time.Hour) // Until it is ended.
	case role == "brief":
		fmt.Println("one\ntwo\nthree")
	case strings.HasPrefix(role, "parent-"):
		// The folder of the child is the last argument.
		spec := program(os.Args[len(os.Args)-1], "polite")
		spec.Tied = role == "parent-tied"
		child, err := process.Start(spec)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(child.PID())
		<-time.After(time.Hour) // Until it is ended.
	}
}

func program(dir, role string) process.Spec {
	return process.Spec{
		Name: role, RunDir: filepath.Join(dir, "run"), LogFile: filepath.Join(dir, "logs", role+".log"),
		Path: os.Args[0], Env: []string{roleEnv + "=" + role}, Tied: true,
	}
}

func start(t *testing.T, spec process.Spec) *process.Process {
	t.Helper()
	p, err := process.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill(context.Background()) })
	eventually(t, "the program says that it is ready", func() bool {
		tail, err := process.LogTail(spec.LogFile, 1)
		return err == nil && tail == "ready"
	})
	return p
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

func TestStopEndsAPoliteProgramLongBeforeItsGraceIsOver(t *testing.T) {
	spec := program(t.TempDir(), "polite")
	p := start(t, spec)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Stop(ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := process.Find(spec.RunDir, spec.Name); !errors.Is(err, process.ErrNotRunning) {
		t.Errorf("after Stop, Find returns %v", err)
	}
	if err := p.Stop(ctx, time.Hour); err != nil {
		t.Errorf("stopping what is stopped: %v", err)
	}
}

func TestStopKillsAStubbornProgram(t *testing.T) {
	p := start(t, program(t.TempDir(), "stubborn"))
	if err := p.Stop(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("the program ignores SIGTERM and still runs after Stop")
	}
}

func TestAnotherProcessFindsAndKillsTheProgram(t *testing.T) {
	dir := t.TempDir()
	parent := startParent(t, "parent-free", dir)
	spec := program(dir, "polite")

	found, err := process.Find(spec.RunDir, spec.Name)
	if err != nil {
		t.Fatal(err)
	}
	if found.PID() != parent.child {
		t.Errorf("found process %d, want %d", found.PID(), parent.child)
	}
	if _, err := process.Start(spec); err == nil {
		t.Error("the program could be started twice")
	}
	parent.kill(t)
	if !found.Alive() {
		t.Fatal("a program that is not tied died with the process that started it")
	}
	if err := found.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found.Alive() {
		t.Error("it is alive after Kill")
	}
}

func TestTiedProgramDiesWithTheProcessThatStartedIt(t *testing.T) {
	dir := t.TempDir()
	parent := startParent(t, "parent-tied", dir)
	found, err := process.Find(filepath.Join(dir, "run"), "polite")
	if err != nil {
		t.Fatal(err)
	}
	parent.kill(t)
	eventually(t, "the tied program ends", func() bool { return !found.Alive() })
}

func TestProcessIDOfSomebodyElseIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	innocent := start(t, program(filepath.Join(dir, "other"), "polite"))
	spec := program(dir, "polite")
	if err := os.MkdirAll(spec.RunDir, 0o755); err != nil {
		t.Fatal(err)
	}
	// The pid file of a program that ended without our noticing; the kernel has since reused its id.
	stale := fmt.Sprintf(`{"pid":%d,"started":"1"}`, innocent.PID())
	if err := os.WriteFile(filepath.Join(spec.RunDir, "polite.pid"), []byte(stale), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := process.Find(spec.RunDir, spec.Name); !errors.Is(err, process.ErrNotRunning) {
		t.Fatalf("Find takes another program for ours (error: %v)", err)
	}
	start(t, spec)
}

func TestKillAllFindsProgramsWithoutAPidFile(t *testing.T) {
	dir := t.TempDir()
	spec := program(dir, "polite")
	p := start(t, spec)
	other := start(t, program(filepath.Join(dir, "run-of-another"), "polite"))
	if err := os.RemoveAll(spec.RunDir); err != nil {
		t.Fatal(err)
	}
	if err := process.KillAll(t.Context(), spec.RunDir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Errorf("the program without a pid file still runs: %v", err)
	}
	if !other.Alive() {
		t.Error("a program of another folder was killed")
	}
}

func TestProgramThatEndsByItselfIsNotRunning(t *testing.T) {
	spec := program(t.TempDir(), "brief")
	p, err := process.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := process.Find(spec.RunDir, spec.Name); !errors.Is(err, process.ErrNotRunning) {
		t.Errorf("Find returns %v", err)
	}
	tail, err := process.LogTail(spec.LogFile, 2)
	if err != nil || tail != "two\nthree" {
		t.Errorf("LogTail returns %q, %v", tail, err)
	}
}

func TestProgramThatIsNotThere(t *testing.T) {
	spec := program(t.TempDir(), "polite")
	spec.Path = filepath.Join(t.TempDir(), "missing")
	if _, err := process.Start(spec); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v, want %v", err, os.ErrNotExist)
	}
	if tail, err := process.LogTail(filepath.Join(t.TempDir(), "no.log"), 3); tail != "" || err != nil {
		t.Errorf("the tail of a missing log is %q, %v", tail, err)
	}
}

// parent is another process that has started a program.
type parent struct {
	cmd   *exec.Cmd
	child int
}

func startParent(t *testing.T, role, dir string) parent {
	t.Helper()
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = process.KillAll(context.Background(), filepath.Join(dir, "run"))
	})
	answer := make([]byte, 64)
	n, err := out.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(answer[:n])))
	if err != nil {
		t.Fatalf("the other process could not start the program: %s", answer[:n])
	}
	return parent{cmd: cmd, child: child}
}

func (p parent) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
}

func TestAwaitReady(t *testing.T) {
	answers := make(chan int, 3)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(<-answers) }))
	defer server.Close()
	probe := process.HTTPProbe(server.Client(), server.URL)

	p := start(t, program(t.TempDir(), "polite"))
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusServiceUnavailable, http.StatusOK} {
		answers <- status
	}
	if err := p.AwaitReady(t.Context(), probe); err != nil {
		t.Errorf("after a yes: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	refuse := func(context.Context) error { return errors.New("still warming up") }
	if err := p.AwaitReady(ctx, refuse); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "still warming up") {
		t.Errorf("never a yes: %v", err)
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.AwaitReady(t.Context(), refuse); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("after its end: %v", err)
	}
}

func TestRun(t *testing.T) {
	command := func(script string) *exec.Cmd { return exec.Command("sh", "-c", script) }
	if err := process.Run(t.Context(), command("exit 0")); err != nil {
		t.Errorf("a command that succeeds: %v", err)
	}
	var exit *exec.ExitError
	if err := process.Run(t.Context(), command("exit 3")); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("a command that fails: %v", err)
	}
	if err := process.Run(t.Context(), exec.Command("/no/such/program")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a command that is not there: %v", err)
	}
}

func TestRunEndsWhatTheCommandStarted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The output stays open as long as any of the two shells lives.
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("sh", "-c", "sh -c 'echo $$; sleep 3600; true' & wait")
	cmd.Stdout = out
	ended := make(chan error)
	go func() { ended <- process.Run(ctx, cmd) }()
	var child int
	eventually(t, "the command starts another", func() bool {
		said, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		child, err = strconv.Atoi(strings.TrimSpace(string(said)))
		return err == nil
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	eventually(t, "what the command started ends", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}
