package drift

import (
	"fmt"
	"time"
)

// Bounds of a Bout.
const (
	// atOnce is how many corrections are made without a wait.
	atOnce = 3
	// firstWait follows them; each wait is twice as long as the one before, up to lastWait.
	firstWait = 2 * time.Second
	lastWait  = 5 * time.Minute
	// calm is how long an object must have stayed as corrected, at least, for its bout to be over.
	calm = time.Minute
)

// Bout is the struggle about one object with somebody who changes it back. The
// zero value is none.
type Bout struct {
	// Corrections so far, or attempts that failed.
	Corrections int
	// Last is when the last one was.
	Last time.Time
	// Waits counts those after which the next one has to wait.
	Waits int
}

// Due returns when the next correction is due: a time that is not after now is
// at once.
func (b Bout) Due() time.Time { return b.Last.Add(b.wait()) }

// wait is the time between the last correction and the next one.
func (b Bout) wait() time.Duration {
	if b.Waits == 0 {
		return 0
	}
	if shift := b.Waits - 1; shift < 16 {
		return min(firstWait<<shift, lastWait)
	}
	return lastWait
}

// Over says whether the object has been left alone for so long that the next
// change of it is another matter.
func (b Bout) Over(now time.Time) bool { return now.Sub(b.Last) > max(calm, 2*b.wait()) }

// Corrected returns the bout after one more correction.
func (b Bout) Corrected(now time.Time) Bout {
	if b.Over(now) {
		b = Bout{}
	}
	b.Corrections, b.Last = b.Corrections+1, now
	if b.Corrections >= atOnce {
		b.Waits++
	}
	return b
}

// Failed returns the bout after a correction that failed: the next one waits.
func (b Bout) Failed(now time.Time) Bout {
	if b.Over(now) {
		b = Bout{}
	}
	b.Corrections, b.Last, b.Waits = b.Corrections+1, now, b.Waits+1
	return b
}

// Says tells that the object is changed back, by whom, and when it is corrected
// next.
func (b Bout) Says(c Change) string {
	return fmt.Sprintf("corrected %d times and changed back each time%s; the next correction is due at %s",
		b.Corrections, c, b.Due().UTC().Format(time.RFC3339))
}
