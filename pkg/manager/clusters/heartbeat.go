package clusters

import (
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// heartbeats remembers, by cluster namespace, when the hub saw the Lease of an agent change. Only the hub's own clock
// counts: that of the agent's cluster may be wrong.
type heartbeats struct {
	mu   sync.Mutex
	last map[string]time.Time
	// met is when agents announced themselves.
	met map[string]time.Time
}

func newHeartbeats() heartbeats {
	return heartbeats{last: map[string]time.Time{}, met: map[string]time.Time{}}
}

func (h *heartbeats) note(namespace string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last[namespace] = now
}

// announced notes that an agent is new to this manager: from then on it has its time, as all have from when the manager began to
// look. Its Lease says nothing for as long as it has not been renewed.
func (h *heartbeats) announced(before, after *fleet.Cluster, now time.Time) {
	if before.UID == after.UID && before.Status.Agent.LastSeen.IsZero() && !after.Status.Agent.LastSeen.IsZero() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.met[names.ClusterNamespace(after.Namespace, after.Name)] = now
	}
}

// of returns when the agent last gave a sign to this manager, and when it was met, or zero times.
func (h *heartbeats) of(namespace string) (last, met time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[namespace], h.met[namespace]
}

func (h *heartbeats) forget(namespace string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.last, namespace)
	delete(h.met, namespace)
}

// onLease notes the heartbeat of an agent. It wakes the agent's cluster only if that was given up.
func (c *controller) onLease(e kube.Event[*coordinationv1.Lease]) {
	// A Lease that is seen for the first time does not say when it was renewed by our clock.
	if e.Old == nil || e.New == nil || e.New.Name != names.LeaseAgent || equality.Semantic.DeepEqual(e.Old.Spec, e.New.Spec) {
		return
	}
	key, ok := c.ownerOf(e.New.Namespace)
	if !ok {
		return
	}
	c.beats.note(e.New.Namespace, c.Clock.Now())
	if cluster, err := c.cluster(key); err == nil && cluster != nil && givenUp(cluster) {
		c.status.Wake(key)
	}
}

// givenUp says whether the status of the cluster says that its agent is silent.
func givenUp(cluster *fleet.Cluster) bool {
	condition := status.Get(cluster.Status.Conditions, fleet.ConditionClusterReachable)
	return condition != nil && condition.Status == metav1.ConditionFalse
}
