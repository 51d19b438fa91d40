package gitrepos

import (
	"testing"
	"time"
)

func TestSooner(t *testing.T) {
	for _, tt := range []struct{ a, b, want time.Duration }{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {3, 5, 3}, {5, 3, 3}} {
		if got := sooner(tt.a, tt.b); got != tt.want {
			t.Errorf("sooner(%d, %d) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
