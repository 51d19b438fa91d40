package installation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-gitops/flotilla/dev/controlplane"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const (
	fieldManager = "flotilla-dev"
	poll         = 25 * time.Millisecond
	// connectTimeout is how long it may take from a Cluster to an agent that has reported.
	connectTimeout = time.Minute
)

// Hub returns a client for the hub. It has no caches running.
func (i *Installation) Hub() (*kube.Hub, error) {
	cluster, err := i.Cluster(HubName)
	if err != nil {
		return nil, err
	}
	config, err := cluster.RESTConfig()
	if err != nil {
		return nil, err
	}
	return connect(config)
}

func connect(config *rest.Config) (*kube.Hub, error) {
	conn, err := kube.Connect(config, kube.Options{UserAgent: fieldManager})
	if err != nil {
		return nil, fmt.Errorf("connecting to the hub: %w", err)
	}
	return kube.NewHub(conn), nil
}

// PrepareHub installs what users install on a hub before anything else: the CRDs, from the source tree at root, and the
// workspaces.
func PrepareHub(ctx context.Context, root string, cluster *controlplane.Cluster) error {
	config, err := cluster.RESTConfig()
	if err != nil {
		return err
	}
	client, err := apiextensions.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connecting to the hub: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join(root, "charts", "flotilla-crd", "templates", "*.yaml"))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("finding the CRDs: there are none in charts/flotilla-crd (%w)", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, path := range paths {
		group.Go(func() error { return installCRD(groupCtx, client, path) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	hub, err := connect(config)
	if err != nil {
		return err
	}
	for _, name := range []string{names.WorkspaceDefault, names.WorkspaceLocal, names.NamespaceSystem} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := ensure(ctx, hub.Namespaces, namespace); err != nil {
			return err
		}
	}
	return nil
}

func installCRD(ctx context.Context, client apiextensions.Interface, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading CRD: %w", err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	api := client.ApiextensionsV1().CustomResourceDefinitions()
	force := true
	if _, err := api.Patch(ctx, crd.Name, types.ApplyYAMLPatchType, data, metav1.PatchOptions{FieldManager: fieldManager, Force: &force}); err != nil {
		return fmt.Errorf("installing CRD %s: %w", crd.Name, err)
	}
	return await(ctx, "CRD "+crd.Name+" to be served", func(ctx context.Context) (string, error) {
		current, err := api.Get(ctx, crd.Name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		for _, condition := range current.Status.Conditions {
			if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
				return "", nil
			}
		}
		return fmt.Sprintf("its conditions are %v", current.Status.Conditions), nil
	})
}

// register tells the hub about the clusters, each with a Secret that holds its kubeconfig, as a user would.
func (i *Installation) register(ctx context.Context) error {
	hub, err := i.Hub()
	if err != nil {
		return err
	}
	for _, member := range Members() {
		if err := i.registerMember(ctx, hub, member); err != nil {
			return fmt.Errorf("registering cluster %s: %w", member.Name, err)
		}
	}
	return nil
}

func (i *Installation) registerMember(ctx context.Context, hub *kube.Hub, member Member) error {
	kubeconfig, err := os.ReadFile(i.Kubeconfig(member.Name))
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: member.Workspace, Name: member.Cluster + "-kubeconfig"},
		Data:       map[string][]byte{names.KeyImportKubeconfig: kubeconfig},
	}
	if err := ensure(ctx, hub.Secrets, secret); err != nil {
		return err
	}
	cluster := &fleet.Cluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: member.Workspace, Name: member.Cluster, Labels: member.Labels},
		Spec:       fleet.ClusterSpec{KubeConfigSecret: secret.Name},
	}
	if err := ensure(ctx, hub.Clusters, cluster); err != nil {
		return err
	}
	everyone := &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: member.Workspace, Name: names.ClusterGroupDefault},
		Spec:       fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{}},
	}
	return ensure(ctx, hub.ClusterGroups, everyone)
}

// connectAgent runs the agent of a cluster and returns when the hub has heard of it and it looks after deployments.
func (i *Installation) connectAgent(ctx context.Context, member Member) error {
	if err := i.startProgram(ctx, agentPart(member.Name), healthz); err != nil {
		return err
	}
	hub, err := i.Hub()
	if err != nil {
		return err
	}
	err = await(ctx, "the agent to report", func(ctx context.Context) (string, error) {
		cluster, err := hub.Clusters.Get(ctx, member.Workspace, member.Cluster)
		if apierrors.IsNotFound(err) {
			return "there is no Cluster yet", nil
		}
		if err != nil || !cluster.Status.Agent.LastSeen.IsZero() {
			return "", err
		}
		return fmt.Sprintf("the conditions of its Cluster are %v", cluster.Status.Conditions), nil
	})
	if err != nil {
		return err
	}
	return i.startProgram(ctx, agentPart(member.Name), readyz)
}

// ensure creates the object if it is not there; what is there is the user's to change.
func ensure[T kube.Object, L runtime.Object](ctx context.Context, kind *kube.Kind[T, L], object T) error {
	if _, err := kind.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating %s %s: %w", kind.Resource.GVK.Kind, object.GetName(), err)
	}
	return nil
}

// await returns when check finds nothing missing any more, or fails with what it found missing last.
func await(ctx context.Context, what string, check func(context.Context) (missing string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	last := "nothing is known"
	for {
		missing, err := check(ctx)
		switch {
		case err == nil && missing == "":
			return nil
		case err == nil:
			last = missing
		case ctx.Err() == nil || !errors.Is(err, ctx.Err()):
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; %s", what, ctx.Err(), last)
		case <-ticker.C:
		}
	}
}
