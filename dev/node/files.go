package node

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"text/template"
)

// SandboxImage holds the namespaces of every pod; Load must have loaded it before a pod can run.
const SandboxImage = "localhost/flotilla-pod:dev"

// configs are the configurations of the node's programs, as templates.
//
//go:embed config
var configs embed.FS

// settings are what the templates may name.
type settings struct {
	Dir, Cgroup, PodNetwork, SandboxImage, CNIDir, Runc string
}

// writeConfig fills the node's folder.
func (c *Cluster) writeConfig() error {
	config := c.bootConfig()
	folders := []string{config.KernelDir, config.LogDir}
	for _, source := range config.Binds {
		folders = append(folders, source)
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("making the node's folder: %w", err)
		}
	}
	values := settings{
		Dir: c.dir(), Cgroup: c.group(), PodNetwork: c.podNetwork(), SandboxImage: SandboxImage,
		CNIDir: c.options.Programs.CNIDir, Runc: c.options.Programs.Runc,
	}
	return errors.Join(
		c.render("containerd.toml", c.dir("containerd.toml"), values),
		c.render("kubelet.yaml", c.dir("kubelet.yaml"), values),
		c.render("kube-proxy.yaml", c.dir("kube-proxy.yaml"), values),
		c.render("10-pods.conflist", c.dir("cni-config", "10-pods.conflist"), values),
		// Nothing answers names here: a pod that asks is told at once that nobody listens.
		os.WriteFile(c.dir("resolv.conf"), []byte("nameserver 127.0.0.1\n"), 0o644),
		config.Save(c.dir("node.json")),
	)
}

func (c *Cluster) render(name, target string, values settings) error {
	text, err := template.New(name).Funcs(template.FuncMap{"key": c.KeyFile}).ParseFS(configs, path.Join("config", name))
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	file, err := os.Create(filepath.Clean(target))
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := errors.Join(text.Execute(file, values), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
