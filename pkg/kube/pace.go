package kube

import "time"

// pace decides when a key runs that events wake: a lone event at once, the rest
// of a storm together.
//
// Between two runs of a key lies a window. It grows while each run has to do
// with many events, and shrinks again when they get fewer. Over all keys, runs
// keep to a rate: where the keys are too many for it, each waits for its turn
// and collects what comes meanwhile.
type pace struct {
	window, maxWindow time.Duration
	// every is the time between two turns; zero if there is no rate. slack is
	// how far turns may run ahead of it.
	every, slack time.Duration
	// turn is the latest turn that was given.
	turn time.Time

	keys    map[Key]*paced
	sweepAt int
}

// paced is what is known of one key.
type paced struct {
	// ran is when it last ran, the zero time if never; due when it will.
	ran, due time.Time
	window   time.Duration
	// events are those since it last ran; busy is how many runs in a row had
	// many.
	events, busy int
	// yielding is since when it waits because of a heavy load, the zero time if
	// it does not.
	yielding time.Time
}

const (
	// So many runs in a row, each for so many events, make the window grow: an
	// edit of a few clusters is over before. A run for few makes it shrink.
	busyRuns, manyEvents, fewEvents = 2, 2, 1
	// turnsAhead is how many runs a queue that was idle may do at once.
	turnsAhead = 64
	minSweep   = 4096
	// A key yields for so long at a time, and for so long altogether.
	yieldFor, maxYield = 100 * time.Millisecond, 5 * time.Second
)

func newPace(window, maxWindow time.Duration, rate int) *pace {
	p := &pace{window: window, maxWindow: max(window, maxWindow), keys: map[Key]*paced{}, sweepAt: minSweep}
	if rate > 0 {
		p.every = time.Second / time.Duration(rate)
		p.slack = turnsAhead * p.every
	}
	return p
}

// event notes an event and returns after how much time the key is to run;
// false if that was said before.
func (p *pace) event(key Key, now time.Time) (time.Duration, bool) {
	k := p.key(key, now)
	if k.events++; (k.events > 1 || !k.yielding.IsZero()) && k.due.After(now) {
		return 0, false
	}
	if now.Sub(k.ran) >= 2*k.window {
		// It was quiet for long enough to begin anew.
		k.window, k.busy = p.window, 0
	}
	k.due = latest(now, k.ran.Add(k.window), p.nextTurn(now))
	return k.due.Sub(now), true
}

// nextTurn gives away the next turn.
func (p *pace) nextTurn(now time.Time) time.Time {
	if p.every == 0 {
		return now
	}
	p.turn = latest(p.turn, now.Add(-p.slack)).Add(p.every)
	return p.turn
}

// runs notes that the key begins to run.
func (p *pace) runs(key Key, now time.Time) {
	k := p.key(key, now)
	switch {
	case k.events >= manyEvents:
		if k.busy++; k.busy >= busyRuns {
			k.window = min(2*k.window, p.maxWindow)
		}
	case k.events <= fewEvents:
		k.window, k.busy = max(k.window/2, p.window), 0
	}
	k.ran, k.events, k.yielding = now, 0, time.Time{}
}

// yield puts the key off, unless it has waited for long enough.
func (p *pace) yield(key Key, now time.Time) bool {
	k := p.key(key, now)
	if k.yielding.IsZero() {
		k.yielding = now
	}
	if now.Sub(k.yielding) >= maxYield {
		return false
	}
	k.due = now.Add(yieldFor)
	return true
}

func (p *pace) key(key Key, now time.Time) *paced {
	k := p.keys[key]
	if k == nil {
		p.sweep(now)
		k = &paced{window: p.window}
		p.keys[key] = k
	}
	return k
}

// sweep forgets keys whose last run holds nothing back any more.
func (p *pace) sweep(now time.Time) {
	if len(p.keys) < p.sweepAt {
		return
	}
	for key, k := range p.keys {
		if k.events == 0 && now.Sub(k.ran) > 2*p.maxWindow {
			delete(p.keys, key)
		}
	}
	p.sweepAt = max(minSweep, 2*len(p.keys))
}

func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}
