package agent

import (
	"context"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// watchKinds calls changed whenever a CustomResourceDefinition of the agent's
// cluster appears or changes, such as when its kind comes to be served, until ctx ends.
func watchKinds(ctx context.Context, local *rest.Config, changed func()) error {
	client, err := metadata.NewForConfig(local)
	if err != nil {
		return fmt.Errorf("making client for the agent's cluster: %w", err)
	}
	resource := apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")
	informer := metadatainformer.NewFilteredMetadataInformer(client, resource, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	err = informer.SetTransform(func(obj any) (any, error) {
		if meta, ok := obj.(metav1.Object); ok {
			meta.SetManagedFields(nil)
			meta.SetAnnotations(nil)
		}
		return obj, nil
	})
	if err != nil {
		return fmt.Errorf("watching kinds: %w", err)
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { changed() }, UpdateFunc: func(any, any) { changed() },
	})
	if err != nil {
		return fmt.Errorf("watching kinds: %w", err)
	}
	informer.RunWithContext(ctx)
	return nil
}
