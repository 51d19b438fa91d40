package ownership

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestBrake(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	limits := Limits{}.OrDefaults()
	// step asks for removals and spends what is allowed.
	type step struct {
		after    time.Duration // since the start
		wanted   int
		unmarked int
		release  bool
		ease     bool // what was held matches again
		want     int
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"a few go", []step{{wanted: 10, unmarked: 10, want: 10}}},
		{"of a large bundle, a quarter goes", []step{{wanted: 250, unmarked: 1000, want: 250}}},
		{"of more than that, the rest is held", []step{{wanted: 300, unmarked: 1000, want: 250}}},
		{"of a small bundle, ten go", []step{{wanted: 12, unmarked: 12, want: 10}}},
		{"one by one comes to the same", []step{
			{wanted: 6, unmarked: 12, want: 6}, {after: time.Minute, wanted: 6, unmarked: 6, want: 4},
		}},
		{"the share is of what there was", []step{
			{wanted: 100, unmarked: 400, want: 100}, {after: time.Minute, wanted: 1, unmarked: 300, want: 0},
		}},
		{"after the window it starts anew", []step{
			{wanted: 10, unmarked: 40, want: 10}, {after: 10 * time.Minute, wanted: 10, unmarked: 30, want: 10},
		}},
		{"what is held does not trickle away", []step{
			{wanted: 12, unmarked: 12, want: 10}, {after: time.Hour, wanted: 2, unmarked: 2, want: 0},
		}},
		{"while something is held, so is what comes", []step{
			{wanted: 12, unmarked: 40, want: 10}, {after: time.Hour, wanted: 1, unmarked: 30, want: 0},
		}},
		{"released, it goes", []step{
			{wanted: 12, unmarked: 12, want: 10}, {wanted: 2, unmarked: 2, release: true, want: 2},
		}},
		{"what matches again holds nothing up, but what went counts", []step{
			{wanted: 12, unmarked: 12, want: 10}, {wanted: 1, unmarked: 2, ease: true, want: 0},
		}},
		{"nothing wanted, nothing held", []step{{wanted: 0, unmarked: 3, want: 0}, {wanted: 3, unmarked: 3, want: 3}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b Brake
			for i, s := range tt.steps {
				now := start.Add(s.after)
				if s.release {
					b.Release()
				}
				if s.ease {
					b.Ease(0)
				}
				got := b.Allow(now, limits, s.wanted, s.unmarked)
				if got != s.want {
					t.Errorf("step %d: %d may go, want %d", i, got, s.want)
				}
				if b.Holds() != (got < s.wanted) {
					t.Errorf("step %d: holds is %t", i, b.Holds())
				}
				b.Spend(now, got)
			}
		})
	}
}

// However removals are spread over calls, no window sees more than the limits.
func TestBrakeInAnyWindow(t *testing.T) {
	type gone struct {
		at time.Time
		n  int
	}
	limits := Limits{Deployments: 5, Percent: 20, Window: time.Minute}
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 2))
		var b Brake
		now := time.Unix(0, 0)
		unmarked := r.IntN(200)
		var went []gone
		for range 60 {
			now = now.Add(time.Duration(r.IntN(30)) * time.Second)
			if b.Holds() && r.IntN(2) == 0 {
				b.Ease(0)
			}
			unmarked += r.IntN(3)
			n := b.Allow(now, limits, r.IntN(unmarked+1), unmarked)
			b.Spend(now, n)
			inWindow := n
			for _, g := range went {
				if now.Sub(g.at) < limits.Window {
					inWindow += g.n
				}
			}
			if limit := max(limits.Deployments, (unmarked+inWindow-n)*limits.Percent/100); n > 0 && inWindow > limit {
				t.Fatalf("seed %d: %d of %d went within a window, more than %d", seed, inWindow, unmarked, limit)
			}
			went = append(went, gone{now, n})
			unmarked -= n
		}
	}
}
