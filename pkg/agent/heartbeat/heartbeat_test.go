package heartbeat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// bench is a heartbeat on a clock that stands still, and what it does to the
// hub.
type bench struct {
	t     *testing.T
	beat  *Heartbeat
	clock *clocktesting.FakeClock

	mu        sync.Mutex
	lease     *coordinationv1.Lease
	renewals  int
	announced []fleet.AgentStatus
	err       error
	// unclaimed is how many releases are, if that is known.
	unclaimed int
	known     bool
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, clock: clocktesting.NewFakeClock(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))}
	leases := fake.NewClientset()
	leases.PrependReactor("*", "leases", b.onLease)
	hub := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme())
	hub.PrependReactor("patch", "clusters", b.onCluster)
	log := logrus.New()
	log.SetLevel(logrus.PanicLevel)
	b.beat = New(Options{
		Leases: leases.CoordinationV1().Leases("cluster-ns"), Hub: hub,
		Cluster: types.NamespacedName{Namespace: "fleet-default", Name: "downstream"},
		Agent:   names.NamespaceSystem, Holder: "pod-1", Log: log, Clock: b.clock,
		Unclaimed: b.onUnclaimed,
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.beat.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return b
}

func (b *bench) onUnclaimed() ([]types.NamespacedName, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	releases := make([]types.NamespacedName, b.unclaimed)
	for i := range releases {
		releases[i] = types.NamespacedName{Namespace: "web", Name: fmt.Sprintf("app-%02d", i)}
	}
	return releases, b.known
}

func (b *bench) onLease(action clienttesting.Action) (bool, runtime.Object, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return true, nil, b.err
	}
	switch a := action.(type) {
	case clienttesting.PatchAction:
		if b.lease == nil {
			return true, nil, apierrors.NewNotFound(coordinationv1.Resource("leases"), a.GetName())
		}
		b.renewals++
		return true, b.lease, json.Unmarshal(a.GetPatch(), b.lease)
	case clienttesting.CreateAction:
		b.lease = a.GetObject().(*coordinationv1.Lease).DeepCopy()
		return true, b.lease, nil
	}
	return false, nil, nil
}

func (b *bench) onCluster(action clienttesting.Action) (bool, runtime.Object, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	patch := action.(clienttesting.PatchAction)
	var written struct {
		Status map[string]fleet.AgentStatus `json:"status"`
	}
	if err := json.Unmarshal(patch.GetPatch(), &written); err != nil {
		b.t.Errorf("patch is %s: %v", patch.GetPatch(), err)
	}
	if patch.GetSubresource() != "status" || len(written.Status) != 1 {
		b.t.Errorf("patch of %q is %s", patch.GetSubresource(), patch.GetPatch())
	}
	b.announced = append(b.announced, written.Status["agent"])
	return true, &unstructured.Unstructured{}, nil
}

// await polls until ok says so; the heartbeat is waiting for its clock then.
func (b *bench) await(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		b.mu.Lock()
		done := ok()
		b.mu.Unlock()
		if done && b.clock.HasWaiters() {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// pass lets time pass, a period at a time.
func (b *bench) pass(periods int) {
	b.t.Helper()
	for range periods {
		b.mu.Lock()
		before := b.renewals
		b.mu.Unlock()
		b.clock.Step(Period)
		b.await("the lease is renewed", func() bool { return b.renewals > before })
	}
}

func TestHeartBeatsEveryMinuteAndAnnouncesEveryQuarterOfAnHour(t *testing.T) {
	b := newBench(t)
	b.await("the agent is announced", func() bool { return b.lease != nil && len(b.announced) == 1 })
	if holder := *b.lease.Spec.HolderIdentity; holder != "pod-1" || *b.lease.Spec.LeaseDurationSeconds != 180 {
		t.Errorf("lease is %+v", b.lease.Spec)
	}
	if a := b.announced[0]; a.Namespace != names.NamespaceSystem || !a.LastSeen.Equal(&metav1.Time{Time: b.clock.Now()}) {
		t.Errorf("announced is %+v", a)
	}
	b.pass(14)
	if len(b.announced) != 1 {
		t.Errorf("within 14 minutes it is announced %d times", len(b.announced))
	}
	b.pass(2)
	if len(b.announced) != 2 {
		t.Errorf("within 16 minutes it is announced %d times", len(b.announced))
	}
	if renewed := b.lease.Spec.RenewTime.Time; !renewed.Equal(b.clock.Now()) {
		t.Errorf("the lease was renewed at %s, it is %s", renewed, b.clock.Now())
	}
}

func TestHeartBeatsAtOnceWhenTheHubIsBack(t *testing.T) {
	b := newBench(t)
	b.await("the agent is announced", func() bool { return len(b.announced) == 1 })
	b.clock.SetTime(b.clock.Now().Add(time.Second))
	b.beat.Now()
	b.await("the agent is announced again", func() bool { return len(b.announced) == 2 })
}

func TestHeartBeatsMoreRarelyWhileTheHubIsAway(t *testing.T) {
	b := newBench(t)
	b.await("the agent is announced", func() bool { return len(b.announced) == 1 })
	b.mu.Lock()
	b.err = errors.New("connection refused")
	b.mu.Unlock()
	b.clock.Step(Period)
	b.await("the clock is waited for", func() bool { return true })
	b.mu.Lock()
	b.err = nil
	renewals := b.renewals
	b.mu.Unlock()
	// The first try again is due within a second and a half of the failure.
	b.clock.Step(1500*time.Millisecond + time.Nanosecond)
	b.await("the lease is renewed", func() bool { return b.renewals == renewals+1 })
}

func TestErrorsNameTheCluster(t *testing.T) {
	hub := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme())
	hub.PrependReactor("patch", "clusters", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, fmt.Errorf("no")
	})
	h := New(Options{Hub: hub, Cluster: types.NamespacedName{Namespace: "fleet-default", Name: "downstream"}, Log: logrus.New()})
	if err := h.announce(t.Context(), time.Now(), unclaimed{}); err == nil || err.Error() != "announcing agent on Cluster fleet-default/downstream: no" {
		t.Errorf("error is %v", err)
	}
}

func TestUnclaimedReleasesAreAnnouncedWhenTheyChangeAndNotOtherwise(t *testing.T) {
	b := newBench(t)
	b.await("the agent is announced", func() bool { return len(b.announced) == 1 })
	steps := []struct {
		releases int
		known    bool
		written  bool
	}{
		{0, true, true}, // what an earlier agent said is taken back
		{0, true, false},
		{12, true, true},
		{12, true, false},
		{0, false, false}, // not known is not none
		{0, true, true},
	}
	announced := 1
	for i, step := range steps {
		b.mu.Lock()
		b.unclaimed, b.known = step.releases, step.known
		b.mu.Unlock()
		b.beat.Look()
		b.await("it is waited for more news", func() bool { return b.clock.Waiters() == 2 })
		b.clock.Step(settle)
		if step.written {
			announced++
			b.await("it is announced", func() bool { return len(b.announced) == announced })
			said := b.announced[announced-1]
			if said.UnclaimedReleases != step.releases || len(said.Unclaimed) != min(step.releases, maxUnclaimed) {
				t.Errorf("step %d: announced is %+v", i, said)
			}
		}
		b.await("the heart rests", func() bool { return b.clock.Waiters() == 1 })
		if len(b.announced) != announced {
			t.Errorf("step %d: it is announced %d times, want %d", i, len(b.announced), announced)
		}
	}
}

// A clock that is set back by a day does not keep the agent from being announced
// for that day.
func TestClockThatIsSetBackKeepsNothingFromBeingAnnounced(t *testing.T) {
	b := newBench(t)
	b.await("the agent is announced", func() bool { return len(b.announced) == 1 })
	before := b.beat.announced
	if b.beat.due(before.Add(Announce-time.Second)) || !b.beat.due(before.Add(Announce)) || !b.beat.due(before.Add(-24*time.Hour)) {
		t.Error("the agent is announced at other times than every quarter of an hour, and when the clock was set back")
	}
}
