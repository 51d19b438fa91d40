package clustergroups

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// rollups keep, for every group, the sum of its clusters. Events tell them what changes: that of a cluster costs what
// the groups cost that it belongs to, and only where its labels change it is held against the others.
type rollups struct {
	mu         sync.Mutex
	workspaces map[string]*workspace
}

// workspace is what is known of one namespace, by name.
type workspace struct {
	groups   map[string]*rollup
	clusters map[string]*fleet.Cluster
	// of holds the groups of each cluster.
	of map[string][]*rollup
}

type rollup struct {
	*status.GroupRollup
	key      kube.Key
	selector labels.Selector
	// problem is why there is no selector.
	problem string
}

func newRollups() *rollups { return &rollups{workspaces: map[string]*workspace{}} }

// selectorOf returns what the group selects: nothing without a selector, everything with an empty one.
func selectorOf(group *fleet.ClusterGroup) (labels.Selector, error) {
	return metav1.LabelSelectorAsSelector(group.Spec.Selector)
}

// group tells of a group that has come, changed or gone.
func (r *rollups) group(e kube.Event[*fleet.ClusterGroup]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := kube.KeyOf(e.Object())
	w := r.of(key.Namespace)
	before := w.groups[key.Name]
	if e.New != nil && before != nil && e.Old != nil && e.Old.Generation == e.New.Generation && e.Old.UID == e.New.UID {
		return
	}
	if before != nil {
		for name := range w.clusters {
			w.leave(before, name)
		}
		delete(w.groups, key.Name)
	}
	if e.New == nil {
		r.drop(key.Namespace)
		return
	}
	now := &rollup{GroupRollup: status.NewGroupRollup(), key: key}
	w.groups[key.Name] = now
	selector, err := selectorOf(e.New)
	if err != nil {
		now.problem = fmt.Sprintf("spec.selector: %v", err)
		return
	}
	now.selector = selector
	for _, c := range w.clusters {
		w.judge(now, c)
	}
}

// cluster tells of a cluster that has come, changed or gone, and returns the groups whose status may show it.
func (r *rollups) cluster(e kube.Event[*fleet.Cluster]) []kube.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	namespace, name := e.Object().Namespace, e.Object().Name
	w := r.of(namespace)
	before, touched := w.clusters[name], slices.Clone(w.of[name])
	switch {
	case e.New == nil:
		for _, group := range touched {
			w.leave(group, name)
		}
		delete(w.clusters, name)
		r.drop(namespace)
	case before != nil && maps.Equal(before.Labels, e.New.Labels):
		w.clusters[name] = e.New
		for _, group := range touched {
			group.Cluster(e.New)
		}
		if !shows(before, e.New) {
			return nil
		}
	default:
		w.clusters[name] = e.New
		for _, group := range w.groups {
			w.judge(group, e.New)
		}
		touched = append(touched, w.of[name]...)
	}
	show := make([]kube.Key, 0, len(touched))
	for _, group := range touched {
		show = append(show, group.key)
	}
	return show
}

// judge has the group hold the cluster if it selects it.
func (w *workspace) judge(group *rollup, c *fleet.Cluster) {
	if group.selector == nil || !group.selector.Matches(labels.Set(c.Labels)) {
		w.leave(group, c.Name)
		return
	}
	if !group.Has(c.Name) {
		w.of[c.Name] = append(w.of[c.Name], group)
	}
	group.Cluster(c)
}

// leave takes the cluster out of the group.
func (w *workspace) leave(group *rollup, name string) {
	if !group.ClusterGone(name) {
		return
	}
	w.of[name] = slices.DeleteFunc(w.of[name], func(other *rollup) bool { return other == group })
	if len(w.of[name]) == 0 {
		delete(w.of, name)
	}
}

// status returns the status that the group should have.
func (r *rollups) status(facts status.ClusterGroupFacts) fleet.ClusterGroupStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	group := r.of(facts.Group.Namespace).groups[facts.Group.Name]
	if group == nil {
		return facts.Group.Status
	}
	facts.Problem = group.problem
	return group.Status(facts)
}

func (r *rollups) of(namespace string) *workspace {
	w := r.workspaces[namespace]
	if w == nil {
		w = &workspace{groups: map[string]*rollup{}, clusters: map[string]*fleet.Cluster{}, of: map[string][]*rollup{}}
		r.workspaces[namespace] = w
	}
	return w
}

func (r *rollups) drop(namespace string) {
	if w := r.workspaces[namespace]; w != nil && len(w.groups)+len(w.clusters) == 0 {
		delete(r.workspaces, namespace)
	}
}

// rebuild adds the clusters of the group, which are among those of its namespace, up anew.
func (r *rollups) rebuild(group *fleet.ClusterGroup, clusters []*fleet.Cluster) {
	for _, c := range r.vanished(group.Namespace, clusters) {
		r.cluster(kube.Event[*fleet.Cluster]{Old: c})
	}
	for _, c := range clusters {
		r.cluster(kube.Event[*fleet.Cluster]{New: c})
	}
	r.group(kube.Event[*fleet.ClusterGroup]{New: group})
}

// vanished returns the clusters that are kept, but not there.
func (r *rollups) vanished(namespace string, there []*fleet.Cluster) []*fleet.Cluster {
	names := map[string]bool{}
	for _, c := range there {
		names[c.Name] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []*fleet.Cluster
	for name, c := range r.of(namespace).clusters {
		if !names[name] {
			gone = append(gone, c)
		}
	}
	return gone
}
