package kube_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

func TestMarks(t *testing.T) {
	a, b := kube.Key{Namespace: "n", Name: "a"}, kube.Key{Namespace: "n", Name: "b"}
	marks := kube.NewMarks[string]()
	marks.Add(a, "x", "y")
	marks.Add(a, "x")
	marks.AddAll(b)

	taken := marks.Take(a)
	if taken.All || !slices.Equal(sorted(taken.Parts), []string{"x", "y"}) {
		t.Errorf("took %+v of a", taken)
	}
	if again := marks.Take(a); again.All || len(again.Parts) != 0 {
		t.Errorf("took %+v of a twice", again)
	}
	marks.Add(a, "z")
	marks.Restore(a, taken)
	if got := marks.Take(a); !slices.Equal(sorted(got.Parts), []string{"x", "y", "z"}) {
		t.Errorf("after a failure %+v is marked", got)
	}
	all := marks.Take(b)
	if !all.All {
		t.Error("b is not marked as a whole")
	}
	marks.Restore(b, all)
	marks.Restore(b, kube.Marked[string]{})
	if !marks.Take(b).All {
		t.Error("a failure has lost that all of b is marked")
	}
}

// Whatever is added while another goroutine takes is taken exactly by someone.
func TestMarksLoseNothing(t *testing.T) {
	const adders, each = 4, 1000
	key := kube.Key{Name: "k"}
	marks := kube.NewMarks[int]()
	var adding sync.WaitGroup
	for adder := range adders {
		adding.Go(func() {
			for i := range each {
				marks.Add(key, adder*each+i)
			}
		})
	}
	seen := map[int]int{}
	take := func() {
		for part := range marks.Take(key).Parts {
			seen[part]++
		}
	}
	done := make(chan struct{})
	go func() { adding.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		take()
	}
	if len(seen) != adders*each {
		t.Errorf("took %d of %d", len(seen), adders*each)
	}
}

func sorted(parts map[string]struct{}) []string {
	var all []string
	for part := range parts {
		all = append(all, part)
	}
	slices.Sort(all)
	return all
}
