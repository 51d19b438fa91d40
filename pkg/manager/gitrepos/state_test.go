package gitrepos

import (
	"testing"
	"time"
)

func TestFoldersThatFailedAreReadAgain(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var st state
	if due, in := st.retryDue(now); due || in != 0 {
		t.Errorf("nothing failed, but it is due %t in %s", due, in)
	}
	var waits []time.Duration
	for range 10 {
		st = st.readAgain(true, now)
		due, in := st.retryDue(now)
		if due {
			t.Fatal("due at once")
		}
		waits = append(waits, in)
		now = now.Add(in)
		if due, _ := st.retryDue(now); !due {
			t.Fatal("not due at the instant that was computed")
		}
	}
	if waits[0] != minRetry || waits[1] != 2*minRetry || waits[9] != maxRetry {
		t.Errorf("waits are %v", waits)
	}
	if st = st.readAgain(false, now); !st.retry.IsZero() || st.failures != 0 {
		t.Errorf("all is well, but state is %+v", st)
	}
}

func TestSooner(t *testing.T) {
	for _, tt := range []struct{ a, b, want time.Duration }{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {3, 5, 3}, {5, 3, 3}} {
		if got := sooner(tt.a, tt.b); got != tt.want {
			t.Errorf("sooner(%d, %d) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
