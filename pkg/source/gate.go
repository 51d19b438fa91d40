package source

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/flotilla-gitops/flotilla/pkg/transport"
)

// A host that cannot be reached, or that says it has too much to do, is left
// alone for minGate; the time doubles with each failure, up to maxGate. A host
// may ask for more, up to maxRetryAfter.
const (
	minGate       = time.Second
	maxGate       = 2 * time.Minute
	maxRetryAfter = 15 * time.Minute
	// gateSpread is by what share a wait may be longer, so that not all managers
	// come back at once.
	gateSpread = 0.2
)

// gate keeps requests away from a host that has failed. What is wrong with one
// repository alone closes no gate.
type gate struct {
	mu       sync.Mutex
	failures int
	until    time.Time
	err      error
}

// idle says whether the host has answered, or was asked nothing for long.
func (g *gate) idle(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failures == 0 || now.Sub(g.until) > maxGate
}

// closed returns why the host is left alone at the moment, or nil.
func (g *gate) closed(now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Before(g.until) {
		return g.err
	}
	return nil
}

// note says how asking the host went. secrets are those that it was asked
// with: others will see the error.
func (g *gate) note(now time.Time, err error, secrets *redactor) {
	after, ofHost := hostFailure(err)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !ofHost {
		g.failures, g.until, g.err = 0, time.Time{}, nil
		return
	}
	const doublings = 7 // enough to reach maxGate
	wait := max(min(minGate<<min(g.failures, doublings), maxGate), min(after, maxRetryAfter))
	wait += time.Duration(gateSpread * rand.Float64() * float64(wait)) //nolint:gosec // spreads requests, guards nothing
	g.failures++
	g.until, g.err = now.Add(wait), secrets.bare(err)
}

// busyError is a refusal of a host that has too much to do.
type busyError struct {
	refusal
	after time.Duration
}

func (b *busyError) Error() string { return b.text }
func (b *busyError) Unwrap() error { return &b.refusal }

// hostFailure says whether an error is about the host, not about a repository
// on it, and for how long the host asks to be left alone.
func hostFailure(err error) (after time.Duration, ofHost bool) {
	var busy *busyError
	var refused *refusal
	var linkLocal *transport.LinkLocalError
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case err == nil:
		return 0, false
	case errors.As(err, &busy):
		return busy.after, true
	case errors.As(err, &refused), errors.As(err, &linkLocal):
		return 0, false
	case errors.As(err, &dns):
		return 0, true
	case errors.As(err, &op):
		return 0, op.Op == "dial"
	default:
		return 0, false
	}
}

// busy makes the error for an answer that asks to be left alone.
func busy(text string, retryAfter string, now time.Time) error {
	b := &busyError{refusal: refusal{reason: Unreachable, text: text, hint: "the host has too much to do, and is asked again later"}}
	if seconds, err := time.ParseDuration(retryAfter + "s"); err == nil && seconds > 0 {
		b.after = seconds
	} else if at, err := time.Parse(time.RFC1123, retryAfter); err == nil {
		b.after = at.Sub(now)
	}
	if b.after == 0 {
		b.after = 10 * time.Second
	}
	return b
}
