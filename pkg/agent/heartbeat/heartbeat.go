// Package heartbeat tells the hub that the agent of a cluster is there.
//
// A Lease in the cluster's namespace is renewed every minute; the hub watches
// it, and by its own clock takes a cluster whose Lease stands still for offline. The
// Cluster's status says when the agent was last seen, and what is unclaimed; it is
// written when the agent connects, every quarter of an hour, since others read
// Clusters, too, and when there is something to tell of what is unclaimed.
package heartbeat

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
	// Period is the time between two renewals of the Lease where Options do not say. The hub counts on one in each.
	Period = time.Minute
	// Announce is the time between two writes of the Cluster's status.
	Announce = 15 * time.Minute

	firstRetry = time.Second
	// settle is how long news of what is unclaimed are waited for to be all.
	settle = time.Second
	// maxUnclaimed is how many unclaimed releases are named.
	maxUnclaimed = 10
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
	// Managed says that the agent takes what it is made of from the hub.
	Managed bool
	// Period is the time between two renewals of the Lease; Period is the longest that the hub does not take for silence.
	Period time.Duration
	// Unclaimed, if set, returns the unclaimed releases of the agent, and whether that is known yet.
	Unclaimed func() (releases []types.NamespacedName, known bool)
	Log       logrus.FieldLogger
	Clock     clock.WithTicker
}

// Heartbeat tells the hub that the agent is there.
type Heartbeat struct {
	opts      Options
	announced time.Time
	// told is what was announced of unclaimed releases.
	told unclaimed
	now  chan struct{}
	look chan struct{}
}

// unclaimed is what is told of unclaimed releases.
type unclaimed struct {
	known bool
	count int
	// names of the first of them, in one line.
	names string
}

// New returns a heartbeat that does not beat until Run.
func New(opts Options) *Heartbeat {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	opts.Log = opts.Log.WithField("controller", "heartbeat")
	if opts.Period == 0 {
		opts.Period = Period
	}
	return &Heartbeat{opts: opts, now: make(chan struct{}, 1), look: make(chan struct{}, 1)}
}

// Now makes the heart beat at once, and the Cluster's status be written.
func (h *Heartbeat) Now() {
	select {
	case h.now <- struct{}{}:
	default:
	}
}

// Look has what is unclaimed looked at in a moment, and announced if it is not
// what was announced before.
func (h *Heartbeat) Look() {
	select {
	case h.look <- struct{}{}:
	default:
	}
}

// Run beats until ctx ends. While the hub does not answer it tries again ever
// more rarely, at times of its own, until it tries once per Period.
func (h *Heartbeat) Run(ctx context.Context) {
	retry := firstRetry
	for {
		wait := h.opts.Period
		if err := h.beat(ctx); err != nil {
			h.opts.Log.WithError(err).Warn("Heartbeat failed")
			wait = retry + rand.N(retry/2+1) //nolint:gosec // spreads agents, keeps no secret
			retry = min(2*retry, h.opts.Period)
		} else {
			retry = firstRetry
		}
		if !h.rest(ctx, wait) {
			return
		}
	}
}

// rest returns when the heart is to beat again, or false when ctx ends.
func (h *Heartbeat) rest(ctx context.Context, wait time.Duration) bool {
	timer := h.opts.Clock.NewTimer(wait)
	defer timer.Stop()
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C():
			return true
		case <-h.now:
			h.announced = time.Time{}
			return true
		case <-h.look:
			if settled == nil {
				soon := h.opts.Clock.NewTimer(settle)
				defer soon.Stop()
				settled = soon.C()
			}
		case <-settled:
			if settled = nil; h.unclaimed() != h.told {
				return true
			}
		}
	}
}

// unclaimed returns what there is to tell of unclaimed releases.
func (h *Heartbeat) unclaimed() unclaimed {
	if h.opts.Unclaimed == nil {
		return unclaimed{}
	}
	releases, known := h.opts.Unclaimed()
	if !known {
		return h.told
	}
	list := make([]string, len(releases))
	for i, key := range releases {
		list[i] = key.String()
	}
	slices.Sort(list)
	return unclaimed{known: true, count: len(list), names: strings.Join(list[:min(len(list), maxUnclaimed)], " ")}
}

// due says whether it is time to announce the agent. A clock that was set back
// must not make it look as if it were away.
func (h *Heartbeat) due(now time.Time) bool {
	since := now.Sub(h.announced)
	return since < 0 || since >= Announce
}

// beat renews the Lease and, when it is time, announces the agent.
func (h *Heartbeat) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.opts.Period/2)
	defer cancel()
	now, unclaimed := h.opts.Clock.Now(), h.unclaimed()
	if err := h.renew(ctx, now); err != nil {
		return err
	}
	if !h.due(now) && unclaimed == h.told {
		return nil
	}
	if err := h.announce(ctx, now, unclaimed); err != nil {
		return err
	}
	h.announced, h.told = now, unclaimed
	return nil
}

func (h *Heartbeat) renew(ctx context.Context, now time.Time) error {
	seconds := int32(3 * h.opts.Period / time.Second)
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
func (h *Heartbeat) announce(ctx context.Context, now time.Time, u unclaimed) error {
	agent := map[string]any{"lastSeen": metav1.NewTime(now), "namespace": h.opts.Agent, "managed": nil}
	if h.opts.Managed {
		agent["managed"] = true
	}
	if u.known {
		// What is not said any more has to be taken back.
		agent["unclaimedReleases"], agent["unclaimed"] = nil, nil
		if u.count > 0 {
			agent["unclaimedReleases"], agent["unclaimed"] = u.count, strings.Fields(u.names)
		}
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"agent": agent}})
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
