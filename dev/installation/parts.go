package installation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/flotilla-gitops/flotilla/dev/controlplane"
	"github.com/flotilla-gitops/flotilla/dev/process"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Part is something that runs, or could.
type Part struct {
	// Name is what Start, Stop and Kill take: manager, git, agent/CLUSTER, or COMPONENT/CLUSTER with a component
	// of controlplane.
	Name string
	// PID is its process, 0 if it does not run.
	PID int
	// LogFile is the path of its log.
	LogFile string

	start, stop, kill func(context.Context) error
}

// Parts lists everything that the installation consists of.
func (i *Installation) Parts() ([]Part, error) {
	var parts []Part
	for _, member := range Members() {
		cluster, err := i.Cluster(member.Name)
		if err != nil {
			return nil, i.notMade(err)
		}
		for _, component := range cluster.Components() {
			parts = append(parts, componentPart(cluster, component))
		}
	}
	if err := i.loadPorts(); err != nil {
		return nil, i.notMade(err)
	}
	for _, name := range portNames() {
		parts = append(parts, i.programPart(name))
	}
	return parts, nil
}

// notMade says what to do about an installation that is not there.
func (i *Installation) notMade(err error) error {
	return fmt.Errorf("the installation is not complete, run `up` first: %w", err)
}

func componentPart(cluster *controlplane.Cluster, component controlplane.Component) Part {
	return Part{
		Name: string(component) + "/" + cluster.Name(), PID: cluster.PID(component), LogFile: cluster.LogFile(component),
		start: func(ctx context.Context) error { return cluster.StartComponent(ctx, component) },
		stop:  func(ctx context.Context) error { return cluster.StopComponent(ctx, component) },
		kill:  func(ctx context.Context) error { return cluster.KillComponent(ctx, component) },
	}
}

func (i *Installation) programPart(name string) Part {
	end := func(end func(*process.Process) error) error {
		running, err := process.Find(i.runDir(), fileName(name))
		if errors.Is(err, process.ErrNotRunning) {
			return nil
		}
		if err != nil {
			return err
		}
		return end(running)
	}
	part := Part{
		Name: name, LogFile: i.LogFile(name),
		// Whether it is of use yet is another question: the hub may be away on purpose.
		start: func(ctx context.Context) error { return i.startProgram(ctx, name, healthz) },
		stop: func(ctx context.Context) error {
			return end(func(p *process.Process) error { return p.Stop(ctx, stopGrace) })
		},
		kill: func(ctx context.Context) error { return end(func(p *process.Process) error { return p.Kill(ctx) }) },
	}
	if running, err := process.Find(i.runDir(), fileName(name)); err == nil {
		part.PID = running.PID()
	}
	return part
}

// Start runs a part and returns when it answers. One that runs already stays as it is.
func (i *Installation) Start(ctx context.Context, name string) error {
	return i.do(ctx, name, func(part Part) error { return part.start(ctx) })
}

// Stop asks a part to end and returns when it is gone.
func (i *Installation) Stop(ctx context.Context, name string) error {
	return i.do(ctx, name, func(part Part) error { return part.stop(ctx) })
}

// Kill ends a part in the middle of whatever it is doing and returns when it is gone.
func (i *Installation) Kill(ctx context.Context, name string) error {
	return i.do(ctx, name, func(part Part) error { return part.kill(ctx) })
}

func (i *Installation) do(ctx context.Context, name string, do func(Part) error) error {
	release, err := i.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	part, err := i.Part(name)
	if err != nil {
		return err
	}
	return do(part)
}

// Part returns the part of that name. The agent of the hub is also known by the name of the hub's Cluster.
func (i *Installation) Part(name string) (Part, error) {
	parts, err := i.Parts()
	if err != nil {
		return Part{}, err
	}
	if name == agentPart(names.ClusterLocal) {
		name = agentPart(HubName)
	}
	known := make([]string, 0, len(parts))
	for _, part := range parts {
		if part.Name == name {
			return part, nil
		}
		known = append(known, part.Name)
	}
	return Part{}, fmt.Errorf("there is no part %q; there are %s", name, strings.Join(known, ", "))
}
