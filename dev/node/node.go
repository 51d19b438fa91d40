// Package node runs real one-node Kubernetes clusters on this machine, for end-to-end tests: a control plane (see
// controlplane), and beside it a kubelet, containerd and kube-proxy, so that pods are real. Linux only, as root; see
// Missing.
//
// The node is one process in namespaces of its own, and whatever it starts: when that process ends, or the one that
// started it, the kernel takes everything away: pods, mounts, and the node's side of the network. What then is left (a
// bridge, control groups and the folder) is found by name and removed by Remove, also for a run that was killed.
//
// Each cluster has a network of its own, 198.18.NUMBER.0/30, between the node and the machine. The machine forwards
// nothing: a pod reaches the machine's addresses, and with them the API servers of all clusters, until Cut.
package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/flotilla-gitops/flotilla/dev/controlplane"
	"github.com/flotilla-gitops/flotilla/dev/node/boot"
	"github.com/flotilla-gitops/flotilla/dev/process"
)

const (
	readyTimeout = 5 * time.Minute
	poll         = 50 * time.Millisecond
	// initName is the node's own process in the run folder.
	initName = "node"
)

// Options of Start. All are required.
type Options struct {
	// Name of the cluster and its node, up to six small letters: the kernel's names of interfaces are short.
	Name string
	// Number tells the networks of clusters apart, 1 to 250.
	Number int
	// Dir is the cluster's folder. It is made, and must not hold a cluster yet.
	Dir string
	// Programs is what Prepare returned.
	Programs Programs
}

// Cluster is a cluster with one real node.
type Cluster struct {
	*controlplane.Cluster

	options Options
}

// Start makes a cluster and returns when its node is ready. If it fails, what there is stays, for somebody to look at,
// until Remove.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	c := &Cluster{options: options}
	if err := c.makeNetwork(ctx); err != nil {
		return nil, err
	}
	if err := c.makeGroups(); err != nil {
		return nil, err
	}
	plane, err := controlplane.Start(ctx, controlplane.Options{
		Name: options.Name, Dir: options.Dir, Binaries: &options.Programs.ControlPlane,
		Node: &controlplane.Node{Name: options.Name, Address: c.Address(), Host: c.Host()},
	})
	if err != nil {
		return nil, err
	}
	c.Cluster = plane
	if err := c.writeConfig(); err != nil {
		return nil, err
	}
	return c, c.PowerOn(ctx)
}

// Address is the node's, Host the machine's in the network of the two.
func (c *Cluster) Address() string { return fmt.Sprintf("198.18.%d.2", c.options.Number) }

// Host is the address under which the node and its pods reach this machine.
func (c *Cluster) Host() string { return fmt.Sprintf("198.18.%d.1", c.options.Number) }

func (c *Cluster) network() string    { return fmt.Sprintf("198.18.%d.0/30", c.options.Number) }
func (c *Cluster) podNetwork() string { return fmt.Sprintf("10.244.%d.0/24", c.options.Number) }
func (c *Cluster) runDir() string     { return filepath.Join(c.options.Dir, "run") }

func (c *Cluster) dir(elements ...string) string {
	return filepath.Join(append([]string{c.options.Dir, "node"}, elements...)...)
}

// LogDir has the logs of the node's programs; those of the control plane are beside it.
func (c *Cluster) LogDir() string { return c.dir("logs") }

// PowerOn starts the node and returns when it says itself that it is ready.
func (c *Cluster) PowerOn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	since := time.Now()
	running, err := process.Start(process.Spec{
		Name: initName, RunDir: c.runDir(), LogFile: filepath.Join(c.LogDir(), "node.log"), Tied: true, Isolated: true,
		Path: c.options.Programs.Init, Args: []string{c.dir("node.json")},
	})
	if err != nil {
		return err
	}
	if err := c.plug(ctx, running.PID()); err != nil {
		return err
	}
	if err := c.awaitReady(ctx, since, running); err != nil {
		tail, _ := process.LogTail(filepath.Join(c.LogDir(), "kubelet.log"), 15)
		return fmt.Errorf("waiting for node %s: %w\nlogs are in %s; the end of the kubelet's:\n%s", c.options.Name, err, c.LogDir(), tail)
	}
	return nil
}

// PowerOff ends the node, and every pod on it, as if its cable had been pulled. The control plane goes on.
func (c *Cluster) PowerOff(ctx context.Context) error {
	running, err := process.Find(c.runDir(), initName)
	if errors.Is(err, process.ErrNotRunning) {
		return nil
	}
	if err == nil {
		err = running.Kill(ctx)
	}
	if err != nil {
		return fmt.Errorf("powering node %s off: %w", c.options.Name, err)
	}
	return c.unplug(ctx)
}

// awaitReady returns when the kubelet that was started then has reported the node ready.
func (c *Cluster) awaitReady(ctx context.Context, since time.Time, running *process.Process) error {
	config, err := c.RESTConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		node, err := client.CoreV1().Nodes().Get(ctx, c.options.Name, metav1.GetOptions{})
		if err == nil && readySince(node, since) {
			return nil
		}
		if !running.Alive() {
			return errors.New("its first process has ended")
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// readySince tells whether the node is ready, and was heard of since then: what the API server has kept of the time before says
// nothing. Its clock counts seconds.
func readySince(node *corev1.Node, since time.Time) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue && !condition.LastHeartbeatTime.Time.Before(since.Truncate(time.Second))
		}
	}
	return false
}

// Command prepares a command that runs within the running node: its processes, files and network.
func (c *Cluster) Command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	running, err := process.Find(c.runDir(), initName)
	if err != nil {
		return nil, fmt.Errorf("entering node %s: %w", c.options.Name, err)
	}
	enter := []string{
		"--target", strconv.Itoa(running.PID()), "--mount", "--net", "--pid", "--uts", "--ipc", "--", program,
	}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...), nil
}

// Load gives the node the images of archives, which stay over restarts.
func (c *Cluster) Load(ctx context.Context, archives ...string) error {
	for _, archive := range archives {
		if err := c.ctr(ctx, "images", "import", archive); err != nil {
			return fmt.Errorf("loading %s into node %s: %w", filepath.Base(archive), c.options.Name, err)
		}
	}
	return nil
}

// Remove ends a cluster and takes away everything of it, whoever started it and however that ended. What is not there is fine.
func Remove(ctx context.Context, options Options) error {
	c := &Cluster{options: options}
	if err := process.KillAll(ctx, c.runDir()); err != nil {
		return fmt.Errorf("ending cluster %s: %w", options.Name, err)
	}
	if err := errors.Join(c.removeNetwork(ctx), c.removeGroups(ctx)); err != nil {
		return fmt.Errorf("removing cluster %s: %w", options.Name, err)
	}
	if err := os.RemoveAll(options.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing cluster %s: %w", options.Name, err)
	}
	return nil
}

// Halt ends a cluster and leaves its folder with the logs.
func Halt(ctx context.Context, options Options) error {
	c := &Cluster{options: options}
	if err := process.KillAll(ctx, c.runDir()); err != nil {
		return fmt.Errorf("ending cluster %s: %w", options.Name, err)
	}
	return errors.Join(c.removeNetwork(ctx), c.removeGroups(ctx))
}

func (c *Cluster) bootConfig() boot.Config {
	programs := c.options.Programs
	return boot.Config{
		Hostname: c.options.Name, Address: c.Address() + "/30", Gateway: c.Host(),
		Binds: map[string]string{
			"/var/lib/kubelet": c.dir("kubelet"), "/var/lib/containerd": c.dir("containerd"), "/var/lib/cni": c.dir("cni"),
			"/run/containerd": c.dir("run-containerd"), "/run/netns": c.dir("run-netns"), "/etc/cni/net.d": c.dir("cni-config"),
			"/var/log/pods": c.dir("pods"), "/var/log/containers": c.dir("containers"),
		},
		// What the kubelet would set for the whole machine.
		Kernel: map[string]string{
			"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		},
		KernelDir: c.dir("kernel"),
		// containerd finds its shim beside itself.
		Path:   filepath.Dir(programs.Node.Containerd) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		LogDir: c.LogDir(),
		Programs: []boot.Program{
			{Name: "containerd", Path: programs.Node.Containerd, Args: []string{"--config", c.dir("containerd.toml")}},
			{Name: "kubelet", Path: programs.Node.Kubelet, Args: []string{
				"--config", c.dir("kubelet.yaml"), "--kubeconfig", c.KeyFile("kubelet.kubeconfig"),
				"--hostname-override", c.options.Name, "--node-ip", c.Address(),
			}},
			{Name: "kube-proxy", Path: programs.Node.KubeProxy, Args: []string{
				"--config", c.dir("kube-proxy.yaml"), "--hostname-override", c.options.Name,
			}},
		},
	}
}

// KillContainer ends the first process of a container with SIGKILL.
func (c *Cluster) KillContainer(ctx context.Context, id string) error {
	return c.ctr(ctx, "tasks", "kill", "--signal", "SIGKILL", id)
}

// ctr talks to the node's containerd.
func (c *Cluster) ctr(ctx context.Context, args ...string) error {
	cmd, err := c.Command(ctx, c.options.Programs.Node.Ctr, append([]string{"--namespace", "k8s.io"}, args...)...)
	if err != nil {
		return err
	}
	return run(cmd)
}
