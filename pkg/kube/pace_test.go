package kube

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// driver runs what a pace says is due, the way a queue with enough workers
// does, over a clock of its own.
type driver struct {
	*pace
	now  time.Duration
	due  map[Key]time.Duration
	runs []string
}

func drive(p *pace) *driver { return &driver{pace: p, due: map[Key]time.Duration{}} }

// at is the instant at the given time of the story, which does not begin at
// the zero time.
func at(d time.Duration) time.Time {
	return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).Add(d)
}

// until lets time pass.
func (d *driver) until(end time.Duration) {
	for {
		var next Key
		found := false
		for key, t := range d.due {
			if t <= end && (!found || t < d.due[next] || t == d.due[next] && key.Name < next.Name) {
				next, found = key, true
			}
		}
		if !found {
			d.now = end
			return
		}
		d.now = max(d.now, d.due[next])
		delete(d.due, next)
		d.pace.runs(next, at(d.now))
		d.runs = append(d.runs, fmt.Sprintf("%s@%d", next.Name, d.now.Milliseconds()))
	}
}

func (d *driver) event(key string, t time.Duration) {
	d.until(t)
	if after, due := d.pace.event(Key{Name: key}, at(t)); due {
		d.due[Key{Name: key}] = t + after
	}
}

const ms = time.Millisecond

func TestPaceTellsAStory(t *testing.T) {
	tests := []struct {
		name   string
		events func(d *driver)
		want   []string
	}{
		{
			name:   "a lone change shows at once",
			events: func(d *driver) { d.event("a", 0); d.event("a", 3000*ms) },
			want:   []string{"a@0", "a@3000"},
		},
		{
			name:   "the steps of one edit show within a window each",
			events: func(d *driver) { d.event("a", 0); d.event("a", 20*ms); d.event("a", 80*ms); d.event("a", 120*ms) },
			want:   []string{"a@0", "a@50", "a@100", "a@150"},
		},
		{
			name: "an edit of ten clusters is no storm",
			events: func(d *driver) {
				for i := range 10 {
					d.event("a", time.Duration(40+i)*ms)
				}
				d.event("a", 100*ms)
			},
			want: []string{"a@40", "a@90", "a@140"},
		},
		{
			name: "in a storm the window grows, the end of it shows, and after it all is as before",
			events: func(d *driver) {
				for i := range 625 {
					d.event("a", time.Duration(i)*4*ms)
				}
				d.event("a", 6000*ms)
				d.event("a", 6001*ms)
			},
			want: []string{"a@0", "a@50", "a@100", "a@200", "a@400", "a@800", "a@1600", "a@2600", "a@6000", "a@6050"},
		},
		{
			name: "when changes get fewer, the window shrinks",
			events: func(d *driver) {
				for i := range 125 {
					d.event("a", time.Duration(i)*4*ms)
				}
				d.until(750 * ms)
				d.event("a", 800*ms)
				d.event("a", 1600*ms)
				d.event("a", 2000*ms)
			},
			want: []string{"a@0", "a@50", "a@100", "a@200", "a@400", "a@800", "a@1600", "a@2000", "a@2200"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(newPace(50*ms, time.Second, 0))
			tt.events(d)
			d.until(time.Minute)
			if !slices.Equal(d.runs, tt.want) {
				t.Errorf("got  %v\nwant %v", d.runs, tt.want)
			}
		})
	}
}

// Three hundred clusters get ten deployments each within three seconds: their
// statuses must not cost as much as the deployments.
func TestPaceOfACrowd(t *testing.T) {
	const clusters, bundles, rate = 300, 10, 100
	d := drive(newPace(50*ms, time.Second, rate))
	for b := range bundles {
		for c := range clusters {
			d.event(fmt.Sprintf("c%03d", c), time.Duration(b*clusters+c)*ms)
		}
	}
	during := len(d.runs)
	d.until(time.Minute)
	if most := turnsAhead + 3*rate + 1; during > most {
		t.Errorf("%d runs while the events came, want at most %d", during, most)
	}
	if most := during + clusters; len(d.runs) > most {
		t.Errorf("%d runs in all, want at most %d", len(d.runs), most)
	}
	last := map[string]int{}
	for _, run := range d.runs {
		var name string
		var when int
		if _, err := fmt.Sscanf(run, "c%3s@%d", &name, &when); err != nil {
			t.Fatal(err)
		}
		last[name] = when
	}
	for c := range clusters {
		name := fmt.Sprintf("%03d", c)
		if ended := (bundles-1)*clusters + c; last[name] < ended {
			t.Errorf("the last event of cluster %s, at %d, was never looked at", name, ended)
		}
		if patience := 3000 + clusters*1000/rate + 1000; last[name] > patience {
			t.Errorf("cluster %s was looked at last at %d, want before %d", name, last[name], patience)
		}
	}
}

// One edit that touches few keys does not wait for a turn, also when another
// comes soon after.
func TestPaceOfAFew(t *testing.T) {
	d := drive(newPace(50*ms, time.Second, 100))
	for edit := range 3 {
		for key := range 10 {
			d.event(fmt.Sprint(key), time.Duration(edit)*100*ms)
		}
	}
	d.until(time.Minute)
	if len(d.runs) != 30 || d.now != time.Minute {
		t.Fatalf("%d runs", len(d.runs))
	}
	for i, run := range d.runs {
		if want := fmt.Sprintf("%d@%d", i%10, i/10*100); run != want {
			t.Errorf("run %d is %s, want %s", i, run, want)
		}
	}
}

func TestPaceForgetsKeys(t *testing.T) {
	p := newPace(50*ms, time.Second, 0)
	for i := range 20 * minSweep {
		now := at(time.Duration(i) * ms)
		key := Key{Name: fmt.Sprint(i)}
		p.event(key, now)
		p.runs(key, now)
	}
	if len(p.keys) > 3*minSweep {
		t.Errorf("%d keys are remembered", len(p.keys))
	}
}

func BenchmarkPaceEvent(b *testing.B) {
	p := newPace(50*ms, time.Second, 100)
	keys := make([]Key, 10_000)
	for i := range keys {
		keys[i] = Key{Namespace: "fleet-default", Name: fmt.Sprint("cluster-", i)}
	}
	now := at(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now = now.Add(10 * time.Microsecond)
		p.event(keys[i%len(keys)], now)
	}
}

// A key yields for as long as it may, and then runs; after that it may yield
// anew.
func TestPaceYields(t *testing.T) {
	p := newPace(50*ms, 0, 0)
	key := Key{Name: "a"}
	for range 2 {
		start := 10 * time.Second
		for d := time.Duration(0); d < maxYield; d += yieldFor {
			if !p.yield(key, at(start+d)) {
				t.Fatalf("does not yield after %s", d)
			}
			if after, due := p.event(key, at(start+d)); due && after < yieldFor {
				t.Fatalf("an event has it run after %s, while it yields", after)
			}
		}
		if p.yield(key, at(start+maxYield)) {
			t.Fatal("yields for ever")
		}
		p.runs(key, at(start+maxYield))
	}
}
