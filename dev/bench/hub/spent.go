package hub

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/controlplane"
)

// The processes of a hub, and the bench.
const (
	Manager           = "manager"
	APIServer         = "API server"
	Etcd              = "etcd"
	ControllerManager = "controller manager"
	Bench             = "bench"
)

// Spent is the processor time that processes have used, by their names.
type Spent map[string]time.Duration

// Processes lists them in the order in which they are shown.
func Processes() []string { return []string{Manager, APIServer, Etcd, ControllerManager, Bench} }

// Minus returns what was used since other.
func (s Spent) Minus(other Spent) Spent {
	since := Spent{}
	for name, spent := range s {
		since[name] = spent - other[name]
	}
	return since
}

// Spent returns what every process that runs has used since its start.
func (h *Hub) Spent() (Spent, error) {
	pids := map[string]int{
		APIServer: h.control.PID(controlplane.APIServer), Etcd: h.control.PID(controlplane.Etcd),
		ControllerManager: h.control.PID(controlplane.ControllerManager), Bench: os.Getpid(),
	}
	pid, err := h.manager.PID()
	if err != nil {
		return nil, err
	}
	if pid != 0 {
		pids[Manager] = pid
	}
	spent := Spent{}
	for name, pid := range pids {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err == nil {
			spent[name], err = parseSpent(string(stat))
		}
		if err != nil {
			return nil, fmt.Errorf("reading the processor time of %s: %w", name, err)
		}
	}
	return spent, nil
}

// parseSpent reads /proc/PID/stat: fields 14 and 15 are the time spent in the program and in the kernel, in hundredths of a second.
func parseSpent(stat string) (time.Duration, error) {
	// The second field is the program's name in brackets, which may hold anything.
	_, rest, ok := cutLast(stat, ")")
	fields := strings.Fields(rest)
	const user, system = 14 - 3, 15 - 3
	if !ok || len(fields) <= system {
		return 0, fmt.Errorf("%.100q is not what was expected", stat)
	}
	var ticks int64
	for _, field := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

func cutLast(s, separator string) (before, after string, ok bool) {
	at := strings.LastIndex(s, separator)
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+len(separator):], true
}
