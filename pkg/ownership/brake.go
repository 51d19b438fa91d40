package ownership

import "time"

// Limits say how many deployments of one bundle side effects may take away.
type Limits struct {
	// Deployments and Percent, of the bundle's deployments, must both be
	// exceeded within Window before the rest is held.
	Deployments int
	Percent     int
	Window      time.Duration
}

// Defaults of Limits.
const (
	DefaultBrakeDeployments = 10
	DefaultBrakePercent     = 25
	DefaultBrakeWindow      = 10 * time.Minute
)

// OrDefaults returns the limits with defaults where they are not positive.
func (l Limits) OrDefaults() Limits {
	if l.Deployments <= 0 {
		l.Deployments = DefaultBrakeDeployments
	}
	if l.Percent <= 0 {
		l.Percent = DefaultBrakePercent
	}
	if l.Window <= 0 {
		l.Window = DefaultBrakeWindow
	}
	return l
}

// Brake limits what side effects take away from one bundle. Once it holds
// something, it lets nothing through until it is released: what is held must
// not trickle away as time goes by. The zero Brake holds nothing.
type Brake struct {
	spent []spending
	holds bool
}

type spending struct {
	at time.Time
	n  int
}

// Allow returns how many of the bundle's deployments that a side effect would
// take away may go. unmarked is how many deployments the bundle has, these
// included. What is over the limit is held from then on.
func (b *Brake) Allow(now time.Time, limits Limits, wanted, unmarked int) int {
	if wanted == 0 {
		return 0
	}
	if b.holds {
		return 0
	}
	spent := b.within(now, limits.Window)
	budget := max(limits.Deployments, (unmarked+spent)*limits.Percent/100)
	allowed := min(wanted, max(budget-spent, 0))
	b.holds = allowed < wanted
	return allowed
}

// Spend notes that n deployments went because of a side effect.
func (b *Brake) Spend(now time.Time, n int) {
	if n > 0 {
		b.spent = append(b.spent, spending{now, n})
	}
}

// Holds says whether the brake is on.
func (b *Brake) Holds() bool { return b.holds }

// Hold puts the brake on.
func (b *Brake) Hold() { b.holds = true }

// Release takes the brake off, and forgets what went before.
func (b *Brake) Release() { *b = Brake{} }

// Ease takes the brake off if nothing is held any more. What went before still
// counts.
func (b *Brake) Ease(held int) {
	if held == 0 {
		b.holds = false
	}
}

// Idle says whether the brake has nothing to remember.
func (b *Brake) Idle(now time.Time, window time.Duration) bool {
	return !b.holds && b.within(now, window) == 0
}

// within returns how many went within the window, and forgets older ones.
func (b *Brake) within(now time.Time, window time.Duration) int {
	n, keep := 0, b.spent[:0]
	for _, s := range b.spent {
		if now.Sub(s.at) < window {
			keep = append(keep, s)
			n += s.n
		}
	}
	b.spent = keep
	return n
}
