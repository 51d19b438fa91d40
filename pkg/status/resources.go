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

// named is what a status names of many deployments: those of a bounded number
// of clusters, the worst first.
type named struct {
	deployments []*fleet.BundleDeployment
	// clusters is how many of them there are, cut that there are more.
	clusters int
	cut      bool
}

// pickClusters picks the deployments of at most maxClusters clusters: first
// those in the worst state, then by name.
func pickClusters(deployments []*fleet.BundleDeployment) named {
	worst := map[string]fleet.BundleState{}
	for _, bd := range deployments {
		worst[bd.Namespace] = Worst(worst[bd.Namespace], DeploymentState(bd))
	}
	if len(worst) <= maxClusters {
		return named{deployments: deployments, clusters: len(worst)}
	}
	namespaces := make([]string, 0, len(worst))
	for namespace := range worst {
		namespaces = append(namespaces, namespace)
	}
	slices.SortFunc(namespaces, func(a, b string) int {
		return cmp.Or(Rank(worst[b])-Rank(worst[a]), strings.Compare(a, b))
	})
	picked := map[string]bool{}
	for _, namespace := range namespaces[:maxClusters] {
		picked[namespace] = true
	}
	s := named{clusters: maxClusters, cut: true}
	for _, bd := range deployments {
		if picked[bd.Namespace] {
			s.deployments = append(s.deployments, bd)
		}
	}
	return s
}

// counts returns the objects of each cluster, by state; nil if there are none.
func (s named) counts() map[string]fleet.ResourceCounts {
	var all map[string]fleet.ResourceCounts
	for _, bd := range s.deployments {
		if all == nil {
			all = make(map[string]fleet.ResourceCounts, s.clusters)
		}
		counts := all[clusterOf(bd)]
		addCounts(&counts, bd.Status.ResourceCounts)
		all[clusterOf(bd)] = counts
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
	for _, bd := range s.deployments {
		addObjects(objects, bd)
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
func addObjects(objects map[string]*object, bd *fleet.BundleDeployment) {
	cluster := clusterOf(bd)
	usual := string(DeploymentState(bd))
	if usual == string(fleet.NotReady) || usual == string(fleet.Modified) {
		// What is wrong is said of each object that it is wrong with, unless
		// there were too many to say it of all.
		usual = string(fleet.Ready)
		if bd.Status.IncompleteState {
			usual = stateUnknown
		}
	}
	places := map[*object]place{}
	for _, r := range bd.Status.Resources {
		places[find(objects, r)] = place{cluster: cluster, state: usual}
	}
	for _, m := range first(bd.Status.ModifiedStatus, maxNonReady) {
		id := fleet.BundleDeploymentResource{APIVersion: m.APIVersion, Kind: m.Kind, Namespace: m.Namespace, Name: m.Name}
		places[find(objects, id)] = place{cluster: cluster, state: modifiedState(m)}
	}
	for _, n := range first(bd.Status.NonReadyStatus, maxNonReady) {
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
		return 2
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
