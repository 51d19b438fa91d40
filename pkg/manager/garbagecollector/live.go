package garbagecollector

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// One list is cheaper than one read each from this many clusters on, and from
// this share of the clusters in a namespace on.
const (
	manyClusters = 20
	shareOfMany  = 20
)

// liveClusters reads the metadata of clusters, which is what targets look at.
// A cluster that is not there is left out.
func (c *controller) liveClusters(ctx context.Context, wanted map[kube.Key]bool) (map[kube.Key]*fleet.Cluster, error) {
	byNamespace := map[string][]kube.Key{}
	for key := range wanted {
		byNamespace[key.Namespace] = append(byNamespace[key.Namespace], key)
	}
	found := map[kube.Key]*fleet.Cluster{}
	for namespace, keys := range byNamespace {
		if c.listPays(namespace, len(keys)) {
			list, err := c.lists.of(ctx, namespace)
			if err != nil {
				return nil, fmt.Errorf("confirming clusters: %w", err)
			}
			for _, key := range keys {
				if cluster, ok := list[key.Name]; ok {
					found[key] = cluster
				}
			}
			continue
		}
		if err := c.getClusters(ctx, keys, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// getClusters reads each of the clusters.
func (c *controller) getClusters(ctx context.Context, keys []kube.Key, found map[kube.Key]*fleet.Cluster) error {
	var mu sync.Mutex
	return c.requests.Read(ctx, len(keys), func(i int) error {
		cluster, err := optional(c.Hub.Clusters.Get(ctx, keys[i].Namespace, keys[i].Name))
		if err != nil {
			return fmt.Errorf("confirming cluster: %w", err)
		}
		if cluster != nil {
			mu.Lock()
			defer mu.Unlock()
			found[keys[i]] = cluster
		}
		return nil
	})
}

// listClusters reads the metadata of all clusters of a namespace, by name.
func (c *controller) listClusters(ctx context.Context, namespace string) (map[string]*fleet.Cluster, error) {
	clusters := fleet.SchemeGroupVersion.WithResource(c.Hub.Clusters.Resource.Plural)
	list, err := c.metadata.Resource(clusters).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	found := make(map[string]*fleet.Cluster, len(list.Items))
	for i := range list.Items {
		found[list.Items[i].Name] = &fleet.Cluster{ObjectMeta: list.Items[i].ObjectMeta}
	}
	return found, nil
}

func (c *controller) listPays(namespace string, wanted int) bool {
	if wanted < manyClusters {
		return false
	}
	c.graphs.RLock()
	defer c.graphs.RUnlock()
	all := 0
	for range c.graph.Dependents(ownership.IDOf(ownership.KindNamespace, "", namespace), ownership.KindCluster) {
		all++
	}
	return wanted*shareOfMany >= all
}

// sharedLists lets those who read the same namespace at the same moment share
// one read. Nobody is given a read that began before he asked: it could be older
// than the event that he is about.
type sharedLists struct {
	read func(ctx context.Context, namespace string) (map[string]*fleet.Cluster, error)

	mu   sync.Mutex
	next map[string]*sharedList
	// reading is the list of a namespace that is being read.
	reading map[string]*sharedList
}

type sharedList struct {
	// after is the read that is under way when this one is asked for.
	after *sharedList
	done  chan struct{}
	found map[string]*fleet.Cluster
	err   error
}

// listTimeout bounds a read that others wait for.
const listTimeout = time.Minute

func newSharedLists(read func(context.Context, string) (map[string]*fleet.Cluster, error)) *sharedLists {
	return &sharedLists{read: read, next: map[string]*sharedList{}, reading: map[string]*sharedList{}}
}

// of returns what a read of the namespace brought that began after the call.
func (s *sharedLists) of(ctx context.Context, namespace string) (map[string]*fleet.Cluster, error) {
	s.mu.Lock()
	list, waiting := s.next[namespace]
	if !waiting {
		list = &sharedList{after: s.reading[namespace], done: make(chan struct{})}
		s.next[namespace] = list
	}
	s.mu.Unlock()
	if !waiting {
		// The others wait for whoever asked first.
		s.lead(ctx, namespace, list)
	}
	select {
	case <-list.done:
		return list.found, list.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// lead does the read when the one before it is done.
func (s *sharedLists) lead(ctx context.Context, namespace string, list *sharedList) {
	// Whoever asked first may give up; the others have not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listTimeout)
	defer cancel()
	defer close(list.done)
	if list.after != nil {
		<-list.after.done
		list.after = nil
	}
	s.mu.Lock()
	delete(s.next, namespace)
	s.reading[namespace] = list
	s.mu.Unlock()
	list.found, list.err = s.read(ctx, namespace)
	s.mu.Lock()
	if s.reading[namespace] == list {
		delete(s.reading, namespace)
	}
	s.mu.Unlock()
}
