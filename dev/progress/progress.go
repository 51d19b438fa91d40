// Package progress shows what is going on and how long it takes, one line per task.
//
// On a terminal the lines of running tasks are updated in place. Anywhere else, such as in a CI log, a task
// is one line when it ends, and one more every half minute while it lasts, so that nobody takes it for dead.
package progress

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	redraw    = 100 * time.Millisecond
	heartbeat = 30 * time.Second
	nameWidth = 26
)

// Printer writes the lines of any number of tasks, which may run at the same time.
type Printer struct {
	out      io.Writer
	terminal bool

	mu      sync.Mutex
	running []*Task
	// drawn is how many lines of running tasks stand at the end of the terminal.
	drawn int
	// stop ends the goroutine that refreshes the lines; it is there while tasks run.
	stop chan struct{}
}

// Task is something that takes time. It must be ended by Done or Fail.
type Task struct {
	printer *Printer
	name    string
	detail  string
	began   time.Time
	spoke   time.Time
}

// New returns a printer. Lines are updated in place if out is a terminal. A nil out shows nothing.
func New(out io.Writer) *Printer {
	if out == nil {
		out = io.Discard
	}
	return &Printer{out: out, terminal: IsTerminal(out)}
}

// IsTerminal tells whether somebody looks at what is written to out as it appears.
func IsTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && file.Name() != os.DevNull
}

// Start begins a task and its line.
func (p *Printer) Start(name string) *Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	task := &Task{printer: p, name: name, began: now, spoke: now}
	p.running = append(p.running, task)
	if p.stop == nil {
		p.stop = make(chan struct{})
		go p.refresh(p.stop)
	}
	p.draw("")
	return task
}

// Do shows a task until do returns, with the remark that do returns. An error says which task it was.
func (p *Printer) Do(name string, do func(*Task) (string, error)) error {
	task := p.Start(name)
	detail, err := do(task)
	if err != nil {
		task.Fail("")
		return fmt.Errorf("%s: %w", name, err)
	}
	task.Done(detail)
	return nil
}

// Watch shows a task for as long as something is only looked at, or until ctx ends, which is an error.
func (p *Printer) Watch(ctx context.Context, name string, lasts time.Duration) error {
	return p.Do(name, func(*Task) (string, error) {
		timer := time.NewTimer(lasts)
		defer timer.Stop()
		select {
		case <-timer.C:
			return "", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
}

// Println writes a line that belongs to no task.
func (p *Printer) Println(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw(line + "\n")
}

// Update replaces the task's remark, such as how far it is.
func (t *Task) Update(detail string) {
	t.printer.mu.Lock()
	defer t.printer.mu.Unlock()
	t.detail = detail
}

// Done ends the task well and returns how long it took.
func (t *Task) Done(detail string) time.Duration { return t.end("✓", detail) }

// Fail ends the task badly.
func (t *Task) Fail(detail string) time.Duration { return t.end("✗", detail) }

func (t *Task) end(mark, detail string) time.Duration {
	p := t.printer
	p.mu.Lock()
	defer p.mu.Unlock()
	t.detail = detail
	took := time.Since(t.began)
	for i, other := range p.running {
		if other == t {
			p.running = append(p.running[:i], p.running[i+1:]...)
			break
		}
	}
	if len(p.running) == 0 && p.stop != nil {
		close(p.stop)
		p.stop = nil
	}
	p.draw(t.line(mark, took))
	return took
}

// refresh keeps the lines of running tasks up to date until stop is closed.
func (p *Printer) refresh(stop <-chan struct{}) {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-ticker.C:
			p.mu.Lock()
			p.tick(now)
			p.mu.Unlock()
		}
	}
}

func (p *Printer) tick(now time.Time) {
	if p.terminal {
		p.draw("")
		return
	}
	for _, task := range p.running {
		if now.Sub(task.spoke) >= heartbeat {
			task.spoke = now
			p.draw(task.line("…", now.Sub(task.began)))
		}
	}
}

// draw writes finished lines, and below them, on a terminal, the running tasks anew.
func (p *Printer) draw(finished string) {
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", p.drawn)
	}
	b.WriteString(finished)
	p.drawn = 0
	if p.terminal {
		now := time.Now()
		for _, task := range p.running {
			b.WriteString(task.line("…", now.Sub(task.began)))
		}
		p.drawn = len(p.running)
	}
	// Progress that cannot be shown is no reason to fail what it is about.
	_, _ = io.WriteString(p.out, b.String())
}

func (t *Task) line(mark string, took time.Duration) string {
	line := fmt.Sprintf("  %s %-*s %8s", mark, nameWidth, t.name, Seconds(took))
	if t.detail != "" {
		line += "   " + t.detail
	}
	return line + "\n"
}

// Seconds writes a duration the way people read it: 340 ms, 3.4 s, 2 m 05 s.
func Seconds(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d m %02d s", d/time.Minute, d%time.Minute/time.Second)
	}
}
