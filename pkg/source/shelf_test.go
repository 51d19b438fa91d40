package source

import (
	"strconv"
	"testing"
	"time"
)

type thing struct{ needed bool }

func (t *thing) idle(time.Time) bool { return !t.needed }

func TestShelfForgetsOnlyWhatNobodyNeeds(t *testing.T) {
	s := newShelf(func() *thing { return &thing{} })
	kept := s.of("kept")
	kept.needed = true
	first := s.of("0")
	for i := range maxShelf {
		s.of(strconv.Itoa(i))
	}
	if s.of("kept") != kept {
		t.Error("what is needed was forgotten")
	}
	if s.of("0") == first {
		t.Error("what nobody needs was kept")
	}
	if len(s.all) > maxShelf {
		t.Errorf("it keeps %d", len(s.all))
	}
}

// A host that is left alone stays so, however many others are asked.
func TestGateThatIsClosedIsNotForgotten(t *testing.T) {
	now := time.Now()
	g := &gate{}
	if !g.idle(now) {
		t.Error("a gate that nothing closed is kept")
	}
	g.failures, g.until = 1, now.Add(time.Second)
	if g.idle(now) {
		t.Error("a gate that is closed is forgotten")
	}
	if g.idle(now.Add(maxGate)) {
		t.Error("how often a host has failed is forgotten too soon")
	}
	if !g.idle(now.Add(2*maxGate + time.Second)) {
		t.Error("a host that nobody asks any more is kept")
	}
}
