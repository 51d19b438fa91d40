package hub

import (
	"testing"
	"time"
)

func TestParseSpent(t *testing.T) {
	got, err := parseSpent("4711 (a (b) c) S 1 4711 4711 0 -1 4194560 100 0 0 0 250 50 7 8 20 0 9 0 12345 1 2 3")
	if err != nil || got != 3*time.Second {
		t.Errorf("got %v, %v", got, err)
	}
	for _, stat := range []string{"", "4711 name S 1", "4711 (name) S 1 2 3", "4711 (name) S 1 4711 4711 0 -1 4194560 100 0 0 0 x 50 7"} {
		if got, err := parseSpent(stat); err == nil {
			t.Errorf("%q is read as %v", stat, got)
		}
	}
}

func TestSpentSince(t *testing.T) {
	got := Spent{Manager: 3 * time.Second, Bench: time.Second}.Minus(Spent{Manager: time.Second})
	if got[Manager] != 2*time.Second || got[Bench] != time.Second {
		t.Errorf("got %v", got)
	}
}
