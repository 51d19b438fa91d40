package releases

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/bench/apiserver"
	"github.com/flotilla-gitops/flotilla/dev/bench/program"
	"github.com/flotilla-gitops/flotilla/dev/controlplane"
	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/installation"
	"github.com/flotilla-gitops/flotilla/dev/process"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const (
	workspace = names.WorkspaceDefault
	cluster   = "bench"
	logsName  = "logs"
)

// world is a hub without a manager, and one cluster with its agent. Of Kubernetes there are API servers alone: what they
// count that the bench has not asked for is the agent's, or their own.
type world struct {
	dir, logDir string
	controls    []*controlplane.Cluster
	// hub and downstream are the API servers; objects are the hub's kinds.
	hub, downstream *apiserver.Server
	objects         *kube.Hub
	agent           *program.Program
}

// namespace is the cluster's on the hub.
func namespace() string { return names.ClusterNamespace(workspace, cluster) }

// start starts everything but the agent in a temporary folder.
func (w *world) start(ctx context.Context, settings Settings) (err error) {
	if w.dir, err = os.MkdirTemp("", "flotilla-bench-"); err != nil {
		return fmt.Errorf("making folder: %w", err)
	}
	w.logDir = cmp.Or(settings.LogDir, filepath.Join(w.dir, logsName))
	root, err := binaries.SourceRoot()
	if err != nil {
		return err
	}
	set, err := binaries.Ensure(ctx, binaries.Options{Progress: os.Stderr})
	if err != nil {
		return err
	}
	w.controls = make([]*controlplane.Cluster, 2)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return installation.Build(groupCtx, root, filepath.Join(w.dir, "bin")) })
	for i, name := range []string{"hub", "downstream"} {
		group.Go(func() (err error) {
			w.controls[i], err = controlplane.Start(groupCtx, controlplane.Options{
				Name: name, Dir: filepath.Join(w.dir, name), LogDir: w.logDir, LogPrefix: name + "-",
				Components: []controlplane.Component{controlplane.APIServer}, Binaries: &set,
			})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := installation.PrepareHub(ctx, root, w.controls[0]); err != nil {
		return err
	}
	return w.connect(ctx, settings)
}

func (w *world) connect(ctx context.Context, settings Settings) (err error) {
	if w.hub, err = apiserver.Of(w.controls[0]); err != nil {
		return err
	}
	if w.downstream, err = apiserver.Of(w.controls[1]); err != nil {
		return err
	}
	w.objects = kube.NewHub(w.hub.Connection)
	if w.agent, err = program.New(process.Spec{
		Name: "agent", RunDir: filepath.Join(w.dir, "run"), LogFile: filepath.Join(w.logDir, "agent.log"), Tied: true,
		Path: filepath.Join(w.dir, "bin", "agent"),
		Args: append([]string{"--kubeconfig", w.controls[1].Kubeconfig(), "--namespace", names.NamespaceSystem}, settings.AgentArgs...),
	}); err != nil {
		return err
	}
	return w.register(ctx)
}

// register writes what the manager would for the cluster, on the hub and downstream.
func (w *world) register(ctx context.Context) error {
	kubeconfig, err := os.ReadFile(w.controls[0].Kubeconfig())
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	onHub, there := w.hub.Kubernetes.CoreV1(), w.downstream.Kubernetes.CoreV1()
	of := func(name string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	for _, step := range []func() error{
		func() error {
			_, err := w.objects.Clusters.Create(ctx, &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: cluster}})
			return err
		},
		func() error {
			_, err := onHub.Namespaces().Create(ctx, of(namespace()), metav1.CreateOptions{})
			return err
		},
		func() error {
			_, err := onHub.ConfigMaps(namespace()).Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: names.ConfigMapHub}, Data: map[string]string{names.KeyHubID: "bench"},
			}, metav1.CreateOptions{})
			return err
		},
		func() error {
			_, err := there.Namespaces().Create(ctx, of(names.NamespaceSystem), metav1.CreateOptions{})
			return err
		},
		func() error {
			_, err := there.Secrets(names.NamespaceSystem).Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: names.SecretAgent},
				Data: map[string][]byte{
					names.KeyKubeconfig: kubeconfig, names.KeyDeploymentNamespace: []byte(namespace()),
					names.KeyClusterNamespace: []byte(workspace), names.KeyClusterName: []byte(cluster),
				},
			}, metav1.CreateOptions{})
			return err
		},
	} {
		if err := step(); err != nil {
			return fmt.Errorf("registering the cluster: %w", err)
		}
	}
	return nil
}

// stop ends everything and removes it. After a failure the logs stay, and it returns their folder.
func (w *world) stop(failure error) (logs string, err error) {
	if w.agent != nil {
		err = w.agent.Close()
	}
	for _, control := range w.controls {
		if control != nil {
			err = errors.Join(err, control.Stop())
		}
	}
	if failure == nil || errors.Is(failure, context.Canceled) {
		return "", errors.Join(err, os.RemoveAll(w.dir))
	}
	entries, readErr := os.ReadDir(w.dir)
	for _, entry := range entries {
		if entry.Name() != logsName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(w.dir, entry.Name())))
		}
	}
	return w.logDir, errors.Join(err, readErr)
}
