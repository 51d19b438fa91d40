package clusters

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// shared remembers that the roles of all agents are in place.
type shared struct {
	mu   sync.Mutex
	done bool
}

// ensureShared puts the roles of all agents in place, and the policy that limits them, once.
func (c *controller) ensureShared(ctx context.Context) error {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	if c.shared.done {
		return nil
	}
	for _, object := range slices.Concat(agentAdmission(), sharedAccess()) {
		if err := c.hub.Apply(ctx, object); err != nil {
			return err
		}
	}
	c.shared.done = true
	return nil
}

// ensureFinalizer makes sure that the cluster's deletion will be seen before anything is made for it.
func (c *controller) ensureFinalizer(ctx context.Context, cluster *fleet.Cluster) error {
	if held(cluster) {
		return nil
	}
	after := cluster.DeepCopy()
	after.Finalizers = append(after.Finalizers, names.FinalizerCluster)
	if _, err := c.Hub.Clusters.Patch(ctx, cluster, after); err != nil {
		return fmt.Errorf("adding finalizer to cluster: %w", err)
	}
	return nil
}

// ensureNamespace returns the cluster's namespace, which it makes if there is none. A namespace that belongs to
// something else is left alone.
func (c *controller) ensureNamespace(ctx context.Context, cluster *fleet.Cluster) (*corev1.Namespace, error) {
	want := clusterNamespace(cluster)
	namespace, err := c.namespaces.Get("", want.Name)
	if apierrors.IsNotFound(err) {
		namespace, err = c.createNamespace(ctx, cluster, want)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case !belongsTo(namespace, cluster):
		return nil, &problem{ReasonNamespaceConflict, fmt.Sprintf(
			"the cluster needs the namespace %s, which exists and belongs to something else: delete it, or give the cluster another name", want.Name)}
	case namespace.DeletionTimestamp != nil:
		return nil, &problem{ReasonNamespaceTerminating, fmt.Sprintf("the namespace %s is being deleted and will be made anew once it is gone", want.Name)}
	}
	return namespace, nil
}

func (c *controller) createNamespace(ctx context.Context, cluster *fleet.Cluster, want *corev1.Namespace) (*corev1.Namespace, error) {
	// A cluster that has just been deleted must not get a namespace that nothing would take away again.
	live, err := c.Hub.Clusters.Get(ctx, cluster.Namespace, cluster.Name)
	if err != nil {
		return nil, fmt.Errorf("confirming cluster: %w", err)
	}
	if live.UID != cluster.UID || live.DeletionTimestamp != nil {
		return nil, fmt.Errorf("confirming cluster: it is being deleted")
	}
	created, err := c.Hub.Namespaces.Create(ctx, want)
	if apierrors.IsAlreadyExists(err) {
		created, err = c.Hub.Namespaces.Get(ctx, "", want.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("creating cluster namespace: %w", err)
	}
	c.Log.WithFields(logrus.Fields{"cluster": cluster.Namespace + "/" + cluster.Name, "namespace": want.Name}).Info("Cluster has its namespace")
	return created, nil
}

// ensureAccess gives the cluster's agent its access. What it gave is noted on the namespace, so that it is looked at
// again only when it should be something else.
func (c *controller) ensureAccess(ctx context.Context, cluster *fleet.Cluster, namespace *corev1.Namespace) error {
	objects, digest, err := c.accessFor(cluster, namespace)
	if err != nil || namespace.Annotations[names.AnnotationAccess] == digest {
		return err
	}
	write := c.hub.Apply
	if namespace.Annotations[names.AnnotationAccess] == "" {
		// The namespace is new.
		write = c.hub.Establish
	}
	if err := writeAccess(ctx, objects, write); err != nil {
		return err
	}
	after := namespace.DeepCopy()
	if after.Annotations == nil {
		after.Annotations = map[string]string{}
	}
	after.Annotations[names.AnnotationAccess] = digest
	if _, err := c.Hub.Namespaces.Patch(ctx, namespace, after); err != nil {
		return fmt.Errorf("noting access: %w", err)
	}
	return nil
}

func (c *controller) accessFor(cluster *fleet.Cluster, namespace *corev1.Namespace) ([]runtime.Object, string, error) {
	hubID, err := c.hubID()
	if err != nil {
		return nil, "", err
	}
	objects := agentAccess(cluster, namespace, hubID)
	digest, err := kube.Fingerprint(objects...)
	return objects, digest, err
}

func writeAccess(ctx context.Context, objects []runtime.Object, write func(context.Context, runtime.Object) error) error {
	for _, object := range objects {
		if err := write(ctx, object); err != nil {
			return fmt.Errorf("giving the agent access: %w", err)
		}
	}
	return nil
}
