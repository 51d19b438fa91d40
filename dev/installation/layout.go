package installation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// HubName is the cluster that the manager runs for.
const HubName = "hub"

const (
	lockName = "lock"
	gitName  = "git"
)

// Member is a cluster of the installation.
type Member struct {
	// Name is that of the control plane.
	Name string
	// Workspace and Cluster say which Cluster object on the hub stands for it, Labels how that is labelled.
	Workspace, Cluster string
	Labels             map[string]string
}

// Members lists the clusters, the hub first.
func Members() []Member {
	return []Member{
		{HubName, names.WorkspaceLocal, names.ClusterLocal, map[string]string{"name": names.ClusterLocal}},
		{"downstream-1", names.WorkspaceDefault, "downstream-1", map[string]string{"env": "dev"}},
		{"downstream-2", names.WorkspaceDefault, "downstream-2", map[string]string{"env": "prod"}},
	}
}

func memberNames() []string {
	var result []string
	for _, member := range Members() {
		result = append(result, member.Name)
	}
	return result
}

// Layout says where in an installation's folder everything is.
type Layout struct {
	// Dir is the folder itself.
	Dir string
}

// ClusterDir is the folder of a cluster.
func (l Layout) ClusterDir(name string) string { return filepath.Join(l.Dir, "clusters", name) }

// Kubeconfig is the path of a cluster's kubeconfig, with all rights.
func (l Layout) Kubeconfig(name string) string {
	return filepath.Join(l.ClusterDir(name), "kubeconfig")
}

// LogDir holds all logs.
func (l Layout) LogDir() string { return filepath.Join(l.Dir, "logs") }

// GitDir holds the bare repositories that the git server serves.
func (l Layout) GitDir() string { return filepath.Join(l.Dir, gitName) }

// GitURLFile holds the address of the git server, in one line.
func (l Layout) GitURLFile() string { return filepath.Join(l.GitDir(), "url") }

// WebhooksURLFile holds the address at which the manager receives webhooks, in one line.
func (l Layout) WebhooksURLFile() string { return filepath.Join(l.Dir, "webhooks-url") }

func (l Layout) binDir() string    { return filepath.Join(l.Dir, "bin") }
func (l Layout) runDir() string    { return filepath.Join(l.Dir, "run") }
func (l Layout) dataDir() string   { return filepath.Join(l.Dir, "data") }
func (l Layout) portsFile() string { return filepath.Join(l.Dir, "ports.json") }

// portNames names what listens on a port of its own, besides the clusters.
func portNames() []string {
	result := []string{managerPart, webhooksPort, gitPart}
	for _, member := range Members() {
		result = append(result, agentPart(member.Name))
	}
	return result
}

// choosePorts gives every part a port that it keeps for the life of the folder.
func (i *Installation) choosePorts() error {
	if err := i.loadPorts(); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	reserved, err := ports.Reserve(portNames()...)
	if err != nil {
		return err
	}
	i.reserved, i.ports = reserved, reserved.Ports()
	data, err := json.Marshal(i.ports)
	if err != nil {
		return fmt.Errorf("writing ports: %w", err)
	}
	return os.WriteFile(i.portsFile(), data, 0o644)
}

func (i *Installation) loadPorts() error {
	data, err := os.ReadFile(i.portsFile())
	if err != nil {
		return fmt.Errorf("reading ports: %w", err)
	}
	if err := json.Unmarshal(data, &i.ports); err != nil {
		return fmt.Errorf("reading %s: %w", i.portsFile(), err)
	}
	if slices.ContainsFunc(portNames(), func(name string) bool { return i.ports[name] == 0 }) {
		return fmt.Errorf("reading %s: a port is missing", i.portsFile())
	}
	return nil
}
