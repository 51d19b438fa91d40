package garbagecollector

import (
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// ledgers remembers, by bundle, what is to be judged, what was decided and what
// is held. All of it can be lost: a fresh start judges everything, and what was
// held shows in the bundle's condition.
type ledgers struct {
	mu      sync.Mutex
	bundles map[ownership.ID]*ledger
}

type ledger struct {
	// all says that every deployment is to be judged, some names those that are.
	all   bool
	since time.Time
	some  map[ownership.ID]pending
	// busy says that a worker judges the bundle now; judged that one has, once.
	busy, judged bool
	// edited says that the targets were seen to change.
	edited bool
	brake  ownership.Brake
	// held is what waits for a person's word, and why.
	held map[ownership.ID]string
	// sent is what was deleted, of which the watch has not told yet.
	sent map[ownership.ID]types.UID
	// orphans were said to be such.
	orphans map[ownership.ID]bool
}

// pending is why a deployment is to be judged.
type pending struct {
	since time.Time
	fresh bool
}

// work is what a worker takes out of a ledger.
type work struct {
	all   bool
	since time.Time
	some  map[ownership.ID]pending
}

// sinceOf returns when the event came because of which a deployment is judged.
func (w work) sinceOf(id ownership.ID) time.Time {
	if p, ok := w.some[id]; ok {
		return p.since
	}
	return w.since
}

func newLedgers() *ledgers { return &ledgers{bundles: map[ownership.ID]*ledger{}} }

func (ls *ledgers) of(bundle ownership.ID) *ledger {
	l := ls.bundles[bundle]
	if l == nil {
		l = &ledger{}
		ls.bundles[bundle] = l
	}
	return l
}

// with runs f over the bundle's ledger.
func (ls *ledgers) with(bundle ownership.ID, f func(*ledger)) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	f(ls.of(bundle))
}

// note has one deployment judged.
func (ls *ledgers) note(bundle, deployment ownership.ID, p pending) {
	ls.with(bundle, func(l *ledger) {
		if l.some == nil {
			l.some = map[ownership.ID]pending{}
		}
		if have, ok := l.some[deployment]; ok {
			p.since, p.fresh = have.since, p.fresh || have.fresh
		}
		l.some[deployment] = p
	})
}

// noteAll has all deployments of the bundle judged.
func (ls *ledgers) noteAll(bundle ownership.ID, at time.Time) {
	ls.with(bundle, func(l *ledger) { l.whole(at) })
}

func (l *ledger) whole(at time.Time) {
	if !l.all {
		l.all, l.since = true, at
	}
}

// noteEdit remembers that the bundle's targets were seen to change.
func (ls *ledgers) noteEdit(bundle ownership.ID) {
	ls.with(bundle, func(l *ledger) { l.edited = true })
}

// take hands out what is to be judged.
func (ls *ledgers) take(bundle ownership.ID) work {
	var w work
	ls.with(bundle, func(l *ledger) {
		w = work{l.all, l.since, l.some}
		l.all, l.some, l.busy = false, nil, true
	})
	return w
}

// done ends what take began. What failed is to be judged again.
func (ls *ledgers) done(bundle ownership.ID, w work, failed bool) {
	ls.with(bundle, func(l *ledger) {
		l.busy = false
		if !failed {
			l.judged = true
			return
		}
		if w.all {
			if !l.all || w.since.Before(l.since) {
				l.all, l.since = true, w.since
			}
		}
		for id, p := range w.some {
			if have, ok := l.some[id]; ok {
				p.fresh = p.fresh || have.fresh
			}
			if l.some == nil {
				l.some = map[ownership.ID]pending{}
			}
			l.some[id] = p
		}
	})
}

// confirm notes that the watch shows a deployment as deleted. It says whether
// it was held: then somebody deleted it by name.
func (ls *ledgers) confirm(bundle, deployment ownership.ID) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.bundles[bundle]
	if l == nil {
		return false
	}
	delete(l.sent, deployment)
	delete(l.orphans, deployment)
	_, held := l.held[deployment]
	delete(l.held, deployment)
	if held {
		l.brake.Ease(len(l.held))
	}
	return held
}

// forget drops the ledger of a bundle that is gone.
func (ls *ledgers) forget(bundle ownership.ID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.bundles, bundle)
}

// holding is what is held of one bundle.
type holding struct {
	// known is false until the bundle was judged, and while it is to be again.
	known bool
	held  map[ownership.ID]string
}

// holdingOf returns what is held of a bundle.
func (ls *ledgers) holdingOf(bundle ownership.ID) holding {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.bundles[bundle]
	if l == nil {
		return holding{}
	}
	return holding{known: l.judged, held: maps.Clone(l.held)}
}

// settled says whether a bundle was judged and nothing is to be judged or held.
func (ls *ledgers) settled(bundle ownership.ID) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.bundles[bundle]
	return l != nil && l.judged && !l.busy && !l.all && len(l.some) == 0 && len(l.held) == 0
}

// totals counts what is held and what has no owner, for metrics.
func (ls *ledgers) totals() (held, orphans int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.bundles {
		held += len(l.held)
		orphans += len(l.orphans)
	}
	return held, orphans
}

// distinctReasons returns each reason once.
func distinctReasons(held map[ownership.ID]string) []string {
	return slices.Compact(slices.Sorted(maps.Values(held)))
}
