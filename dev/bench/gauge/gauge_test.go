package gauge

import (
	"errors"
	"testing"
)

func TestGaugeKnowsWhenItBecameWhatIsAwaited(t *testing.T) {
	g := New()
	for _, step := range []int{1, 1, -1, 1} {
		g.Add(step)
	}
	became := g.since
	var shown []string
	at, err := g.Await(t.Context(), 2, func(s string) { shown = append(shown, s) })
	if err != nil || !at.Equal(became) || len(shown) > 0 {
		t.Errorf("it was 2 at %v, %v; shown %v; want %v", at, err, shown, became)
	}
	go g.Add(-1)
	if at, err = g.Await(t.Context(), 1, Quietly); err != nil || at.Before(became) {
		t.Errorf("it was 1 at %v, %v", at, err)
	}
	g.Fail(errors.New("gone"))
	if _, err := g.Await(t.Context(), 1, Quietly); err == nil {
		t.Error("a watch that failed still counts")
	}
}
