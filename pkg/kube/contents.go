package kube

import (
	"context"
	"fmt"

	"github.com/rancher/wrangler/v3/pkg/generic"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Contents stores what deployments are made from.
type Contents struct {
	kind  *Kind[*fleet.Content, *fleet.ContentList]
	cache generic.CacheInterface[*fleet.Content]
}

// NewContents returns the contents of the hub. Like every cache, it is to be made before the connection is started.
func NewContents(hub *Hub) Contents { return Contents{hub.Contents, hub.Contents.Cache()} }

// Ensure makes sure that the Content of a name is there and not about to be deleted. Only if it is not is it encoded.
func (c Contents) Ensure(ctx context.Context, name string, encode func() (bundle.Content, error)) error {
	existing, err := c.cache.Get("", name)
	if err == nil {
		return c.keep(ctx, existing)
	}
	encoded, err := encode()
	if err != nil {
		return fmt.Errorf("encoding content: %w", err)
	}
	_, err = c.kind.Create(ctx, &fleet.Content{
		ObjectMeta: metav1.ObjectMeta{Name: encoded.Name},
		Content:    encoded.Data,
		SHA256Sum:  encoded.SHA256,
	})
	if apierrors.IsAlreadyExists(err) {
		// The cache is behind: what is there may be marked.
		existing, err = c.kind.Get(ctx, "", encoded.Name)
		if err == nil {
			return c.keep(ctx, existing)
		}
	}
	if err != nil {
		return fmt.Errorf("storing content: %w", err)
	}
	return nil
}

// keep takes the mark off a Content that is in use again.
func (c Contents) keep(ctx context.Context, content *fleet.Content) error {
	if _, marked := content.Annotations[names.AnnotationUnused]; !marked {
		return nil
	}
	after := content.DeepCopy()
	delete(after.Annotations, names.AnnotationUnused)
	if _, err := c.kind.Patch(ctx, content, after); err != nil {
		return fmt.Errorf("keeping content: %w", err)
	}
	return nil
}
