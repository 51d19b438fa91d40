package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/process"
)

// Programs is what clusters with real nodes are run with, as absolute paths.
type Programs struct {
	ControlPlane binaries.Set
	Node         binaries.NodeSet
	// Init is the node's first process.
	Init string
	Runc string
	// CNIDir has the plugins that connect pods.
	CNIDir string
}

// Prepare builds what is built and finds the rest: minutes the first time on a machine. Folder takes the node's first process.
func Prepare(ctx context.Context, folder string, progress io.Writer) (Programs, error) {
	options := binaries.Options{Progress: progress}
	var programs Programs
	var err error
	if programs.ControlPlane, err = binaries.Ensure(ctx, options); err != nil {
		return Programs{}, err
	}
	if programs.Node, err = binaries.EnsureNode(ctx, options); err != nil {
		return Programs{}, err
	}
	if programs.Runc, err = exec.LookPath("runc"); err != nil {
		return Programs{}, err
	}
	if programs.CNIDir, err = cniDir(); err != nil {
		return Programs{}, err
	}
	root, err := binaries.SourceRoot()
	if err != nil {
		return Programs{}, err
	}
	programs.Init = filepath.Join(folder, "node-init")
	cmd := exec.Command("go", "build", "-o", programs.Init, "./dev/node/node-init")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := process.Run(ctx, cmd); err != nil {
		return Programs{}, fmt.Errorf("compiling node-init: %w\n%s", err, &output)
	}
	return programs, nil
}

func cniDir() (string, error) {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("there are no CNI plugins (package containernetworking-plugins)")
}

// Missing says why this machine cannot run real nodes, in one line; empty if it can.
func Missing(ctx context.Context) string {
	if runtime.GOOS != "linux" {
		return "only Linux has what nodes are made of"
	}
	if os.Geteuid() != 0 {
		return "nodes need root: mounts, networks and control groups are made"
	}
	var missing []string
	for _, program := range []string{"ip", "nsenter", "runc", "nft", "iptables", "git"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if _, err := cniDir(); err != nil {
		missing = append(missing, "the CNI plugins")
	}
	if len(missing) > 0 {
		return "not installed: " + strings.Join(missing, ", ") + "; on Debian and Ubuntu `dev/tools/node-packages` installs them"
	}
	return missingInKernel(ctx)
}

// missingInKernel tries what only the kernel can tell.
func missingInKernel(ctx context.Context) string {
	for _, root := range hierarchies() {
		if info, err := os.Stat(root); err != nil || !info.IsDir() {
			return "the kernel has no control group " + root
		}
	}
	filesystems, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(filesystems), "\toverlay\n") {
		return "the kernel has no overlay file system"
	}
	const probe = "flotilla-probe"
	for _, kind := range []string{"bridge", "veth"} {
		if err := ip(ctx, "link", "add", probe, "type", kind); err != nil {
			return "the kernel makes no " + kind
		}
		if err := removeLink(ctx, probe); err != nil {
			return err.Error()
		}
	}
	if err := run(exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "true")); err != nil {
		return "the kernel makes no namespaces"
	}
	if err := run(exec.CommandContext(ctx, "unshare", "--net", "nft", "add", "table", "ip", "probe")); err != nil {
		return "the kernel has no nftables"
	}
	return ""
}
