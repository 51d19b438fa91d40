package kube

import (
	"errors"
	"math/rand/v2"
	"testing"
)

type said struct{ Words []string }

func TestEchoes(t *testing.T) {
	var e Echoes[said]
	key := Key{Name: "a"}
	if e.Is(key, said{}) {
		t.Error("nothing was said, and there is an echo")
	}
	heard := false
	err := e.Send(key, said{Words: []string{"one"}}, func() error {
		// The watch is faster than the answer.
		if e.Is(Key{Name: "b"}, said{Words: []string{"one"}}) {
			t.Error("somebody else's words are taken for ours")
		}
		if e.Is(key, said{Words: []string{"two"}}) {
			t.Error("other words are taken for an echo")
		}
		heard = e.Is(key, said{Words: []string{"one"}})
		return nil
	})
	if err != nil || !heard {
		t.Fatalf("error %v, heard %v", err, heard)
	}
	if e.Is(key, said{Words: []string{"one"}}) {
		t.Error("there are two echoes of one write")
	}
	refused := errors.New("refused")
	if err := e.Send(key, said{Words: []string{"three"}}, func() error { return refused }); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
	if e.Is(key, said{Words: []string{"three"}}) {
		t.Error("a write that failed has an echo")
	}
}

// However late the watch is, and whatever goes back and forth meanwhile: when
// nothing changes any more, the store says what it should.
func TestEchoesLoseNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	key := Key{Name: "a"}
	for story := range 20_000 {
		var e Echoes[int]
		should, store, cache := 0, 0, 0
		var events []int
		looks := 1
		look := func() {
			behind := e.Begin(key)
			shown, want := cache, should
			deliver := func() {
				// An event comes between what a look reads and what it does.
				if len(events) > 0 && r.IntN(3) == 0 {
					cache, events = events[0], events[1:]
					if !e.Is(key, cache) {
						looks++
					}
				}
			}
			deliver()
			if shown == want {
				if LookAgain(behind) != nil {
					looks++
				}
				return
			}
			_ = e.Send(key, want, func() error {
				if shown != store {
					// Another version: the event of what is there is to come.
					return errors.New("conflict")
				}
				store = want
				events = append(events, want)
				deliver()
				return nil
			})
		}
		for step := range 30 {
			switch r.IntN(3) {
			case 0:
				if step < 15 {
					should = r.IntN(2)
					looks++
				}
			case 1:
				if len(events) > 0 {
					cache, events = events[0], events[1:]
					if !e.Is(key, cache) {
						looks++
					}
				}
			case 2:
				if looks > 0 {
					looks--
					look()
				}
			}
		}
		for range 100 {
			if len(events) > 0 {
				cache, events = events[0], events[1:]
				if !e.Is(key, cache) {
					looks++
				}
			} else if looks > 0 {
				looks--
				look()
			}
		}
		if store != should {
			t.Fatalf("story %d: the store says %d, and should say %d", story, store, should)
		}
	}
}
