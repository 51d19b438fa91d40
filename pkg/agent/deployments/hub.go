package deployments

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// HubEvidence reads evidence from the hub.
type HubEvidence struct {
	// Client reads the metadata of objects of the hub.
	Client metadata.Interface
	// Namespace is the cluster's namespace on the hub.
	Namespace string
	// Cluster is the Cluster that the agent acts for.
	Cluster types.NamespacedName
}

// Read asks the hub for the evidence about a deployment. It fails if one of
// the answers does not come.
func (h HubEvidence) Read(ctx context.Context, deployment string) (Evidence, error) {
	var e Evidence
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		e.Deployment, e.UID, err = h.ask(ctx, h.of("bundledeployments").Namespace(h.Namespace), deployment)
		return err
	})
	group.Go(func() (err error) {
		e.Cluster, _, err = h.ask(ctx, h.of("clusters").Namespace(h.Cluster.Namespace), h.Cluster.Name)
		return err
	})
	group.Go(func() (err error) {
		namespaces := corev1.SchemeGroupVersion.WithResource("namespaces")
		e.Namespace, _, err = h.ask(ctx, h.Client.Resource(namespaces), h.Namespace)
		return err
	})
	group.Go(func() (err error) {
		kinds := apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")
		e.Kind, _, err = h.ask(ctx, h.Client.Resource(kinds), fleet.SchemeGroupVersion.WithResource("bundledeployments").GroupResource().String())
		return err
	})
	if err := group.Wait(); err != nil {
		return Evidence{}, err
	}
	return e, nil
}

func (h HubEvidence) of(plural string) metadata.Getter {
	return h.Client.Resource(fleet.SchemeGroupVersion.WithResource(plural))
}

func (h HubEvidence) ask(ctx context.Context, where metadata.ResourceInterface, name string) (Presence, types.UID, error) {
	meta, err := where.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return Absent, "", nil
	case err != nil:
		return "", "", fmt.Errorf("reading %s: %w", name, err)
	case meta.DeletionTimestamp != nil:
		return Terminating, meta.UID, nil
	default:
		return Present, meta.UID, nil
	}
}
