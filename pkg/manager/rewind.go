package manager

import (
	"context"
	"errors"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// errRewound ends a manager whose hub was restored from a backup. A watch that
// was open before stays silent until the store has caught up with the version
// that the watch stood at, and the API server does not say so: everything in
// memory is of a future that is not going to happen. A new process begins with
// what is there now.
var errRewound = errors.New("the hub's store has gone back in time, as after a restored backup: starting anew")

// rewind notices, on the lease that the leader renews all the time, that the
// hub's store has gone back in time: versions only ever grow.
type rewind struct {
	coordinationclient.LeasesGetter
	// found is called, once, when that is seen.
	found func()

	mu     sync.Mutex
	newest string
	told   bool
}

// Leases returns the leases of a namespace.
func (r *rewind) Leases(namespace string) coordinationclient.LeaseInterface {
	return rewindLeases{r.LeasesGetter.Leases(namespace), r}
}

type rewindLeases struct {
	coordinationclient.LeaseInterface
	rewind *rewind
}

// Get reads the lease.
func (l rewindLeases) Get(ctx context.Context, name string, opts metav1.GetOptions) (*coordinationv1.Lease, error) {
	return l.rewind.note(l.LeaseInterface.Get(ctx, name, opts))
}

// Update renews the lease.
func (l rewindLeases) Update(ctx context.Context, lease *coordinationv1.Lease, opts metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	return l.rewind.note(l.LeaseInterface.Update(ctx, lease, opts))
}

// note compares the lease with what was seen of it before. The elector makes
// one request after the other, so that each answer is of a later moment.
func (r *rewind) note(lease *coordinationv1.Lease, err error) (*coordinationv1.Lease, error) {
	if err != nil {
		return lease, err
	}
	r.mu.Lock()
	before := r.newest
	r.newest = lease.ResourceVersion
	order, unreadable := resourceversion.CompareResourceVersion(lease.ResourceVersion, before)
	tell := !r.told && before != "" && unreadable == nil && order < 0
	r.told = r.told || tell
	r.mu.Unlock()
	if tell {
		r.found()
	}
	return lease, nil
}
