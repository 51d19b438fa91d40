// Package boot is what the first process of a real node does: it sets the node up from within its namespaces, then keeps
// the node's programs running, as systemd does on other nodes. Whoever starts it gives it namespaces of its own (see
// process.Spec) and, from outside, a network interface eth0.
package boot

import (
	"encoding/json"
	"fmt"
	"os"
)

// Config is what a node is made of. All paths are absolute.
type Config struct {
	// Hostname is the node's name.
	Hostname string `json:"hostname"`
	// Address is the node's with the length of its network's prefix, Gateway where everything else is.
	Address string `json:"address"`
	Gateway string `json:"gateway"`
	// Binds are mounts: the folder Binds[target] shows at target, for this node alone.
	Binds map[string]string `json:"binds"`
	// Kernel holds settings below /proc/sys that would hold for the whole machine. The node sees the values given here,
	// in files below KernelDir, and the machine's stay as they are.
	Kernel    map[string]string `json:"kernel"`
	KernelDir string            `json:"kernelDir"`
	// Path is the environment variable of that name.
	Path     string    `json:"path"`
	LogDir   string    `json:"logDir"`
	Programs []Program `json:"programs"`
}

// Program is kept running.
type Program struct {
	Name string   `json:"name"`
	Path string   `json:"path"`
	Args []string `json:"args"`
}

// Load reads a Config.
func Load(path string) (Config, error) {
	var config Config
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &config)
	}
	if err != nil {
		return Config{}, fmt.Errorf("reading the node's configuration: %w", err)
	}
	return config, nil
}

// Save writes a Config.
func (c Config) Save(path string) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the node's configuration: %w", err)
	}
	return nil
}
