// Package controlplane runs real Kubernetes control planes on this machine, for development and tests.
//
// A cluster is a folder: its authority and keys, its kubeconfig, etcd's data, its logs and a state file. In it
// run up to five components, each an ordinary process: etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler, and kwok, which plays one node with its pods, so that Deployments become available and
// Jobs complete though no container runs. Every component can be stopped, killed and started by itself and
// keeps its address. What one process started, another can take over with Open.
//
// Everything listens on the loopback interface only, but for the API server of a cluster with a real node (see Node),
// which has an address that the node reaches. etcd does not wait for the disk: this is no place for data.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/dev/process"
)

const (
	// readyTimeout is how long a component may take until it is of use; on an idle machine it is 2 s.
	readyTimeout = 90 * time.Second
	// killTimeout is how long the kernel may take to end a killed process.
	killTimeout = 20 * time.Second
)

// Options says what cluster to start. Dir and Name are required.
type Options struct {
	// Name shows in the kubeconfig and the certificates.
	Name string
	// Dir is the cluster's folder. It is made, and must not hold a cluster yet.
	Dir string
	// LogDir takes one file per component, named after it; empty means the folder logs in Dir.
	LogDir string
	// LogPrefix begins the names of the log files, where several clusters share a LogDir.
	LogPrefix string
	// Node is the real node of the cluster; nil means that kwok plays one.
	Node *Node
	// Components to run; empty means all of them. Etcd and APIServer always run. Without ControllerManager
	// nothing is collected: no namespace is ever gone, no Deployment makes pods.
	Components []Component
	// APIServerArgs are added to the API server's flags and win over ours.
	APIServerArgs []string
	// Detached clusters outlive the process that starts them. Any other dies with it (Linux only).
	Detached bool
	// Binaries to use; nil means those of binaries.Ensure.
	Binaries *binaries.Set
	// Progress shows the build of the binaries if they have to be built; nil shows nothing.
	Progress io.Writer
}

// Cluster is a control plane with a folder. Its methods may be used from several goroutines as long as each
// component is started and stopped by one at a time.
type Cluster struct {
	dir   string
	state state
	// reserved are the ports that no component has taken yet; of a cluster that was opened there are none.
	reserved ports.Reservation
}

// Start makes a cluster and runs it. It returns when every component is ready: about three seconds once the
// binaries are built. If it fails, nothing of the cluster runs; its folder and logs stay.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	cluster, err := create(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("making cluster %s: %w", options.Name, err)
	}
	if err := cluster.Start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting cluster %s: %w", options.Name, err), cluster.stop(context.WithoutCancel(ctx)))
	}
	return cluster, nil
}

// Open returns the cluster in a folder, whoever made it and whether it runs or not.
func Open(dir string) (*Cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding cluster: %w", err)
	}
	cluster := &Cluster{dir: dir}
	if err := cluster.state.load(cluster.statePath()); err != nil {
		return nil, fmt.Errorf("reading cluster: %w", err)
	}
	return cluster, nil
}

// Start runs what does not run of the cluster's components and returns when all are ready.
func (c *Cluster) Start(ctx context.Context) error {
	// The API server waits for etcd by itself; the others give up when there is no API server.
	if err := c.startTogether(ctx, Etcd, APIServer); err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(c.state.Components), func(component Component) bool {
		return component == Etcd || component == APIServer
	})
	return c.startTogether(ctx, rest...)
}

func (c *Cluster) startTogether(ctx context.Context, components ...Component) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, component := range components {
		group.Go(func() error { return c.StartComponent(ctx, component) })
	}
	return group.Wait()
}

// Stop ends all components at once. The data stays in the folder: Start brings the cluster back.
func (c *Cluster) Stop() error { return c.stop(context.Background()) }

func (c *Cluster) stop(ctx context.Context) error {
	c.reserved.Release(portsOf(c.state.Components...)...)
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	if err := process.KillAll(ctx, c.runDir()); err != nil {
		return fmt.Errorf("stopping cluster %s: %w", c.state.Name, err)
	}
	return nil
}

// StartComponent runs one component and returns when it is ready. One that runs already is only waited for.
func (c *Cluster) StartComponent(ctx context.Context, component Component) error {
	if err := c.check(component); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	running, err := process.Find(c.runDir(), string(component))
	if errors.Is(err, process.ErrNotRunning) {
		if err := c.takePorts(ctx, component); err != nil {
			return fmt.Errorf("starting %s: %w", component, err)
		}
		running, err = process.Start(c.spec(component))
	}
	if err != nil {
		return err
	}
	if err := c.waitReady(ctx, component, running); err != nil {
		tail, _ := process.LogTail(c.LogFile(component), 15)
		return fmt.Errorf("waiting for %s to be ready: %w\nThe end of %s:\n%s", component, err, c.LogFile(component), tail)
	}
	if component == Kwok {
		return c.ensureNode(ctx)
	}
	return nil
}

// StopComponent asks one component to end and returns when it is gone. The API server finishes what it is
// doing first.
func (c *Cluster) StopComponent(ctx context.Context, component Component) error {
	return c.end(component, func(p *process.Process) error { return p.Stop(ctx, grace(component)) })
}

// KillComponent ends one component in the middle of whatever it is doing and returns when it is gone.
func (c *Cluster) KillComponent(ctx context.Context, component Component) error {
	return c.end(component, func(p *process.Process) error { return p.Kill(ctx) })
}

func (c *Cluster) end(component Component, end func(*process.Process) error) error {
	if err := c.check(component); err != nil {
		return err
	}
	running, err := process.Find(c.runDir(), string(component))
	if errors.Is(err, process.ErrNotRunning) {
		return nil
	}
	if err == nil {
		err = end(running)
	}
	if err != nil {
		return fmt.Errorf("ending %s of cluster %s: %w", component, c.state.Name, err)
	}
	return nil
}

// Running tells whether a component's process is there, ready or not.
func (c *Cluster) Running(component Component) bool { return c.PID(component) != 0 }

// PID is the process id of a component, 0 if it does not run.
func (c *Cluster) PID(component Component) int {
	running, err := process.Find(c.runDir(), string(component))
	if err != nil {
		return 0
	}
	return running.PID()
}

func (c *Cluster) check(component Component) error {
	if !slices.Contains(c.state.Components, component) {
		return fmt.Errorf("cluster %s has no component %q; it has %v", c.state.Name, component, c.state.Components)
	}
	return nil
}

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.state.Name }

// Components lists what the cluster is made of, in the order of their start.
func (c *Cluster) Components() []Component { return slices.Clone(c.state.Components) }

// Kubeconfig is the path of a self-contained kubeconfig with all rights.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// LogFile is the path of a component's log.
func (c *Cluster) LogFile(component Component) string {
	return filepath.Join(c.state.LogDir, c.state.LogPrefix+string(component)+".log")
}

// URL is the address of the API server. It stays the same for the life of the folder.
func (c *Cluster) URL() string {
	return "https://" + c.address(APIServer)
}

// CA is the certificate, in PEM, that the API server's is signed with.
func (c *Cluster) CA() ([]byte, error) { return os.ReadFile(c.pki("ca.crt")) }

// RESTConfig returns a new client configuration with all rights and without a client-side throttle.
func (c *Cluster) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig of cluster %s: %w", c.state.Name, err)
	}
	config.QPS = -1
	return config, nil
}

func (c *Cluster) statePath() string { return filepath.Join(c.dir, "state.json") }
func (c *Cluster) runDir() string    { return filepath.Join(c.dir, "run") }
func (c *Cluster) pki(name string) string {
	return filepath.Join(c.dir, "pki", name)
}

// EtcdURL is where etcd listens, with the whole of its API and no credentials.
func (c *Cluster) EtcdURL() string { return c.etcdURL() }

// EtcdDir is the folder with etcd's data, complete while etcd does not run.
func (c *Cluster) EtcdDir() string { return filepath.Join(c.dir, "etcd") }
