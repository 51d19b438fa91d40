package watchset

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

func resources(names ...string) []Resource {
	var all []Resource
	for _, name := range names {
		all = append(all, Resource{Version: "v1", Resource: name})
	}
	return all
}

func TestCounts(t *testing.T) {
	c := newCounts()
	for i, step := range []struct {
		owner            string
		wanted           []Resource
		started, stopped []Resource
	}{
		{owner: "a", wanted: resources("x", "y"), started: resources("x", "y")},
		{owner: "b", wanted: resources("y", "z"), started: resources("z")},
		{owner: "a", wanted: resources("x", "y")},
		{owner: "a", wanted: resources("y"), stopped: resources("x")},
		{owner: "b", stopped: resources("z")},
		{owner: "b"},
		{owner: "a", wanted: resources("w"), started: resources("w"), stopped: resources("y")},
		{owner: "a", stopped: resources("w")},
	} {
		started, stopped := c.set(step.owner, step.wanted)
		if !slices.Equal(started, step.started) || !slices.Equal(stopped, step.stopped) {
			t.Errorf("step %d starts %v and stops %v, want %v and %v", i, started, stopped, step.started, step.stopped)
		}
	}
	if len(c.byOwner) != 0 || len(c.byResource) != 0 {
		t.Errorf("left are %v and %v", c.byOwner, c.byResource)
	}
}

// Whatever owners come and go, what runs is what at least one of them wants.
func TestCountsMatchWhatIsWanted(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	c := newCounts()
	wanted := map[string][]Resource{}
	running := map[Resource]bool{}
	for range 5000 {
		owner := fmt.Sprint(random.IntN(6))
		var want []Resource
		for _, r := range resources("u", "v", "w", "x", "y", "z") {
			if random.IntN(3) == 0 {
				want = append(want, r)
			}
		}
		wanted[owner] = want
		started, stopped := c.set(owner, want)
		for _, r := range started {
			if running[r] {
				t.Fatalf("%v is started twice", r)
			}
			running[r] = true
		}
		for _, r := range stopped {
			if !running[r] {
				t.Fatalf("%v is stopped though it does not run", r)
			}
			delete(running, r)
		}
		expected := map[Resource]bool{}
		for _, list := range wanted {
			for _, r := range list {
				expected[r] = true
			}
		}
		if !maps.Equal(running, expected) {
			t.Fatalf("running are %v, wanted %v", running, expected)
		}
	}
}
