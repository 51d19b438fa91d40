package binaries

import "context"

// NodeSet is where the programs of a real node are, as absolute paths.
type NodeSet struct {
	Kubelet   string
	KubeProxy string
	// Containerd finds its shim in its own folder, which must come first in PATH.
	Containerd string
	// Ctr talks to containerd.
	Ctr string
	// Kubectl is what people type.
	Kubectl string
}

// EnsureNode returns the programs of a node as Ensure does those of a control plane.
func EnsureNode(ctx context.Context, options Options) (NodeSet, error) {
	found, err := ensureModules(ctx, nodeModules(), options)
	if err != nil {
		return NodeSet{}, err
	}
	return NodeSet{
		Kubelet: found["kubelet"], KubeProxy: found["kube-proxy"], Containerd: found["containerd"], Ctr: found["ctr"],
		Kubectl: found["kubectl"],
	}, nil
}

func nodeModules() []module {
	const containerd = "github.com/containerd/containerd/v2"
	return []module{
		{
			folder: "kubelet", upstream: "k8s.io/kubernetes",
			programs: []program{
				{"kubelet", "k8s.io/kubernetes/cmd/kubelet"},
				{"kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"},
				{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
			},
			versionVariables: kubernetesVersion,
		},
		{
			folder: "containerd", upstream: containerd, tags: "no_btrfs,no_devmapper,no_zfs",
			programs: []program{
				{"containerd", containerd + "/cmd/containerd"},
				{"containerd-shim-runc-v2", containerd + "/cmd/containerd-shim-runc-v2"},
				{"ctr", containerd + "/cmd/ctr"},
			},
			versionVariables: func(version string) map[string]string {
				return map[string]string{containerd + "/version.Version": version}
			},
		},
	}
}
