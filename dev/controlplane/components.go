package controlplane

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/process"
)

// Component names one process of a control plane.
type Component string

// The components, in the order of their start.
const (
	Etcd              Component = "etcd"
	APIServer         Component = "apiserver"
	ControllerManager Component = "controller-manager"
	Scheduler         Component = "scheduler"
	Kwok              Component = "kwok"
)

// etcdPeer is a port that etcd insists on, for peers that it does not have.
const etcdPeer = "etcd-peer"

// portsOf names the ports that components listen on.
func portsOf(components ...Component) []string {
	var names []string
	for _, component := range components {
		names = append(names, string(component))
		if component == Etcd {
			names = append(names, etcdPeer)
		}
	}
	return names
}

func allComponents() []Component {
	return []Component{Etcd, APIServer, ControllerManager, Scheduler, Kwok}
}

// selected returns the wanted components in the order of their start; none wanted means all, but kwok where a real node is.
func selected(wanted []Component, node *Node) ([]Component, error) {
	if len(wanted) == 0 && node != nil {
		return slices.DeleteFunc(allComponents(), func(component Component) bool { return component == Kwok }), nil
	}
	if len(wanted) == 0 {
		return allComponents(), nil
	}
	for _, component := range wanted {
		if !slices.Contains(allComponents(), component) {
			return nil, fmt.Errorf("unknown component %q; there are %v", component, allComponents())
		}
	}
	return slices.DeleteFunc(allComponents(), func(component Component) bool {
		return component != Etcd && component != APIServer && !slices.Contains(wanted, component)
	}), nil
}

// grace is how long a component that is asked to stop may take before it is killed.
func grace(component Component) time.Duration {
	if component == APIServer {
		return 20 * time.Second // It lets the requests that it has begun finish.
	}
	// etcd would wait seconds for its clients to hang up. What it has acknowledged is kept either way.
	return 2 * time.Second
}

// spec is how a component is run.
func (c *Cluster) spec(component Component) process.Spec {
	spec := process.Spec{
		Name: string(component), RunDir: c.runDir(), LogFile: c.LogFile(component), Tied: !c.state.Detached,
	}
	switch component {
	case Etcd:
		spec.Path, spec.Args = c.state.Binaries.Etcd, c.etcdArgs()
	case APIServer:
		spec.Path, spec.Args = c.state.Binaries.APIServer, c.apiserverArgs()
	case ControllerManager:
		spec.Path, spec.Args = c.state.Binaries.ControllerManager, c.controllerManagerArgs()
	case Scheduler:
		spec.Path, spec.Args = c.state.Binaries.Scheduler, c.schedulerArgs()
	case Kwok:
		spec.Path, spec.Args = c.state.Binaries.Kwok, c.kwokArgs()
	}
	return spec
}

func (c *Cluster) etcdURL() string {
	return fmt.Sprintf("http://127.0.0.1:%d", c.state.Ports[string(Etcd)])
}

func (c *Cluster) etcdArgs() []string {
	peer := fmt.Sprintf("http://127.0.0.1:%d", c.state.Ports[etcdPeer])
	return []string{
		"--name=" + c.state.Name,
		"--data-dir=" + c.EtcdDir(),
		"--listen-client-urls=" + c.etcdURL(), "--advertise-client-urls=" + c.etcdURL(),
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=" + c.state.Name + "=" + peer,
		// A crash of the machine may lose data; a crash of etcd does not.
		"--unsafe-no-fsync",
		"--quota-backend-bytes=" + strconv.Itoa(8<<30),
		"--log-level=warn",
	}
}

func (c *Cluster) apiserverArgs() []string {
	return slices.Concat([]string{
		"--bind-address=" + c.host(), "--advertise-address=" + c.host(), c.port(APIServer),
		"--etcd-servers=" + c.etcdURL(),
		"--service-cluster-ip-range=" + serviceRange,
		// Asked to stop, it ends open watches soon instead of waiting a minute for their clients to do so.
		"--shutdown-watch-termination-grace-period=1s",
		"--tls-cert-file=" + c.pki("server.crt"), "--tls-private-key-file=" + c.pki("server.key"),
		"--client-ca-file=" + c.pki("ca.crt"),
		"--authorization-mode=Node,RBAC",
		"--service-account-issuer=https://kubernetes.default.svc", "--api-audiences=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.pki("service-account.pub"),
		"--service-account-signing-key-file=" + c.pki("service-account.key"),
	}, c.apiserverNodeArgs(), c.state.APIServerArgs)
}

func (c *Cluster) controllerManagerArgs() []string {
	controllers := "--controllers=*,-nodeipam,-cloud-node-lifecycle"
	if c.state.Node == nil {
		controllers += ",-nodelifecycle" // kwok plays the nodes; nobody else should judge their health.
	}
	return append(c.controllerArgs(ControllerManager), controllers,
		"--use-service-account-credentials",
		"--service-account-private-key-file="+c.pki("service-account.key"),
		"--root-ca-file="+c.pki("ca.crt"),
		// The default of 20 requests per second takes minutes over a thousand namespaces.
		"--kube-api-qps=5000", "--kube-api-burst=10000", "--concurrent-namespace-syncs=50",
	)
}

func (c *Cluster) schedulerArgs() []string {
	return append(c.controllerArgs(Scheduler), "--kube-api-qps=5000", "--kube-api-burst=10000")
}

// controllerArgs are what the controller manager and the scheduler have in common.
func (c *Cluster) controllerArgs(component Component) []string {
	kubeconfig := c.pki(string(component) + ".kubeconfig")
	return []string{
		"--bind-address=127.0.0.1", c.port(component),
		"--tls-cert-file=" + c.pki("server.crt"), "--tls-private-key-file=" + c.pki("server.key"),
		"--kubeconfig=" + kubeconfig,
		"--leader-elect=false",
	}
}

func (c *Cluster) kwokArgs() []string {
	return []string{
		"--kubeconfig=" + c.pki(string(Kwok)+".kubeconfig"),
		"--config=" + c.state.Binaries.KwokStages,
		"--manage-all-nodes=true",
		// Nobody watches node leases: renewing them would be noise in measurements.
		"--node-lease-duration-seconds=0",
		fmt.Sprintf("--server-address=127.0.0.1:%d", c.state.Ports[string(Kwok)]),
	}
}

func (c *Cluster) port(component Component) string {
	return fmt.Sprintf("--secure-port=%d", c.state.Ports[string(component)])
}
