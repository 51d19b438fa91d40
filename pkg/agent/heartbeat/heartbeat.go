// Package heartbeat tells the hub that the agent of a cluster is there.
//
// A Lease in the cluster's namespace is renewed every minute; the hub watches
// it, and by its own clock takes a cluster whose Lease stands still for offline. The
// Cluster's status says when the agent was last seen; it is written when the
// agent connects and every quarter of an hour, since others read Clusters, too.
package heartbeat

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sirupsen/logrus"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Times between beats.
const (
	// Period is the time between two renewals of the Lease.
	Period = time.Minute
	// Announce is the time between two writes of the Cluster's status.
	Announce = 15 * time.Minute

	firstRetry = time.Second
)

// Options of a Heartbeat.
type Options struct {
	// Leases are those of the cluster's namespace on the hub.
	Leases coordinationclient.LeaseInterface
	// Hub writes the Cluster's status.
	Hub dynamic.Interface
	// Cluster is the Cluster that the agent acts for.
	Cluster types.NamespacedName
	// Agent is the namespace of the agent, Holder the name of its process.
	Agent, Holder string
	Log           logrus.FieldLogger
	Clock         clock.WithTicker
}

// Heartbeat tells the hub that the agent is there.
type Heartbeat struct {
	opts      Options
	announced time.Time
	now       chan struct{}
}

// New returns a heartbeat that does not beat until Run.
func New(opts Options) *Heartbeat {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	opts.Log = opts.Log.WithField("controller", "heartbeat")
	return &Heartbeat{opts: opts, now: make(chan struct{}, 1)}
}

// Now makes the heart beat at once, and the Cluster's status be written.
func (h *Heartbeat) Now() {
	select {
	case h.now <- struct{}{}:
	default:
	}
}

// Run beats until ctx ends. While the hub does not answer it tries again ever
// more rarely, at times of its own, until it tries once per Period.
func (h *Heartbeat) Run(ctx context.Context) {
	retry := firstRetry
	for {
		wait := Period
		if err := h.beat(ctx); err != nil {
			h.opts.Log.WithError(err).Warn("Heartbeat failed")
			wait = retry + rand.N(retry/2+1) //nolint:gosec // spreads agents, keeps no secret
			retry = min(2*retry, Period)
		} else {
			retry = firstRetry
		}
		timer := h.opts.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		case <-h.now:
			timer.Stop()
			h.announced = time.Time{}
		}
	}
}

// beat renews the Lease and, when it is time, announces the agent.
func (h *Heartbeat) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Period/2)
	defer cancel()
	now := h.opts.Clock.Now()
	if err := h.renew(ctx, now); err != nil {
		return err
	}
	if now.Sub(h.announced) < Announce {
		return nil
	}
	if err := h.announce(ctx, now); err != nil {
		return err
	}
	h.announced = now
	return nil
}

func (h *Heartbeat) renew(ctx context.Context, now time.Time) error {
	seconds := int32(3 * Period / time.Second)
	spec := coordinationv1.LeaseSpec{
		HolderIdentity: &h.opts.Holder, LeaseDurationSeconds: &seconds, RenewTime: &metav1.MicroTime{Time: now},
	}
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return fmt.Errorf("encoding lease: %w", err)
	}
	_, err = h.opts.Leases.Patch(ctx, names.LeaseAgent, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		_, err = h.opts.Leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: names.LeaseAgent}, Spec: spec,
		}, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renewing lease: %w", err)
	}
	return nil
}

// announce writes the one field of the Cluster's status that is the agent's.
func (h *Heartbeat) announce(ctx context.Context, now time.Time) error {
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"agent": fleet.AgentStatus{LastSeen: metav1.NewTime(now), Namespace: h.opts.Agent},
	}})
	if err != nil {
		return fmt.Errorf("encoding status: %w", err)
	}
	_, err = h.opts.Hub.Resource(fleet.SchemeGroupVersion.WithResource("clusters")).Namespace(h.opts.Cluster.Namespace).
		Patch(ctx, h.opts.Cluster.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("announcing agent on Cluster %s: %w", h.opts.Cluster, err)
	}
	return nil
}
