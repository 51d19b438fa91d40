package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/controlplane/pki"
	"github.com/flotilla-gitops/flotilla/dev/ports"
)

// state is everything that is decided when a cluster is made, kept in its folder.
type state struct {
	Name          string         `json:"name"`
	Components    []Component    `json:"components"`
	Ports         map[string]int `json:"ports"`
	LogDir        string         `json:"logDir"`
	LogPrefix     string         `json:"logPrefix,omitempty"`
	APIServerArgs []string       `json:"apiserverArgs,omitempty"`
	Detached      bool           `json:"detached,omitempty"`
	Node          *Node          `json:"node,omitempty"`
	Binaries      binaries.Set   `json:"binaries"`
}

func (s *state) load(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, s)
}

func (s *state) save(path string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// create makes the folder of a cluster, complete but for what its components write.
func create(ctx context.Context, options Options) (*Cluster, error) {
	if options.Name == "" || options.Dir == "" {
		return nil, errors.New("a cluster needs a name and a folder")
	}
	set := options.Binaries
	if set == nil {
		ensured, err := binaries.Ensure(ctx, binaries.Options{Progress: options.Progress})
		if err != nil {
			return nil, err
		}
		set = &ensured
	}
	components, err := selected(options.Components, options.Node)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	logDir := options.LogDir
	if logDir == "" {
		logDir = filepath.Join(dir, "logs")
	}
	if logDir, err = filepath.Abs(logDir); err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, state: state{
		Name: options.Name, Components: components, LogDir: logDir, LogPrefix: options.LogPrefix,
		APIServerArgs: options.APIServerArgs, Detached: options.Detached, Binaries: *set, Node: options.Node,
	}}
	if _, err := os.Stat(c.statePath()); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds a cluster already", dir)
	}
	if c.reserved, err = ports.Reserve(portsOf(components...)...); err != nil {
		return nil, err
	}
	c.state.Ports = c.reserved.Ports()
	if err := c.write(); err != nil {
		c.reserved.Release(portsOf(components...)...)
		return nil, err
	}
	return c, nil
}

// write fills the cluster's folder. The state comes last, as it is what makes the folder a cluster.
func (c *Cluster) write() error {
	if err := c.writeKeys(); err != nil {
		return err
	}
	if err := c.state.save(c.statePath()); err != nil {
		return fmt.Errorf("writing state: %w", err)
	}
	return nil
}

// writeKeys makes the cluster's authority, every key that its components need, and the kubeconfigs.
func (c *Cluster) writeKeys() error {
	if err := os.MkdirAll(c.pki(""), 0o700); err != nil {
		return fmt.Errorf("making key folder: %w", err)
	}
	authority, err := pki.NewAuthority(c.state.Name)
	if err != nil {
		return err
	}
	// One certificate serves all.
	hosts := []string{loopback, c.host(), apiService, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	server, err := authority.Server("server", hosts...)
	if err != nil {
		return err
	}
	signing, err := pki.SigningKey()
	if err != nil {
		return err
	}
	err = errors.Join(
		c.writePair("ca", authority.Pair), c.writePair("server", server),
		c.writeKey("service-account.pub", signing.Certificate), c.writeKey("service-account.key", signing.Key),
		c.writeUser(authority, user{c.Kubeconfig(), "admin", []string{"system:masters"}}),
		c.writeUser(authority, user{c.pki(string(ControllerManager) + ".kubeconfig"), "system:kube-controller-manager", nil}),
		c.writeUser(authority, user{c.pki(string(Scheduler) + ".kubeconfig"), "system:kube-scheduler", nil}),
		c.writeUser(authority, user{c.pki(string(Kwok) + ".kubeconfig"), "kwok", []string{"system:masters"}}),
	)
	if err != nil || c.state.Node == nil {
		return err
	}
	return c.writeNodeKeys(authority)
}

func (c *Cluster) writePair(name string, pair pki.Pair) error {
	return errors.Join(c.writeKey(name+".crt", pair.Certificate), c.writeKey(name+".key", pair.Key))
}

func (c *Cluster) writeKey(name string, data []byte) error {
	if err := os.WriteFile(c.pki(name), data, 0o600); err != nil {
		return fmt.Errorf("writing keys: %w", err)
	}
	return nil
}

// user is somebody who gets a kubeconfig.
type user struct {
	path, name string
	groups     []string
}

func (c *Cluster) writeUser(authority *pki.Authority, u user) error {
	pair, err := authority.Client(u.name, u.groups...)
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[c.state.Name] = &clientcmdapi.Cluster{Server: c.URL(), CertificateAuthorityData: authority.Certificate}
	config.AuthInfos[u.name] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.Certificate, ClientKeyData: pair.Key}
	config.Contexts[c.state.Name] = &clientcmdapi.Context{Cluster: c.state.Name, AuthInfo: u.name}
	config.CurrentContext = c.state.Name
	if err := clientcmd.WriteToFile(*config, u.path); err != nil {
		return fmt.Errorf("writing kubeconfig: %w", err)
	}
	return nil
}
