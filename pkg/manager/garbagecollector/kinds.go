package garbagecollector

import (
	"context"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// kindLeaves says whether the definition of a kind is being deleted, or gone.
// The API server then deletes every object of the kind, which is nobody's word
// about any of them.
func (c *controller) kindLeaves(ctx context.Context, plural string) (bool, error) {
	definitions := c.metadata.Resource(apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions"))
	definition, err := definitions.Get(ctx, fleet.SchemeGroupVersion.WithResource(plural).GroupResource().String(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("confirming the definition of %s: %w", plural, err)
	}
	return definition.DeletionTimestamp != nil, nil
}
