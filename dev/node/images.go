package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/process"
)

// ImageOptions says which images to build.
type ImageOptions struct {
	// Folder takes the archives, NAME.tar, and what the builder keeps.
	Folder string
	// Registry is put in front of the names, Tag behind them.
	Registry, Tag string
	// Packages of the source tree that have Dockerfiles; empty means the manager and the agent.
	Packages []string
}

// BuildImages builds images as `make images` does, apart from those that the machine keeps, and returns their archives,
// which Load takes.
func BuildImages(ctx context.Context, options ImageOptions) ([]string, error) {
	root, err := binaries.SourceRoot()
	if err != nil {
		return nil, err
	}
	storage := filepath.Join(options.Folder, "storage.conf")
	// Without overlays the folder holds no mount, and can just be removed.
	config := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n",
		filepath.Join(options.Folder, "store"), filepath.Join(options.Folder, "run"))
	if err := os.MkdirAll(options.Folder, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of images: %w", err)
	}
	if err := os.WriteFile(storage, []byte(config), 0o644); err != nil {
		return nil, fmt.Errorf("configuring the builder: %w", err)
	}
	cmd := exec.Command(filepath.Join(root, "dev", "tools", "images"), options.Tag)
	cmd.Env = append(os.Environ(), "CONTAINERS_STORAGE_CONF="+storage, "ARCHIVES="+options.Folder,
		"REGISTRY="+options.Registry, "PACKAGES="+strings.Join(options.Packages, " "))
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := process.Run(ctx, cmd); err != nil {
		return nil, fmt.Errorf("building images: %w\n%s", err, &output)
	}
	return filepath.Glob(filepath.Join(options.Folder, "flotilla-*.tar"))
}

// BuildSandboxImage builds what every node needs, among the other archives in the folder.
func BuildSandboxImage(ctx context.Context, folder string) error {
	name, tag, _ := strings.Cut(SandboxImage, ":")
	options := ImageOptions{Folder: folder, Registry: filepath.Dir(name), Tag: tag, Packages: []string{"dev/node/pod"}}
	_, err := BuildImages(ctx, options)
	return err
}
