package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	device = "eth0"
	// deviceTimeout is how long whoever started us may take to plug the node in.
	deviceTimeout = 30 * time.Second
	poll          = 10 * time.Millisecond
	// shortestLife is the time between two starts of a program, at least: one that cannot run must not keep the machine busy.
	shortestLife = time.Second
)

// Run sets the node up and keeps its programs running. It returns only with an error.
func Run(config Config) error {
	if os.Getpid() != 1 {
		return errors.New("this is the first process of a node, in namespaces of its own; dev/node starts it")
	}
	if err := syscall.Sethostname([]byte(config.Hostname)); err != nil {
		return fmt.Errorf("naming the node: %w", err)
	}
	if err := mounts(config); err != nil {
		return err
	}
	if err := network(config); err != nil {
		return err
	}
	return supervise(config)
}

// mounts gives the node its own view of the machine's files. It comes and goes with the node.
func mounts(config Config) error {
	if err := mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", 0); err != nil {
		return err
	}
	// In a machine with both versions of cgroups, runtimes take the presence of the second for a choice.
	err := syscall.Unmount("/sys/fs/cgroup/unified", 0)
	if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("hiding cgroup2: %w", err)
	}
	for _, target := range slices.Sorted(maps.Keys(config.Binds)) {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", target, err)
		}
		if err := mount(config.Binds[target], target, "", syscall.MS_BIND); err != nil {
			return err
		}
	}
	for name, value := range config.Kernel {
		file := filepath.Join(config.KernelDir, filepath.Base(name))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("writing a setting: %w", err)
		}
		if err := mount(file, filepath.Join("/proc/sys", name), "", syscall.MS_BIND); err != nil {
			return err
		}
	}
	// The kubelet wants that what it mounts is seen in pods that ask for it.
	return mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED)
}

func mount(source, target, kind string, flags uintptr) error {
	if err := syscall.Mount(source, target, kind, flags, ""); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", source, target, err)
	}
	return nil
}

// network waits for the interface that comes from outside and sets it up.
func network(config Config) error {
	deadline := time.Now().Add(deviceTimeout)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		if _, err := net.InterfaceByName(device); err == nil {
			break
		} else if time.Now().After(deadline) {
			return fmt.Errorf("waiting for %s: %w", device, err)
		}
		<-ticker.C
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", config.Address, "dev", device},
		{"link", "set", device, "up"},
		{"route", "add", "default", "via", config.Gateway},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return fmt.Errorf("letting pods through: %w", err)
	}
	return nil
}

// supervise keeps the programs running, and collects the processes that have lost their parents.
func supervise(config Config) error {
	children, due := make(chan os.Signal, 1), make(chan Program)
	signal.Notify(children, syscall.SIGCHLD)
	running := map[int]life{}
	run := func(program Program) error {
		pid, err := start(config, program)
		running[pid] = life{program, time.Now()}
		return err
	}
	for _, program := range config.Programs {
		if err := run(program); err != nil {
			return err
		}
	}
	for {
		select {
		case program := <-due:
			if err := run(program); err != nil {
				return err
			}
		case <-children: // One signal may stand for many.
			ended, err := collect(running)
			if err != nil {
				return err
			}
			for _, one := range ended {
				time.AfterFunc(time.Until(one.again()), func() { due <- one.program })
			}
		}
	}
}

// life is one run of a program.
type life struct {
	program Program
	began   time.Time
}

// again is when a program that has ended is started anew: at once, unless it is one that cannot run.
func (l life) again() time.Time { return l.began.Add(shortestLife) }

// collect takes what the processes that have ended leave behind, and returns those of ours out of running.
func collect(running map[int]life) (ended []life, err error) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.ECHILD) || err == nil && pid == 0:
			return ended, nil
		case err != nil:
			return ended, fmt.Errorf("waiting for programs: %w", err)
		}
		if one, ours := running[pid]; ours {
			delete(running, pid)
			ended = append(ended, one)
			fmt.Printf("%s has ended: exit code %d, signal %d\n", one.program.Name, status.ExitStatus(), status.Signal())
		}
	}
}

func start(config Config, program Program) (int, error) {
	path := filepath.Join(config.LogDir, program.Name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, fs.FileMode(0o644))
	if err != nil {
		return 0, fmt.Errorf("opening the log of %s: %w", program.Name, err)
	}
	defer func() { _ = log.Close() }()
	process, err := os.StartProcess(program.Path, append([]string{program.Path}, program.Args...), &os.ProcAttr{
		Env:   append(os.Environ(), "PATH="+config.Path),
		Files: []*os.File{nil, log, log},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", program.Name, err)
	}
	pid := process.Pid
	return pid, process.Release()
}
