package polling

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func gitRepo(edit func(*fleet.GitRepo)) *fleet.GitRepo {
	gr := &fleet.GitRepo{Spec: fleet.GitRepoSpec{Repo: "https://git.example/shop"}}
	if edit != nil {
		edit(gr)
	}
	return gr
}

func TestNext(t *testing.T) {
	polled := func(ago time.Duration, edit func(*Book)) Book {
		s := Book{Commit: "c1", Source: sourceKey(gitRepo(nil)), Polled: now.Add(-ago)}
		if edit != nil {
			edit(&s)
		}
		return s
	}
	every := func(d time.Duration) func(*fleet.GitRepo) {
		return func(gr *fleet.GitRepo) { gr.Spec.PollingInterval = &metav1.Duration{Duration: d} }
	}
	off := func(gr *fleet.GitRepo) { gr.Spec.DisablePolling = true }
	hooked := func(gr *fleet.GitRepo) {
		gr.Status.LastPollingTime, gr.Status.LastWebhookTime = metav1.NewTime(now.Add(-2*time.Hour)), metav1.NewTime(now.Add(-time.Hour))
	}
	event := Demand{At: now.Add(-time.Minute)}
	hook := Demand{At: now, Webhook: now, Commit: "c2"}
	tests := []struct {
		name   string
		repo   *fleet.GitRepo
		st     Book
		demand Demand
		want   Turn
	}{
		{"never asked", gitRepo(nil), Book{}, event, Turn{Due: true, Since: event.At}},
		{"asked just now", gitRepo(nil), polled(0, nil), event, Turn{In: 15 * time.Second, Poll: true, Since: now.Add(-15 * time.Second)}},
		{"asked a while ago", gitRepo(nil), polled(10*time.Second, nil), event, Turn{In: 5 * time.Second, Poll: true, Since: now.Add(-15 * time.Second)}},
		{"overdue", gitRepo(nil), polled(16*time.Second, nil), event, Turn{Due: true, Poll: true, Since: now.Add(-15 * time.Second)}},
		{"interval of its own", gitRepo(every(time.Hour)), polled(20*time.Minute, nil), event, Turn{In: 40 * time.Minute, Poll: true, Since: now.Add(-time.Hour)}},
		{"jitter adds up to a tenth", gitRepo(every(time.Hour)), polled(0, func(s *Book) { s.Jitter = 1 }), event, Turn{In: 66 * time.Minute, Poll: true, Since: now.Add(-time.Hour)}},
		{"webhooks come", gitRepo(hooked), polled(20*time.Minute, nil), event, Turn{In: 40 * time.Minute, Poll: true, Since: now.Add(-time.Hour)}},
		{"webhooks come, and the interval is the user's", gitRepo(func(gr *fleet.GitRepo) { hooked(gr); every(time.Minute)(gr) }),
			polled(0, nil), event, Turn{In: time.Minute, Poll: true, Since: now.Add(-time.Minute)}},
		{"webhooks came before a poll found what they did not tell", gitRepo(func(gr *fleet.GitRepo) {
			hooked(gr)
			gr.Status.LastPollingTime = metav1.NewTime(now)
		}), polled(0, nil), event, Turn{In: 15 * time.Second, Poll: true, Since: now.Add(-15 * time.Second)}},
		{"webhooks come, but the repository did not answer", gitRepo(hooked), polled(0, func(s *Book) { s.Unanswered, s.Tried = 1, now }), event,
			Turn{In: 15 * time.Second, Poll: true, Since: now.Add(-15 * time.Second)}},
		{"it did not answer for long", gitRepo(hooked), polled(0, func(s *Book) { s.Unanswered, s.Tried = 100, now }), event,
			Turn{In: time.Hour, Poll: true, Since: now.Add(-time.Hour)}},
		{"a webhook came", gitRepo(nil), polled(0, nil), hook, Turn{Due: true, Since: hook.Webhook}},
		{"a webhook came, polling is off", gitRepo(off), polled(0, nil), hook, Turn{Due: true, Since: hook.Webhook}},
		{"the webhook was acted on", gitRepo(off), polled(0, func(s *Book) { s.Webhook = now }), hook, Turn{}},
		{"what it announced is looked for again", gitRepo(off), polled(0, func(s *Book) { s.Webhook, s.Look = now, now.Add(time.Second) }), hook,
			Turn{In: time.Second, Since: now.Add(time.Second)}},
		{"now", gitRepo(nil), polled(0, func(s *Book) { s.Webhook, s.Look = now, now }), hook, Turn{Due: true, Since: now}},
		{"a poll comes first", gitRepo(nil), polled(14*time.Second, func(s *Book) { s.Webhook, s.Look = now, now.Add(4*time.Second) }), hook,
			Turn{In: time.Second, Poll: true, Since: now.Add(-15 * time.Second)}},
		{"polling is off", gitRepo(off), polled(time.Hour, nil), event, Turn{}},
		{"polling is off and the branch is another", gitRepo(func(gr *fleet.GitRepo) { off(gr); gr.Spec.Branch = "next" }), polled(0, nil), event, Turn{Due: true, Since: event.At}},
		{"other credentials", gitRepo(off), polled(0, func(s *Book) { s.Credentials = "b" }), event, Turn{Due: true, Since: event.At}},
		{"tried again after a failure", gitRepo(off), Book{Unanswered: 1, Tried: now, Polled: now}, event, Turn{Due: true, Since: now}},
		{"edited back after a failure", gitRepo(off), polled(0, func(s *Book) { s.Unanswered, s.Tried = 1, now.Add(-time.Hour) }), event, Turn{Due: true, Since: now}},
		{"forced", gitRepo(func(gr *fleet.GitRepo) { gr.Spec.ForceSyncGeneration = 2 }), polled(0, nil), event, Turn{Due: true, Since: event.At}},
		{"targets ask for nothing", gitRepo(func(gr *fleet.GitRepo) { gr.Spec.Targets = []fleet.GitTarget{{ClusterName: "x"}} }), polled(0, nil), event,
			Turn{In: 15 * time.Second, Poll: true, Since: now.Add(-15 * time.Second)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Next(tt.repo, tt.st, tt.demand, now); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// Zero means never: a turn that has come while the repository was being asked
// must not be taken for that.
func TestTurnThatHasComeIsNotNever(t *testing.T) {
	for _, tt := range []struct {
		turn  Turn
		never bool
	}{{Turn{Due: true}, false}, {Turn{In: time.Second}, false}, {Turn{}, true}} {
		if got := tt.turn.Wait(); (got == 0) != tt.never || got < 0 {
			t.Errorf("%+v waits %s", tt.turn, got)
		}
	}
}

// TestAnnouncedCommitIsLookedFor tells of a host that serves a commit later
// than it tells of it.
func TestAnnouncedCommitIsLookedFor(t *testing.T) {
	at, gr := now, gitRepo(func(gr *fleet.GitRepo) { gr.Spec.DisablePolling = true })
	hook := Demand{At: at, Webhook: at, Commit: "c2"}
	st := Book{Commit: "c1", Source: sourceKey(gr)}
	var waits []time.Duration
	for next := Next(gr, st, hook, at); next.Due; {
		st = st.Answered(next, hook, "c1", at)
		next = Next(gr, st, hook, at)
		if next.In > 0 {
			waits = append(waits, next.In)
			at = at.Add(next.In)
			next = Next(gr, st, hook, at)
		}
	}
	if len(waits) != maxLooks || waits[0] != minLook || waits[maxLooks-1] != minLook<<(maxLooks-1) {
		t.Errorf("it is looked for after %v", waits)
	}
	st = Book{Commit: "c1", Source: sourceKey(gr)}
	st = st.Answered(Next(gr, st, hook, now), hook, "c2", now)
	if next := Next(gr, st, hook, now); next != (Turn{}) {
		t.Errorf("it was found, and is looked for again: %+v", next)
	}
}

func TestWhatPollsFind(t *testing.T) {
	poll := Turn{Due: true, Poll: true}
	tests := []struct {
		name   string
		turn   Turn
		demand Demand
		commit string
		want   string
	}{
		{"nothing new", poll, Demand{}, "c1", ""},
		{"a commit", poll, Demand{}, "c2", "c2"},
		{"a commit that a webhook had announced", poll, Demand{Commit: "c2"}, "c2", ""},
		{"a webhook finds it", Turn{Due: true}, Demand{Webhook: now, Commit: "c2"}, "c2", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (Book{Commit: "c1"}).Answered(tt.turn, tt.demand, tt.commit, now).Found; got != tt.want {
				t.Errorf("polling found %q, want %q", got, tt.want)
			}
		})
	}
}

func restored(gr *fleet.GitRepo) Book {
	b, _ := Book{}.Restored(gr, "a")
	return b
}

func TestRestartIsNoReasonToLookForCommits(t *testing.T) {
	settled := func(edit func(*fleet.GitRepo)) *fleet.GitRepo {
		gr := gitRepo(func(gr *fleet.GitRepo) {
			gr.Generation, gr.Spec.DisablePolling = 3, true
			gr.Status.ObservedGeneration, gr.Status.Commit = 3, "c1"
		})
		if edit != nil {
			edit(gr)
		}
		return gr
	}
	tests := []struct {
		name string
		repo *fleet.GitRepo
		due  bool
	}{
		{"as it was", settled(nil), false},
		{"after the webhook that it is of", settled(func(gr *fleet.GitRepo) { gr.Status.WebhookCommit = "c1" }), false},
		{"after a webhook meanwhile", settled(func(gr *fleet.GitRepo) { gr.Status.WebhookCommit = "c2" }), true},
		{"after an edit meanwhile", settled(func(gr *fleet.GitRepo) { gr.Generation = 4 }), true},
		{"forced meanwhile", settled(func(gr *fleet.GitRepo) { gr.Spec.ForceSyncGeneration = 1 }), true},
		{"nothing was read yet", settled(func(gr *fleet.GitRepo) { gr.Status.Commit = "" }), true},
		{"with polling", settled(func(gr *fleet.GitRepo) { gr.Spec.DisablePolling = false }), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Next(tt.repo, restored(tt.repo), Demand{}, now).Due; got != tt.due {
				t.Errorf("it is asked: %t, want %t", got, tt.due)
			}
		})
	}
}

func TestFoldersThatFailedAreReadAgain(t *testing.T) {
	now := now
	var b Book
	if due, in := b.RetryDue(now); due || in != 0 {
		t.Errorf("nothing failed, but it is due %t in %s", due, in)
	}
	var waits []time.Duration
	for range 10 {
		b = b.ReadAgain(true, now)
		due, in := b.RetryDue(now)
		if due {
			t.Fatal("due at once")
		}
		waits = append(waits, in)
		now = now.Add(in)
		if due, _ := b.RetryDue(now); !due {
			t.Fatal("not due at the instant that was computed")
		}
	}
	if waits[0] != minRetry || waits[1] != 2*minRetry || waits[9] != maxRetry {
		t.Errorf("waits are %v", waits)
	}
	if b = b.ReadAgain(false, now); !b.Retry.IsZero() || b.Failures != 0 {
		t.Errorf("all is well, but the book is %+v", b)
	}
}
