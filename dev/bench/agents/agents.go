// Package agents plays the agents of any number of clusters towards the hub: they announce themselves, renew their Leases,
// report every deployment as ready at once, and confirm removals at once. Nothing is installed anywhere.
//
// A played agent writes what a real one writes to the hub when everything is ready immediately: one status per change of a
// deployment, two per removal. Dependencies between bundles are not waited for. One watch serves all clusters, so the hub is
// spared the watches that thousands of agents would hold.
package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"

	"github.com/flotilla-gitops/flotilla/dev/bench/stream"
	"github.com/flotilla-gitops/flotilla/pkg/agent/heartbeat"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// workers is how many requests the agents make at once, all of them together.
const workers = 32

// Agents are the agents of the clusters that were announced.
type Agents struct {
	hub      *kube.Hub
	reported atomic.Int64
	queue    workqueue.TypedInterface[kube.Key]
	// fail ends Run with an error.
	fail context.CancelCauseFunc

	mu sync.Mutex
	// latest is the last state seen of deployments that were not looked at yet.
	latest map[kube.Key]*fleet.BundleDeployment
	// homes are the cluster namespaces whose agents are played.
	homes map[string]bool
}

// New returns agents that play nobody yet. The hub's caches are not used.
func New(hub *kube.Hub) *Agents {
	return &Agents{
		hub: hub, queue: workqueue.NewTyped[kube.Key](),
		latest: map[kube.Key]*fleet.BundleDeployment{}, homes: map[string]bool{},
	}
}

// Announce makes the agents of the clusters known to the hub, as if each had just been started. The clusters must have their
// namespaces.
func (a *Agents) Announce(ctx context.Context, clusters []kube.Key) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, cluster := range clusters {
		group.Go(func() error {
			if err := a.announce(ctx, cluster); err != nil {
				return fmt.Errorf("announcing the agent of %s: %w", cluster, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (a *Agents) announce(ctx context.Context, key kube.Key) error {
	home := names.ClusterNamespace(key.Namespace, key.Name)
	a.mu.Lock()
	a.homes[home] = true
	a.mu.Unlock()
	if err := a.renew(ctx, home); err != nil {
		return err
	}
	cluster, err := a.hub.Clusters.Get(ctx, key.Namespace, key.Name)
	if err != nil {
		return err
	}
	after := cluster.DeepCopy()
	after.Status.Agent = fleet.AgentStatus{LastSeen: metav1.Now(), Namespace: names.NamespaceSystem}
	_, err = a.hub.Clusters.PatchStatus(ctx, cluster, after)
	if apierrors.IsConflict(err) {
		return a.announce(ctx, key)
	}
	return err
}

// renew renews the Lease that is the heartbeat of an agent.
func (a *Agents) renew(ctx context.Context, home string) error {
	now := metav1.NowMicro()
	lease, err := a.hub.Leases.Get(ctx, home, names.LeaseAgent)
	if apierrors.IsNotFound(err) {
		_, err = a.hub.Leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: names.LeaseAgent},
			Spec:       coordinationv1.LeaseSpec{RenewTime: &now},
		})
		return err
	}
	if err != nil {
		return err
	}
	after := lease.DeepCopy()
	after.Spec.RenewTime = &now
	_, err = a.hub.Leases.Patch(ctx, lease, after)
	return err
}

// Reported is how often a deployment was reported as ready.
func (a *Agents) Reported() int { return int(a.reported.Load()) }

// Run plays the agents until ctx ends, when it returns nil, or until a request fails for good. It must be called once.
func (a *Agents) Run(ctx context.Context) error {
	inner, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	a.fail = fail
	context.AfterFunc(inner, a.queue.ShutDown)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for a.next(inner) {
			}
		})
	}
	running.Go(func() { a.beat(inner) })
	fail(stream.Watch(inner, a.hub.Kubernetes.CoreV1().RESTClient(), fleet.SchemeGroupVersion.WithResource("bundledeployments"), a.see))
	running.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(inner)
}

// see notes the latest state of a deployment.
func (a *Agents) see(e stream.Event) {
	if e.Type == stream.Deleted {
		return
	}
	bd := &fleet.BundleDeployment{}
	if err := json.Unmarshal(e.Object, bd); err != nil {
		a.fail(fmt.Errorf("decoding deployment: %w", err))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.homes[bd.Namespace] {
		key := kube.KeyOf(bd)
		a.latest[key] = bd
		a.queue.Add(key)
	}
}

// next has the agent of one deployment do what is due.
func (a *Agents) next(ctx context.Context) bool {
	key, shutdown := a.queue.Get()
	if shutdown {
		return false
	}
	defer a.queue.Done(key)
	a.mu.Lock()
	bd := a.latest[key]
	delete(a.latest, key)
	a.mu.Unlock()
	if bd == nil {
		return true
	}
	status := answer(bd, metav1.Now())
	if status == nil {
		return true
	}
	after := bd.DeepCopy()
	after.Status = *status
	_, err := a.hub.BundleDeployments.PatchStatus(ctx, bd, after)
	switch {
	case err == nil && bd.DeletionTimestamp == nil:
		a.reported.Add(1)
	case err == nil, ctx.Err() != nil, apierrors.IsConflict(err), apierrors.IsNotFound(err):
		// Of what has changed meanwhile there is another event.
	default:
		a.fail(fmt.Errorf("reporting on %s: %w", key, err))
	}
	return true
}

// beat renews every Lease once per heartbeat.Period, one after the other.
func (a *Agents) beat(ctx context.Context) {
	var round []string
	for {
		if len(round) == 0 {
			round = a.played()
		}
		wait := time.NewTimer(heartbeat.Period / time.Duration(max(len(round), 1)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		if len(round) == 0 {
			continue
		}
		if err := a.renew(ctx, round[0]); err != nil && ctx.Err() == nil {
			a.fail(fmt.Errorf("renewing the Lease in %s: %w", round[0], err))
		}
		round = round[1:]
	}
}

func (a *Agents) played() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	homes := make([]string, 0, len(a.homes))
	for home := range a.homes {
		homes = append(homes, home)
	}
	return homes
}
