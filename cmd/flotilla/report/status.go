package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// Status says what is ready and what is not.
type Status struct {
	TypeMeta
	// Items are the objects that were asked for: GitRepos, then Bundles, then
	// Clusters, each by namespace and name.
	Items []StatusItem `json:"items"`
}

// StatusItem is the state of one GitRepo, Bundle or Cluster.
type StatusItem struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Ready says that everything is as the newest generation of the object asks
	// for, and, of a GitRepo, that the commit is deployed.
	Ready bool `json:"ready"`
	// WaitingFor says what is missing until it is ready.
	WaitingFor string `json:"waitingFor,omitempty"`
	// State is the worst state of its deployments; Reason is that of its
	// condition Ready.
	State  string `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Commit, of a GitRepo, is the newest that was read; of a Bundle, the one
	// that last changed it.
	Commit string `json:"commit,omitempty"`
	Paused bool   `json:"paused,omitempty"`
	// Generation is that of the object, ObservedGeneration the newest that the
	// manager has acted on.
	Generation         int64 `json:"generation"`
	ObservedGeneration int64 `json:"observedGeneration"`
	// Deployments counts its deployments by state.
	Deployments Counts `json:"deployments"`
	// NotReady are deployments that are not ready, the worst first: on clusters,
	// where the object is a Bundle, of bundles where it is a Cluster. The hub
	// names the worst ten; NotNamed is how many there are more.
	NotReady []NotReady `json:"notReady,omitempty"`
	NotNamed int        `json:"notNamed,omitempty"`
	// Removing and Held are what the conditions of these names say.
	Removing string `json:"removing,omitempty"`
	Held     string `json:"held,omitempty"`
	// Offline says since when the agent of a Cluster has been silent.
	Offline string `json:"offline,omitempty"`
	// Bundles are those of a GitRepo.
	Bundles []StatusItem `json:"bundles,omitempty"`
}

// Counts are numbers of deployments by state.
type Counts struct {
	Desired     int `json:"desired"`
	Ready       int `json:"ready"`
	NotReady    int `json:"notReady,omitempty"`
	WaitApplied int `json:"waitApplied,omitempty"`
	ErrApplied  int `json:"errApplied,omitempty"`
	OutOfSync   int `json:"outOfSync,omitempty"`
	Modified    int `json:"modified,omitempty"`
	Pending     int `json:"pending,omitempty"`
	// Unknown are those on clusters that are offline.
	Unknown int `json:"unknown,omitempty"`
}

// NotReady is a deployment that is not ready.
type NotReady struct {
	// Name is a cluster's "namespace/name", or a bundle's name.
	Name    string `json:"name"`
	State   string `json:"state"`
	Message string `json:"message,omitempty"`
	// Objects say what is wrong with single objects.
	Objects []string `json:"objects,omitempty"`
}

// StatusOptions say what counts as ready.
type StatusOptions struct {
	// Commit, if set, is the commit that GitRepos must have deployed; a prefix
	// is enough.
	Commit string
	// IgnoreOffline leaves deployments on clusters that are offline out.
	IgnoreOffline bool
	// Brief leaves out the Clusters that are ready.
	Brief bool
}

// StatusOf tells the state of all GitRepos, Bundles and Clusters of the world.
// Bundles of one of its GitRepos are told with that.
func StatusOf(w World, o StatusOptions) Status {
	s := Status{TypeMeta: typeOf("Status"), Items: []StatusItem{}}
	v := viewOf(w)
	children := map[kube.Key][]*fleet.Bundle{}
	var alone []*fleet.Bundle
	for _, b := range sorted(slices.Collect(maps.Values(v.bundles))) {
		if v.repos[kube.RepoOf(b)] != nil {
			children[kube.RepoOf(b)] = append(children[kube.RepoOf(b)], b)
			continue
		}
		alone = append(alone, b)
	}
	for _, repo := range sorted(slices.Collect(maps.Values(v.repos))) {
		s.Items = append(s.Items, o.repo(repo, children[kube.KeyOf(repo)]))
	}
	for _, b := range alone {
		s.Items = append(s.Items, o.bundle(b))
	}
	for _, c := range sorted(slices.Collect(maps.Values(v.clusters))) {
		if item := o.cluster(c); !o.Brief || !item.Ready || item.Offline != "" {
			s.Items = append(s.Items, item)
		}
	}
	return s
}

func (o StatusOptions) repo(r *fleet.GitRepo, bundles []*fleet.Bundle) StatusItem {
	item := itemOf(kindGitRepo, r, r.Status.Conditions)
	item.State, item.Commit, item.Paused = r.Status.Display.State, r.Status.Commit, r.Spec.Paused
	item.ObservedGeneration = r.Status.ObservedGeneration
	item.count(r.Status.Summary)
	item.NotReady, item.NotNamed = nil, 0 // its bundles name them
	for _, b := range bundles {
		item.Bundles = append(item.Bundles, o.bundle(b))
	}
	switch {
	case r.DeletionTimestamp != nil:
		item.WaitingFor = "it is being deleted"
	case r.Status.Commit == "" && readyOf(r.Status.Conditions) == nil:
		item.WaitingFor = "the manager has not read a commit yet"
	case o.Commit != "" && !strings.HasPrefix(r.Status.Commit, o.Commit):
		item.WaitingFor = fmt.Sprintf("commit %s is not read yet: the newest is %s", o.Commit, cmp.Or(r.Status.Commit, "none"))
		if c := trouble(r); c != nil {
			item.WaitingFor += "; " + c.Message
		}
	default:
		item.WaitingFor = o.missing(item, readyOf(r.Status.Conditions))
	}
	for _, b := range item.Bundles {
		if item.WaitingFor == "" && !b.Ready {
			item.WaitingFor = fmt.Sprintf("bundle %s: %s", b.Name, b.WaitingFor)
		}
	}
	item.Ready = item.WaitingFor == ""
	return item
}

// trouble returns the condition that says why no newer commit is read.
func trouble(r *fleet.GitRepo) *fleet.Condition {
	for _, kind := range []string{fleet.ConditionAccepted, fleet.ConditionGitPolling} {
		if c := status.Get(r.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
			return c
		}
	}
	return nil
}

func (o StatusOptions) bundle(b *fleet.Bundle) StatusItem {
	item := itemOf(kindBundle, b, b.Status.Conditions)
	item.State, item.Commit, item.Paused = b.Status.Display.State, b.Labels[names.LabelCommit], b.Spec.Paused
	item.ObservedGeneration = b.Status.ObservedGeneration
	item.count(b.Status.Summary)
	item.WaitingFor = o.missing(item, readyOf(b.Status.Conditions))
	if b.DeletionTimestamp != nil {
		item.WaitingFor = "it is being deleted"
	}
	item.Ready = item.WaitingFor == ""
	return item
}

func (o StatusOptions) cluster(c *fleet.Cluster) StatusItem {
	item := itemOf(kindCluster, c, c.Status.Conditions)
	item.State, item.Paused = c.Status.Display.State, c.Spec.Paused
	ready := readyOf(c.Status.Conditions)
	item.ObservedGeneration = item.Generation
	if ready != nil && ready.ObservedGeneration != 0 {
		item.ObservedGeneration = ready.ObservedGeneration
	}
	item.count(c.Status.Summary)
	item.Offline, _ = offline(c)
	item.WaitingFor = o.missing(item, ready)
	switch {
	case c.DeletionTimestamp != nil:
		item.WaitingFor = "it is being unregistered"
	case item.Offline != "" && o.IgnoreOffline:
		item.WaitingFor = ""
	}
	item.Ready = item.WaitingFor == ""
	return item
}

func itemOf(kind string, obj metav1.Object, conditions []fleet.Condition) StatusItem {
	item := StatusItem{Kind: kind, Namespace: obj.GetNamespace(), Name: obj.GetName(), Generation: obj.GetGeneration()}
	if c := readyOf(conditions); c != nil {
		item.Reason = c.Reason
	}
	if c := status.Get(conditions, fleet.ConditionRemoving); c != nil {
		item.Removing = c.Message
	}
	if c := status.Get(conditions, fleet.ConditionPruneHeld); c != nil {
		item.Held = c.Message
	}
	return item
}

func readyOf(conditions []fleet.Condition) *fleet.Condition {
	return status.Get(conditions, fleet.ConditionReady)
}

func (i *StatusItem) count(s fleet.BundleSummary) {
	i.Deployments = Counts{
		Desired: s.DesiredReady, Ready: s.Ready, NotReady: s.NotReady, WaitApplied: s.WaitApplied, ErrApplied: s.ErrApplied,
		OutOfSync: s.OutOfSync, Modified: s.Modified, Pending: s.Pending, Unknown: s.Unknown,
	}
	for _, r := range s.NonReadyResources {
		n := NotReady{Name: r.Name, State: string(r.State), Message: r.Message}
		for _, m := range r.ModifiedStatus {
			n.Objects = append(n.Objects, status.ModifiedMessage(m))
		}
		for _, m := range r.NonReadyStatus {
			n.Objects = append(n.Objects, status.NonReadyMessage(m))
		}
		i.NotReady = append(i.NotReady, n)
	}
	i.NotNamed = max(s.DesiredReady-s.Ready-len(i.NotReady), 0)
}

// missing says what the object waits for, by its own account; nothing if it is
// ready.
func (o StatusOptions) missing(item StatusItem, ready *fleet.Condition) string {
	switch {
	case ready == nil:
		return "the manager has not looked at it yet"
	case item.ObservedGeneration < item.Generation || ready.ObservedGeneration != 0 && ready.ObservedGeneration < item.Generation:
		return fmt.Sprintf("the manager has not acted on its newest generation yet, which is %d", item.Generation)
	case ready.Status == metav1.ConditionTrue:
		return ""
	case o.IgnoreOffline && ready.Status == metav1.ConditionUnknown && item.onlyOffline():
		return ""
	}
	return cmp.Or(ready.Message, ready.Reason, "it is not ready")
}

// onlyOffline says whether nothing but clusters that are offline keeps it from
// being ready.
func (i StatusItem) onlyOffline() bool {
	return i.Deployments.Unknown > 0 && i.Deployments.Ready+i.Deployments.Unknown == i.Deployments.Desired
}

// Yes says whether all of it is ready.
func (s Status) Yes() bool {
	for _, item := range s.Items {
		if !item.Ready {
			return false
		}
	}
	return true
}

// WaitingFor says what is missing until all of it is ready, in one line.
func (s Status) WaitingFor() string {
	for _, item := range s.Items {
		if !item.Ready {
			return fmt.Sprintf("%s/%s: %s", strings.ToLower(item.Kind), item.Name, item.WaitingFor)
		}
	}
	return ""
}
