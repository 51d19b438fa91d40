package release

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// neverResync is the resync period of the inventory: events alone matter.
const neverResync = 0 * time.Second

const byDeployment = "deployment"

// Inventory knows the releases that the agent made, from one watch of the
// metadata of their records. Secrets of others are not listed, and the content
// of none is read. It can lag behind: Apply and Remove look again.
type Inventory struct {
	informer cache.SharedIndexInformer
	copies   *CopyInventory
}

// Copies returns what is known of the copies that the agent made. It is kept up to date with the inventory.
func (i *Inventory) Copies() *CopyInventory { return i.copies }

// NewInventory returns the manager's inventory, which is empty until Run.
func (m *Manager) NewInventory() (*Inventory, error) {
	selector := labels.Set{labelHelmOwner: helmOwner, names.LabelReleaseAgent: m.agent}.String()
	informer := metadatainformer.NewFilteredMetadataInformer(m.self.metadata, secretResource(), metav1.NamespaceAll, neverResync,
		cache.Indexers{byDeployment: func(obj any) ([]string, error) {
			if meta, ok := obj.(metav1.Object); ok {
				return []string{meta.GetLabels()[names.LabelDeployment]}, nil
			}
			return nil, nil
		}},
		func(opts *metav1.ListOptions) { opts.LabelSelector = selector },
	).Informer()
	err := informer.SetTransform(func(obj any) (any, error) {
		if meta, ok := obj.(metav1.Object); ok {
			meta.SetManagedFields(nil)
			meta.SetAnnotations(wishOf(meta))
		}
		return obj, nil
	})
	if err != nil {
		return nil, fmt.Errorf("making inventory of releases: %w", err)
	}
	copied, err := m.newCopyInventory()
	if err != nil {
		return nil, err
	}
	return &Inventory{informer, copied}, nil
}

// wishOf returns those of the annotations that a Record holds.
func wishOf(meta metav1.Object) map[string]string {
	wish, ok := meta.GetAnnotations()[names.AnnotationUnclaimed]
	if !ok {
		return nil
	}
	return map[string]string{names.AnnotationUnclaimed: wish}
}

// OnChange has f called for every record that appears, changes or goes. It
// must be called before Run; f must not block.
func (i *Inventory) OnChange(f func(Record)) error {
	call := func(obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if meta, ok := obj.(metav1.Object); ok {
			if record, err := RecordOf(meta); err == nil {
				f(record)
			}
		}
	}
	_, err := i.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: call, UpdateFunc: func(_, obj any) { call(obj) }, DeleteFunc: call,
	})
	if err != nil {
		return fmt.Errorf("watching releases: %w", err)
	}
	return nil
}

// Run keeps the inventory up to date until ctx ends.
func (i *Inventory) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { i.informer.RunWithContext(ctx) })
	for _, informer := range i.copies.informers {
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	running.Wait()
}

// WaitForSync returns when the inventory of releases is complete, or false when
// ctx ends before. That of copies is not waited for: an agent that may not list
// ConfigMaps can do all else.
func (i *Inventory) WaitForSync(ctx context.Context) bool {
	return cache.WaitForCacheSync(ctx.Done(), i.informer.HasSynced)
}

// Of returns the newest record of every release of a deployment.
func (i *Inventory) Of(deployment string) []Record {
	found, err := i.informer.GetIndexer().ByIndex(byDeployment, DeploymentLabel(deployment))
	if err != nil {
		return nil // only for an index that does not exist
	}
	return newest(found)
}

// All returns the newest record of every release.
func (i *Inventory) All() []Record { return newest(i.informer.GetIndexer().List()) }

func newest(objects []any) []Record {
	byKey := map[Key]Record{}
	for _, obj := range objects {
		meta, ok := obj.(metav1.Object)
		if !ok {
			continue
		}
		record, err := RecordOf(meta)
		if err != nil {
			continue // not a record of Helm's
		}
		if known, ok := byKey[record.Key]; !ok || known.Revision < record.Revision {
			byKey[record.Key] = record
		}
	}
	records := make([]Record, 0, len(byKey))
	for _, record := range byKey {
		records = append(records, record)
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	return records
}
