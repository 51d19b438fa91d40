package progress

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestOutsideATerminalATaskIsOneLineWhenItEnds(t *testing.T) {
	var out bytes.Buffer
	p := New(&out)
	hub, agent := p.Start("hub"), p.Start("agent")
	hub.Update("half way")
	if out.Len() != 0 {
		t.Errorf("running tasks wrote %q", out.String())
	}
	agent.Fail(errors.New("no kubeconfig").Error())
	hub.Done("")
	p.Println("over")

	lines := strings.Split(out.String(), "\n")
	for i, want := range [][]string{{"✗ agent", "ms", "no kubeconfig"}, {"✓ hub", "ms"}, {"over"}, {}} {
		for _, part := range want {
			if !strings.Contains(lines[i], part) {
				t.Errorf("line %d is %q, want it to contain %q", i, lines[i], part)
			}
		}
	}
	if strings.Contains(out.String(), "\x1b") || strings.Contains(out.String(), "half way") {
		t.Errorf("a log shows what is for terminals only: %q", out.String())
	}
}

func TestWhatIsDoneIsATaskOfItsName(t *testing.T) {
	var out bytes.Buffer
	p := New(&out)
	if err := p.Do("git server", func(*Task) (string, error) { return "port 1", nil }); err != nil {
		t.Error(err)
	}
	broken := errors.New("no port")
	if err := p.Do("hub", func(*Task) (string, error) { return "", broken }); !errors.Is(err, broken) || err.Error() != "hub: no port" {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Watch(ctx, "idle", time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("watching after the end: %v", err)
	}
	if err := p.Watch(t.Context(), "idle", time.Nanosecond); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"✓ git server", "port 1", "✗ hub", "✗ idle", "✓ idle"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
}

func TestLongTaskShowsThatItIsAlive(t *testing.T) {
	var out bytes.Buffer
	p := New(&out)
	task := p.Start("kube-apiserver")
	defer task.Done("")
	task.Update("532 packages")
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, passed := range []int{29, 30, 31, 59, 61} {
		p.tick(task.began.Add(time.Duration(passed) * time.Second))
	}
	if got := strings.Count(out.String(), "… kube-apiserver"); got != 2 {
		t.Errorf("in 61 s it spoke %d times, want 2:\n%s", got, out.String())
	}
	if !strings.Contains(out.String(), "532 packages") {
		t.Errorf("it does not say how far it is:\n%s", out.String())
	}
}

func TestOnATerminalRunningTasksAreRedrawnBelowFinishedOnes(t *testing.T) {
	var out bytes.Buffer
	p := New(&out)
	p.terminal = true
	first, second := p.Start("first"), p.Start("second")
	p.mu.Lock()
	out.Reset()
	p.mu.Unlock()

	first.Done("")
	p.mu.Lock()
	got := out.String()
	p.mu.Unlock()
	if !strings.HasPrefix(got, "\x1b[2A\x1b[J  ✓ first") {
		t.Errorf("the two running lines were not replaced: %q", got)
	}
	if !strings.Contains(got, "\n  … second") {
		t.Errorf("the task that still runs is gone: %q", got)
	}
	second.Done("")
}

func TestSeconds(t *testing.T) {
	for _, test := range []struct {
		in   time.Duration
		want string
	}{
		{0, "0 ms"},
		{999 * time.Millisecond, "999 ms"},
		{3440 * time.Millisecond, "3.4 s"},
		{time.Minute, "1 m 00 s"},
		{125*time.Second + 400*time.Millisecond, "2 m 05 s"},
	} {
		if got := Seconds(test.in); got != test.want {
			t.Errorf("Seconds(%v) = %q, want %q", test.in, got, test.want)
		}
	}
}
