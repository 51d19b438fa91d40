package status

import (
	"cmp"
	"slices"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// maxPlaces is how many names of clusters the list of resources holds in all:
// the more resources, the fewer clusters are named for each.
const maxPlaces = 5000

// States of an object on a cluster, beside those of deployments.
const (
	stateMissing  = "Missing"
	stateOrphaned = "Orphaned"
	stateUnknown  = "Unknown"
)

// shown is a deployment that a status goes into.
type shown struct {
	bd *fleet.BundleDeployment
	// offline says that its cluster is.
	offline bool
}

// named is what a status names of many deployments: those of a bounded number
// of clusters, the worst first.
type named struct {
	// deployments are in order of cluster and name.
	deployments []shown
	// clusters is how many of them there are, cut that there are more.
	clusters int
	cut      bool
}

// pickClusters picks the deployments of at most maxClusters clusters: first
// those in the worst state, then by name.
func pickClusters(staying []*fleet.BundleDeployment, offline Offline) named {
	worst := map[string]fleet.BundleState{}
	for _, bd := range staying {
		cluster := clusterOf(bd)
		worst[cluster] = Worst(worst[cluster], stateOf(bd, offline[cluster]))
	}
	clusters := make([]string, 0, len(worst))
	for cluster := range worst {
		clusters = append(clusters, cluster)
	}
	slices.SortFunc(clusters, func(a, b string) int {
		return cmp.Or(Rank(worst[b])-Rank(worst[a]), strings.Compare(a, b))
	})
	picked := map[string]bool{}
	for _, cluster := range first(clusters, maxClusters) {
		picked[cluster] = true
	}
	s := named{clusters: len(picked), cut: len(clusters) > len(picked)}
	for _, bd := range staying {
		if cluster := clusterOf(bd); picked[cluster] {
			s.deployments = append(s.deployments, shown{bd, offline[cluster] != ""})
		}
	}
	return s
}

// counts returns the objects of each cluster, by state; nil if there are none.
func (s named) counts() map[string]fleet.ResourceCounts {
	var all map[string]fleet.ResourceCounts
	for _, d := range s.deployments {
		if all == nil {
			all = make(map[string]fleet.ResourceCounts, s.clusters)
		}
		cluster := clusterOf(d.bd)
		counts := all[cluster]
		addCounts(&counts, countsOf(d.bd, d.offline))
		all[cluster] = counts
	}
	return all
}

// object is one object of the deployments, wherever it is deployed.
type object struct {
	fleet.Resource
	places []place
}

// place is a cluster with the state of an object there.
type place struct {
	cluster, state       string
	error, transitioning bool
	message              string
}

// resources returns the objects, at most maxResources of them: where there are
// more, those that are not ready first. The result is sorted by type and id.
func (s named) resources() []fleet.Resource {
	objects := map[string]*object{}
	for _, d := range s.deployments {
		addObjects(objects, d)
	}
	list := make([]*object, 0, len(objects))
	for _, o := range objects {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b *object) int {
		return cmp.Or(rankOf(b.State)-rankOf(a.State), a.compare(b))
	})
	cut := s.cut || len(list) > maxResources
	list = first(list, maxResources)
	slices.SortFunc(list, (*object).compare)
	var result []fleet.Resource
	for _, o := range list {
		o.IncompleteState = o.IncompleteState || cut
		o.name(min(maxClusters, max(maxPlaces/len(list), 1)))
		result = append(result, o.Resource)
	}
	return result
}

func (o *object) compare(other *object) int {
	return cmp.Or(strings.Compare(o.Type, other.Type), strings.Compare(o.ID, other.ID))
}

// addObjects adds the objects of one deployment.
func addObjects(objects map[string]*object, d shown) {
	bd, cluster := d.bd, clusterOf(d.bd)
	usual := string(DeploymentState(bd))
	if usual == string(fleet.NotReady) || usual == string(fleet.Modified) {
		// What is wrong is said of each object that it is wrong with, unless
		// there were too many to say it of all.
		usual = string(fleet.Ready)
		if bd.Status.IncompleteState {
			usual = stateUnknown
		}
	}
	modified, notReady := bd.Status.ModifiedStatus, bd.Status.NonReadyStatus
	if d.offline {
		usual, modified, notReady = stateUnknown, nil, nil
	}
	places := map[*object]place{}
	for _, r := range bd.Status.Resources {
		places[find(objects, r)] = place{cluster: cluster, state: usual}
	}
	for _, m := range first(modified, maxNonReady) {
		id := fleet.BundleDeploymentResource{APIVersion: m.APIVersion, Kind: m.Kind, Namespace: m.Namespace, Name: m.Name}
		places[find(objects, id)] = place{cluster: cluster, state: modifiedState(m)}
	}
	for _, n := range first(notReady, maxNonReady) {
		id := fleet.BundleDeploymentResource{APIVersion: n.APIVersion, Kind: n.Kind, Namespace: n.Namespace, Name: n.Name}
		places[find(objects, id)] = place{
			cluster: cluster, state: cmp.Or(clean(n.Summary.State, maxName), string(fleet.NotReady)),
			error: n.Summary.Error, transitioning: n.Summary.Transitioning,
			message: clean(strings.Join(first(n.Summary.Message, maxLines), ", "), maxItem),
		}
	}
	for o, p := range places {
		o.add(p)
		o.IncompleteState = o.IncompleteState || bd.Status.IncompleteState
	}
}

func modifiedState(m fleet.ModifiedStatus) string {
	switch {
	case m.Delete:
		return stateOrphaned
	case m.Create && !m.Exist:
		return stateMissing
	}
	return string(fleet.Modified)
}

// find returns the object, added if it is new.
func find(objects map[string]*object, r fleet.BundleDeploymentResource) *object {
	apiVersion, kind := clean(r.APIVersion, maxName), clean(r.Kind, maxName)
	namespace, name := clean(r.Namespace, maxName), clean(r.Name, maxName)
	typ, id := strings.ToLower(kind), name
	if group, _, ok := strings.Cut(apiVersion, "/"); ok {
		typ = strings.ToLower(group) + "." + typ
	}
	if namespace != "" {
		id = namespace + "/" + name
	}
	key := typ + "\x00" + id
	if objects[key] == nil {
		objects[key] = &object{Resource: fleet.Resource{
			APIVersion: apiVersion, Kind: kind, Type: typ, ID: id, Namespace: namespace, Name: name,
		}}
	}
	return objects[key]
}

// add adds the state of the object on one more cluster. The worst one is that
// of the object; clusters are added in the same order every time.
func (o *object) add(p place) {
	o.places = append(o.places, p)
	o.Error = o.Error || p.error
	o.Transitioning = o.Transitioning || p.transitioning
	if rankOf(p.state) > rankOf(o.State) {
		o.State, o.Message = p.state, p.message
	}
}

// rankOf orders states of objects: the higher, the worse.
func rankOf(state string) int {
	switch state {
	case "":
		return -1
	case stateUnknown:
		return rankUnknown
	case stateMissing, stateOrphaned:
		return Rank(fleet.Modified)
	}
	if rank := Rank(fleet.BundleState(state)); rank > 0 {
		return rank
	}
	// A word of the agent's for something that is not ready.
	return Rank(fleet.NotReady)
}

// name lists at most limit clusters by the state of the object there, those
// first where it is not ready.
func (o *object) name(limit int) {
	slices.SortStableFunc(o.places, func(a, b place) int {
		return cmp.Or(rankOf(b.state)-rankOf(a.state), strings.Compare(a.cluster, b.cluster))
	})
	if len(o.places) > limit {
		o.places, o.IncompleteState = o.places[:limit], true
	}
	for _, p := range o.places {
		// Two bundles may deploy the same object.
		if list := listOf(&o.PerClusterState, p.state); list != nil && !slices.Contains(*list, p.cluster) {
			*list = append(*list, p.cluster)
		}
	}
}

// listOf returns the list for a state; nil where there is none, as what was
// not applied or is held back says nothing of the object.
func listOf(s *fleet.PerClusterState, state string) *[]string {
	switch state {
	case string(fleet.Ready):
		return &s.Ready
	case string(fleet.WaitApplied), string(fleet.WaitingForDependency):
		return &s.WaitApplied
	case string(fleet.Pending):
		return &s.Pending
	case string(fleet.Modified):
		return &s.Modified
	case stateMissing:
		return &s.Missing
	case stateOrphaned:
		return &s.Orphaned
	case stateUnknown:
		return &s.Unknown
	case string(fleet.ErrApplied), string(fleet.OutOfSync):
		return nil
	}
	return &s.NotReady
}
