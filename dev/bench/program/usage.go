package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
)

// Usage is what a program takes.
type Usage struct {
	// Heap are the bytes of live objects, right after a garbage collection.
	Heap float64
	// Resident is the memory that the operating system has given to the process; Peak the most that it had since its start.
	Resident, Peak float64
	// CPU is the processor time used since its start, in seconds.
	CPU float64
	// Goroutines is how many there are.
	Goroutines float64
}

// Usage returns what the program takes now.
func (p *Program) Usage(ctx context.Context) (Usage, error) {
	running, err := p.find()
	if err != nil {
		return Usage{}, err
	}
	// Of the profile only its garbage collection is of interest.
	if _, err := p.ask(ctx, "/debug/pprof/heap?gc=1"); err != nil {
		return Usage{}, err
	}
	metrics, err := p.ask(ctx, "/metrics")
	if err != nil {
		return Usage{}, err
	}
	var usage Usage
	for name, into := range map[string]*float64{
		"go_memstats_heap_alloc_bytes": &usage.Heap, "process_resident_memory_bytes": &usage.Resident,
		"process_cpu_seconds_total": &usage.CPU, "go_goroutines": &usage.Goroutines,
	} {
		if *into, err = counters.Sum(metrics, name); err != nil {
			return Usage{}, err
		}
	}
	if usage.Peak, err = peak(running.PID()); err != nil {
		return Usage{}, fmt.Errorf("reading the memory of %s: %w", p.Spec.Name, err)
	}
	return usage, nil
}

// peak returns the most memory that a process had, in bytes.
func peak(pid int) (float64, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	return parsePeak(string(status))
}

// parsePeak reads the line "VmHWM:   1234 kB".
func parsePeak(status string) (float64, error) {
	for line := range strings.Lines(status) {
		value, ok := strings.CutPrefix(line, "VmHWM:")
		if !ok {
			continue
		}
		number, unit, _ := strings.Cut(strings.TrimSpace(value), " ")
		kibibytes, err := strconv.ParseFloat(number, 64)
		if err != nil || unit != "kB" {
			return 0, fmt.Errorf("not what was expected: %q", line)
		}
		return kibibytes * 1024, nil
	}
	return 0, errors.New("there is no VmHWM")
}
