package targeting

import (
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Clusters is an index of clusters by namespace, name and label. It answers
// which of them a bundle can match at all without asking each of them. It is
// not safe for concurrent use.
type Clusters struct{ shelves map[string]*shelf }

// shelf holds the clusters of one namespace.
type shelf struct {
	byName  map[string]*fleet.Cluster
	byLabel map[pair]map[string]*fleet.Cluster
}

// pair is a label with its value.
type pair struct{ key, value string }

// NewClusters returns an empty index.
func NewClusters() *Clusters { return &Clusters{shelves: map[string]*shelf{}} }

// Set adds the cluster, or replaces what was known of it. The index keeps it:
// it must not change.
func (c *Clusters) Set(cluster *fleet.Cluster) {
	s, ok := c.shelves[cluster.Namespace]
	if !ok {
		s = &shelf{byName: map[string]*fleet.Cluster{}, byLabel: map[pair]map[string]*fleet.Cluster{}}
		c.shelves[cluster.Namespace] = s
	}
	s.remove(cluster.Name)
	s.byName[cluster.Name] = cluster
	for key, value := range cluster.Labels {
		p := pair{key, value}
		if s.byLabel[p] == nil {
			s.byLabel[p] = map[string]*fleet.Cluster{}
		}
		s.byLabel[p][cluster.Name] = cluster
	}
}

// Delete forgets a cluster.
func (c *Clusters) Delete(namespace, name string) {
	s, ok := c.shelves[namespace]
	if !ok {
		return
	}
	if s.remove(name); len(s.byName) == 0 {
		delete(c.shelves, namespace)
	}
}

func (s *shelf) remove(name string) {
	known, ok := s.byName[name]
	if !ok {
		return
	}
	delete(s.byName, name)
	for key, value := range known.Labels {
		p := pair{key, value}
		if delete(s.byLabel[p], name); len(s.byLabel[p]) == 0 {
			delete(s.byLabel, p)
		}
	}
}

// Get returns the cluster, nil if it is not known.
func (c *Clusters) Get(namespace, name string) *fleet.Cluster {
	s, ok := c.shelves[namespace]
	if !ok {
		return nil
	}
	return s.byName[name]
}

// Candidates calls yield for every cluster of the namespace for which m may
// answer anything but Unmatched, each once, in no order. It may call it for
// others.
func (c *Clusters) Candidates(namespace string, m *Matcher, yield func(*fleet.Cluster)) {
	s, ok := c.shelves[namespace]
	if !ok {
		return
	}
	lists := s.of(m.anchors())
	if len(lists) == 1 {
		for _, cluster := range lists[0] {
			yield(cluster)
		}
		return
	}
	seen := map[string]bool{}
	for _, list := range lists {
		for name, cluster := range list {
			if !seen[name] {
				seen[name] = true
				yield(cluster)
			}
		}
	}
}

// of returns the lists that hold every cluster that one of the anchors can
// hold on to.
func (s *shelf) of(anchors []anchor) []map[string]*fleet.Cluster {
	var lists []map[string]*fleet.Cluster
	for _, a := range anchors {
		best, size := s.everything(), len(s.byName)
		for _, alternative := range a {
			found, n := s.find(alternative)
			if n < size {
				best, size = found, n
			}
		}
		if size > 0 {
			lists = append(lists, best...)
		}
		if size == len(s.byName) {
			return s.everything()
		}
	}
	return lists
}

func (s *shelf) everything() []map[string]*fleet.Cluster {
	return []map[string]*fleet.Cluster{s.byName}
}

// find returns the clusters with one of the names or one of the labels, and
// how many they are at most.
func (s *shelf) find(h handles) ([]map[string]*fleet.Cluster, int) {
	var lists []map[string]*fleet.Cluster
	size := 0
	for _, name := range h.names {
		if cluster, ok := s.byName[name]; ok {
			lists = append(lists, map[string]*fleet.Cluster{name: cluster})
			size++
		}
	}
	for _, p := range h.labels {
		if list := s.byLabel[p]; len(list) > 0 {
			lists = append(lists, list)
			size += len(list)
		}
	}
	return lists, size
}
