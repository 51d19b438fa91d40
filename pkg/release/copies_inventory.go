package release

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/flotilla-gitops/flotilla/pkg/copies"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// CopyEvent tells that a copy has appeared, changed or gone.
type CopyEvent struct {
	Key CopyKey
	// Owners are the deployments that have it, or had it before, as label values.
	Owners []string
	// Version is the resourceVersion of the object; empty if it is gone.
	Version string
}

// HeldCopy is a copy that a deployment has.
type HeldCopy struct {
	Key CopyKey
	// Version is its resourceVersion.
	Version string
}

// CopyInventory knows the copies that the agent put into the cluster, from watches of the metadata of what bears its mark.
// It can lag behind, also at first: what it learns later is an event.
type CopyInventory struct {
	agent     string
	informers map[string]cache.SharedIndexInformer
}

func (m *Manager) newCopyInventory() (*CopyInventory, error) {
	i := &CopyInventory{agent: m.agent, informers: map[string]cache.SharedIndexInformer{}}
	for kind, resource := range map[string]string{copies.KindSecret: "secrets", copies.KindConfigMap: "configmaps"} {
		informer := metadatainformer.NewFilteredMetadataInformer(m.self.metadata, corev1.SchemeGroupVersion.WithResource(resource),
			metav1.NamespaceAll, neverResync,
			cache.Indexers{byDeployment: func(obj any) ([]string, error) { return i.ownersOf(obj), nil }},
			func(opts *metav1.ListOptions) { opts.LabelSelector = labels.Set{names.LabelCopiedBy: m.agent}.String() },
		).Informer()
		err := informer.SetTransform(func(obj any) (any, error) {
			if meta, ok := obj.(metav1.Object); ok {
				meta.SetManagedFields(nil)
			}
			return obj, nil
		})
		if err != nil {
			return nil, fmt.Errorf("making inventory of copies: %w", err)
		}
		i.informers[kind] = informer
	}
	return i, nil
}

func (i *CopyInventory) ownersOf(obj any) []string {
	if meta, ok := obj.(metav1.Object); ok {
		return copies.Owners(meta, i.agent)
	}
	return nil
}

// OnChange has f called for every copy that appears, changes or goes. It must be called before Run; f must not block.
func (i *CopyInventory) OnChange(f func(CopyEvent)) error {
	for kind, informer := range i.informers {
		call := func(before, after any) {
			if gone, ok := before.(cache.DeletedFinalStateUnknown); ok {
				before = gone.Obj
			}
			owners := append(i.ownersOf(before), i.ownersOf(after)...)
			slices.Sort(owners)
			e := CopyEvent{Owners: slices.Compact(owners)}
			for _, obj := range []any{before, after} {
				if meta, ok := obj.(metav1.Object); ok {
					e.Key = CopyKey{copies.Ref{Kind: kind, Name: meta.GetName()}, meta.GetNamespace()}
				}
			}
			if meta, ok := after.(metav1.Object); ok {
				e.Version = meta.GetResourceVersion()
			}
			f(e)
		}
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(obj any) { call(nil, obj) }, UpdateFunc: call, DeleteFunc: func(obj any) { call(obj, nil) },
		})
		if err != nil {
			return fmt.Errorf("watching copies: %w", err)
		}
	}
	return nil
}

// Of returns the copies that a deployment has, sorted.
func (i *CopyInventory) Of(deployment string) []HeldCopy {
	var held []HeldCopy
	for kind, informer := range i.informers {
		found, err := informer.GetIndexer().ByIndex(byDeployment, DeploymentLabel(deployment))
		if err != nil {
			return nil // only for an index that does not exist
		}
		for _, obj := range found {
			if meta, ok := obj.(metav1.Object); ok {
				held = append(held, HeldCopy{CopyKey{copies.Ref{Kind: kind, Name: meta.GetName()}, meta.GetNamespace()}, meta.GetResourceVersion()})
			}
		}
	}
	slices.SortFunc(held, func(a, b HeldCopy) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	return held
}
