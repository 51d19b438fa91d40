package report

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// World is what was read of a hub. A report says of each field that it needs
// what has to be in it.
type World struct {
	GitRepos []*fleet.GitRepo
	Bundles  []*fleet.Bundle
	Clusters []*fleet.Cluster
	Groups   []*fleet.ClusterGroup
	Mappings []*fleet.BundleNamespaceMapping
	// Namespaces are those of the whole hub; none are needed where there are
	// no Mappings.
	Namespaces  []*corev1.Namespace
	Deployments []*fleet.BundleDeployment
	// DeploymentsUnknown says that the deployments could not be read.
	DeploymentsUnknown bool
	Now                time.Time
}

// view is a World, ready to be asked.
type view struct {
	World
	repos       map[kube.Key]*fleet.GitRepo
	bundles     map[kube.Key]*fleet.Bundle
	clusters    map[kube.Key]*fleet.Cluster
	groups      map[string][]*fleet.ClusterGroup
	deployments map[pairKey]*fleet.BundleDeployment
	reaches     map[kube.Key]targeting.Reach
	matchers    map[matcherKey]*targeting.Matcher
}

type pairKey struct{ bundle, cluster kube.Key }

type matcherKey struct {
	bundle    kube.Key
	namespace string
}

func viewOf(w World) *view {
	v := &view{
		World: w, repos: byKey(w.GitRepos), bundles: byKey(w.Bundles), clusters: byKey(w.Clusters),
		groups: map[string][]*fleet.ClusterGroup{}, deployments: map[pairKey]*fleet.BundleDeployment{},
		reaches: map[kube.Key]targeting.Reach{}, matchers: map[matcherKey]*targeting.Matcher{},
	}
	for _, g := range w.Groups {
		v.groups[g.Namespace] = append(v.groups[g.Namespace], g)
	}
	for _, bd := range w.Deployments {
		v.deployments[pairKey{kube.BundleOf(bd), kube.ClusterOf(bd)}] = bd
	}
	return v
}

func byKey[T kube.Named](objects []T) map[kube.Key]T {
	found := make(map[kube.Key]T, len(objects))
	for _, o := range objects {
		found[kube.KeyOf(o)] = o
	}
	return found
}

// sorted returns the objects by namespace and name.
func sorted[T kube.Named](objects []T) []T {
	return slices.SortedFunc(slices.Values(objects), func(a, b T) int { return compareKeys(kube.KeyOf(a), kube.KeyOf(b)) })
}

func compareKeys(a, b kube.Key) int {
	if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

// reach returns the namespaces whose clusters the bundle may be deployed to.
func (v *view) reach(b *fleet.Bundle) targeting.Reach {
	key := kube.KeyOf(b)
	if known, ok := v.reaches[key]; ok {
		return known
	}
	var mappings []*fleet.BundleNamespaceMapping
	for _, m := range v.Mappings {
		if m.Namespace == b.Namespace {
			mappings = append(mappings, m)
		}
	}
	v.reaches[key] = targeting.ReachOf(b, mappings, v.Namespaces)
	return v.reaches[key]
}

// matcher returns what answers for the bundle and the clusters of a namespace.
func (v *view) matcher(b *fleet.Bundle, namespace string) *targeting.Matcher {
	key := matcherKey{kube.KeyOf(b), namespace}
	if v.matchers[key] == nil {
		v.matchers[key] = targeting.Compile(namespace, &b.Spec, v.groups[namespace])
	}
	return v.matchers[key]
}

// offline says whether the cluster's agent was there and is not now, and what
// the hub says about it.
func offline(c *fleet.Cluster) (string, bool) {
	if c == nil {
		return "", false
	}
	reachable := status.Get(c.Status.Conditions, fleet.ConditionClusterReachable)
	if reachable == nil || reachable.Status != "False" {
		return "", false
	}
	return reachable.Message, true
}
