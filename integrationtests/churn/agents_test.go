package churn

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"

	"github.com/flotilla-gitops/flotilla/integrationtests/churn/oracle"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// agents plays the agents of some clusters: they report what they are asked for as installed, now and then as failed or not ready,
// and confirm removals, while they are there.
type agents struct {
	witness *oracle.Witness
	queue   workqueue.TypedRateLimitingInterface[kube.Key]

	mu sync.Mutex
	// at holds the cluster of each cluster namespace that has an agent; away are those whose agent is not there.
	at   map[string]kube.Key
	away map[kube.Key]bool
	rng  *rand.Rand
	// failed holds what could not be installed, by deployment.
	failed map[kube.Key]string
}

func newAgents(w *oracle.Witness, seed uint64) *agents {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[kube.Key](20*time.Millisecond, time.Second)
	return &agents{
		witness: w, queue: workqueue.NewTypedRateLimitingQueue(limiter),
		at: map[string]kube.Key{}, away: map[kube.Key]bool{}, rng: rand.New(rand.NewPCG(seed, 2)),
		failed: map[kube.Key]string{},
	}
}

// heard is told of changes by the witness. Clusters go by a key without a name.
func (a *agents) heard(kind string, key kube.Key) {
	if kind == "fleet.cattle.io/clusters" {
		a.queue.Add(kube.Key{Namespace: names.ClusterNamespace(key.Namespace, key.Name)})
		return
	}
	a.queue.Add(key)
}

// inhabit gives a cluster an agent.
func (a *agents) inhabit(cluster kube.Key) {
	namespace := names.ClusterNamespace(cluster.Namespace, cluster.Name)
	a.mu.Lock()
	a.at[namespace] = cluster
	delete(a.away, cluster)
	a.mu.Unlock()
	a.queue.Add(kube.Key{Namespace: namespace})
}

// abandon takes the agent of a cluster away for good.
func (a *agents) abandon(cluster kube.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.at, names.ClusterNamespace(cluster.Namespace, cluster.Name))
	delete(a.away, cluster)
}

// leave has the agent of a cluster go away, or come back.
func (a *agents) leave(cluster kube.Key, away bool) {
	a.mu.Lock()
	a.away[cluster] = away
	a.mu.Unlock()
	if away {
		return
	}
	a.witness.Look(func(w *oracle.World) {
		for key, bd := range w.Deployments {
			if kube.ClusterOf(bd) == cluster {
				a.queue.Add(key)
			}
		}
	})
	a.queue.Add(kube.Key{Namespace: names.ClusterNamespace(cluster.Namespace, cluster.Name)})
}

// offline returns the clusters whose agent is away.
func (a *agents) offline() map[kube.Key]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[kube.Key]bool{}
	for key, away := range a.away {
		if away {
			all[key] = true
		}
	}
	return all
}

// there returns the cluster of a cluster namespace, if it has an agent that is there.
func (a *agents) there(namespace string) (kube.Key, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key, ok := a.at[namespace]
	return key, ok && !a.away[key]
}

// fails says whether the agent cannot install the deployment: a few it never can, until something else is asked for.
func (a *agents) fails(key kube.Key, id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed[key] != id && a.rng.IntN(100) < 5 {
		a.failed[key] = id
	}
	return a.failed[key] == id
}

// run plays until ctx ends.
func (a *agents) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for {
				key, shutdown := a.queue.Get()
				if shutdown {
					return
				}
				if err := a.play(ctx, key); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) {
					a.queue.AddRateLimited(key)
				} else {
					a.queue.Forget(key)
				}
				a.queue.Done(key)
			}
		})
	}
	workers.Go(func() { a.beat(ctx) })
	t.Cleanup(func() {
		cancel()
		a.queue.ShutDown()
		workers.Wait()
	})
}

// play does what an agent does about one deployment, or, without a name, about its cluster.
func (a *agents) play(ctx context.Context, key kube.Key) error {
	cluster, there := a.there(key.Namespace)
	if !there {
		return nil
	}
	if key.Name == "" {
		return a.announce(ctx, cluster)
	}
	var bd *fleet.BundleDeployment
	a.witness.Look(func(w *oracle.World) { bd = w.Deployments[key] })
	if bd == nil || len(bd.Finalizers) == 0 {
		return nil
	}
	after := bd.DeepCopy()
	s := &after.Status
	switch {
	case bd.DeletionTimestamp == nil && s.AppliedDeploymentID == bd.Spec.DeploymentID && s.Ready,
		bd.DeletionTimestamp == nil && bd.Spec.DeploymentID == "":
		return nil
	case bd.DeletionTimestamp == nil && a.fails(key, bd.Spec.DeploymentID):
		s.Ready, s.NonModified = false, true
		a.say(after, fleet.ConditionDeployed, metav1.ConditionFalse, "Failed")
	case bd.DeletionTimestamp == nil:
		s.AppliedDeploymentID, s.Ready, s.NonModified = bd.Spec.DeploymentID, true, true
		a.say(after, fleet.ConditionDeployed, metav1.ConditionTrue, "Deployed")
	case status.IsTrue(s.Conditions, fleet.ConditionRemoved):
		return nil
	case status.Get(s.Conditions, fleet.ConditionRemoved) == nil:
		a.say(after, fleet.ConditionRemoved, metav1.ConditionFalse, "Uninstalling")
	default:
		a.say(after, fleet.ConditionRemoved, metav1.ConditionTrue, "Removed")
	}
	_, err := env.BundleDeployments.PatchStatus(ctx, bd, after)
	return err
}

func (a *agents) say(bd *fleet.BundleDeployment, kind string, is metav1.ConditionStatus, reason string) {
	status.Set(&bd.Status.Conditions, fleet.Condition{Type: kind, Status: is, Reason: reason}, metav1.Now())
}

// announce has the hub know of the agent once there is a place for it.
func (a *agents) announce(ctx context.Context, key kube.Key) error {
	var cluster *fleet.Cluster
	a.witness.Look(func(w *oracle.World) { cluster = w.Clusters[key] })
	if cluster == nil || cluster.Status.Namespace == "" || !cluster.Status.Agent.LastSeen.IsZero() || cluster.DeletionTimestamp != nil {
		return nil
	}
	after := cluster.DeepCopy()
	after.Status.Agent.LastSeen = metav1.Now()
	_, err := env.Clusters.PatchStatus(ctx, cluster, after)
	return err
}

// beat renews the Leases of the agents that are there, often enough.
func (a *agents) beat(ctx context.Context) {
	ticker := time.NewTicker(20 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		a.mu.Lock()
		var namespaces []string
		for namespace, key := range a.at {
			if !a.away[key] {
				namespaces = append(namespaces, namespace)
			}
		}
		a.mu.Unlock()
		for _, namespace := range namespaces {
			a.renew(ctx, namespace)
		}
	}
}

func (a *agents) renew(ctx context.Context, namespace string) {
	leases := env.Kubernetes.CoordinationV1().Leases(namespace)
	now := metav1.NowMicro()
	lease, err := leases.Get(ctx, names.LeaseAgent, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, _ = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: names.LeaseAgent}, Spec: coordinationv1.LeaseSpec{RenewTime: &now},
		}, metav1.CreateOptions{})
		return
	}
	if err == nil {
		lease.Spec.RenewTime = &now
		_, _ = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
}
