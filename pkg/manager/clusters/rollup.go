package clusters

import (
	"sync"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// rollups keep, by cluster namespace, the sum of the deployments there. Events tell them what changes.
type rollups struct {
	mu         sync.Mutex
	namespaces map[string]*status.ClusterRollup
}

// deployment tells of a deployment that has come, changed or gone, and says whether the status of its cluster may show it.
func (r *rollups) deployment(e kube.Event[*fleet.BundleDeployment]) bool {
	namespace := e.Object().Namespace
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.namespaces[namespace]
	if e.New != nil {
		if known == nil {
			known = &status.ClusterRollup{}
			r.namespaces[namespace] = known
		}
		return known.Deployment(e.New)
	}
	if known == nil {
		return false
	}
	shows := known.DeploymentGone(e.Old)
	if known.Empty() {
		delete(r.namespaces, namespace)
	}
	return shows
}

// status returns what the deployments in the namespace make of the cluster's status.
func (r *rollups) status(namespace string, facts status.ClusterFacts) fleet.ClusterStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.namespaces[namespace]
	if known == nil {
		known = &status.ClusterRollup{}
	}
	return known.Status(facts)
}

// rebuild adds the deployments in the namespace up anew.
func (r *rollups) rebuild(namespace string, deployments []*fleet.BundleDeployment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.namespaces, namespace)
	if len(deployments) == 0 {
		return
	}
	anew := &status.ClusterRollup{}
	for _, bd := range deployments {
		anew.Deployment(bd)
	}
	r.namespaces[namespace] = anew
}
