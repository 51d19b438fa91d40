package gitrepos

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func TestSchedule(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	repo := func(edit func(*fleet.GitRepoSpec)) *fleet.GitRepo {
		gr := &fleet.GitRepo{Spec: fleet.GitRepoSpec{Repo: "https://git.example/shop"}}
		if edit != nil {
			edit(&gr.Spec)
		}
		return gr
	}
	polled := func(ago time.Duration) state {
		return state{commit: "c1", source: sourceKey(repo(nil)), polled: now.Add(-ago)}
	}
	every := func(d time.Duration) func(*fleet.GitRepoSpec) {
		return func(s *fleet.GitRepoSpec) { s.PollingInterval = &metav1.Duration{Duration: d} }
	}
	tests := []struct {
		name string
		repo *fleet.GitRepo
		st   state
		want turn
	}{
		{"never asked", repo(nil), state{}, turn{due: true}},
		{"asked just now", repo(nil), polled(0), turn{in: 15 * time.Second}},
		{"asked a while ago", repo(nil), polled(10 * time.Second), turn{in: 5 * time.Second}},
		{"overdue", repo(nil), polled(16 * time.Second), turn{due: true}},
		{"interval of its own", repo(every(time.Hour)), polled(20 * time.Minute), turn{in: 40 * time.Minute}},
		{"jitter adds up to a tenth", repo(every(time.Hour)), func() state { s := polled(0); s.jitter = 1; return s }(), turn{in: 66 * time.Minute}},
		{"polling is off", repo(func(s *fleet.GitRepoSpec) { s.DisablePolling = true }), polled(time.Hour), turn{}},
		{"polling is off and the branch is another", repo(func(s *fleet.GitRepoSpec) { s.DisablePolling, s.Branch = true, "next" }), polled(0), turn{due: true}},
		{"forced", repo(func(s *fleet.GitRepoSpec) { s.ForceSyncGeneration = 2 }), polled(0), turn{due: true}},
		{"targets ask for nothing", repo(func(s *fleet.GitRepoSpec) { s.Targets = []fleet.GitTarget{{ClusterName: "x"}} }), polled(0), turn{in: 15 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := schedule(tt.repo, tt.st, now); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

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

// Zero means never: a turn that has come while the repository was being asked
// must not be taken for that.
func TestTurnThatHasComeIsNotNever(t *testing.T) {
	for _, tt := range []struct {
		turn  turn
		never bool
	}{{turn{due: true}, false}, {turn{in: time.Second}, false}, {turn{}, true}} {
		if got := tt.turn.wait(); (got == 0) != tt.never || got < 0 {
			t.Errorf("%+v waits %s", tt.turn, got)
		}
	}
}

func TestSooner(t *testing.T) {
	for _, tt := range []struct{ a, b, want time.Duration }{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {3, 5, 3}, {5, 3, 3}} {
		if got := sooner(tt.a, tt.b); got != tt.want {
			t.Errorf("sooner(%d, %d) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
