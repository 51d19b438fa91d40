package gitrepos

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

func TestSchedule(t *testing.T) {
	polled := func(ago time.Duration, edit func(*state)) state {
		s := state{commit: "c1", source: sourceKey(gitRepo(nil)), polled: now.Add(-ago)}
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
	event := demand{at: now.Add(-time.Minute)}
	hook := demand{at: now, webhook: now, commit: "c2"}
	tests := []struct {
		name   string
		repo   *fleet.GitRepo
		st     state
		demand demand
		want   turn
	}{
		{"never asked", gitRepo(nil), state{}, event, turn{due: true, since: event.at}},
		{"asked just now", gitRepo(nil), polled(0, nil), event, turn{in: 15 * time.Second, poll: true, since: now.Add(-15 * time.Second)}},
		{"asked a while ago", gitRepo(nil), polled(10*time.Second, nil), event, turn{in: 5 * time.Second, poll: true, since: now.Add(-15 * time.Second)}},
		{"overdue", gitRepo(nil), polled(16*time.Second, nil), event, turn{due: true, poll: true, since: now.Add(-15 * time.Second)}},
		{"interval of its own", gitRepo(every(time.Hour)), polled(20*time.Minute, nil), event, turn{in: 40 * time.Minute, poll: true, since: now.Add(-time.Hour)}},
		{"jitter adds up to a tenth", gitRepo(every(time.Hour)), polled(0, func(s *state) { s.jitter = 1 }), event, turn{in: 66 * time.Minute, poll: true, since: now.Add(-time.Hour)}},
		{"webhooks come", gitRepo(hooked), polled(20*time.Minute, nil), event, turn{in: 40 * time.Minute, poll: true, since: now.Add(-time.Hour)}},
		{"webhooks come, and the interval is the user's", gitRepo(func(gr *fleet.GitRepo) { hooked(gr); every(time.Minute)(gr) }),
			polled(0, nil), event, turn{in: time.Minute, poll: true, since: now.Add(-time.Minute)}},
		{"webhooks came before a poll found what they did not tell", gitRepo(func(gr *fleet.GitRepo) {
			hooked(gr)
			gr.Status.LastPollingTime = metav1.NewTime(now)
		}), polled(0, nil), event, turn{in: 15 * time.Second, poll: true, since: now.Add(-15 * time.Second)}},
		{"webhooks come, but the repository did not answer", gitRepo(hooked), polled(0, func(s *state) { s.unanswered, s.tried = 1, now }), event,
			turn{in: 15 * time.Second, poll: true, since: now.Add(-15 * time.Second)}},
		{"it did not answer for long", gitRepo(hooked), polled(0, func(s *state) { s.unanswered, s.tried = 100, now }), event,
			turn{in: time.Hour, poll: true, since: now.Add(-time.Hour)}},
		{"a webhook came", gitRepo(nil), polled(0, nil), hook, turn{due: true, since: hook.webhook}},
		{"a webhook came, polling is off", gitRepo(off), polled(0, nil), hook, turn{due: true, since: hook.webhook}},
		{"the webhook was acted on", gitRepo(off), polled(0, func(s *state) { s.webhook = now }), hook, turn{}},
		{"what it announced is looked for again", gitRepo(off), polled(0, func(s *state) { s.webhook, s.look = now, now.Add(time.Second) }), hook,
			turn{in: time.Second, since: now.Add(time.Second)}},
		{"now", gitRepo(nil), polled(0, func(s *state) { s.webhook, s.look = now, now }), hook, turn{due: true, since: now}},
		{"a poll comes first", gitRepo(nil), polled(14*time.Second, func(s *state) { s.webhook, s.look = now, now.Add(4*time.Second) }), hook,
			turn{in: time.Second, poll: true, since: now.Add(-15 * time.Second)}},
		{"polling is off", gitRepo(off), polled(time.Hour, nil), event, turn{}},
		{"polling is off and the branch is another", gitRepo(func(gr *fleet.GitRepo) { off(gr); gr.Spec.Branch = "next" }), polled(0, nil), event, turn{due: true, since: event.at}},
		{"other credentials", gitRepo(off), polled(0, func(s *state) { s.credentials = "b" }), event, turn{due: true, since: event.at}},
		{"tried again after a failure", gitRepo(off), state{unanswered: 1, tried: now, polled: now}, event, turn{due: true, since: now}},
		{"edited back after a failure", gitRepo(off), polled(0, func(s *state) { s.unanswered, s.tried = 1, now.Add(-time.Hour) }), event, turn{due: true, since: now}},
		{"forced", gitRepo(func(gr *fleet.GitRepo) { gr.Spec.ForceSyncGeneration = 2 }), polled(0, nil), event, turn{due: true, since: event.at}},
		{"targets ask for nothing", gitRepo(func(gr *fleet.GitRepo) { gr.Spec.Targets = []fleet.GitTarget{{ClusterName: "x"}} }), polled(0, nil), event,
			turn{in: 15 * time.Second, poll: true, since: now.Add(-15 * time.Second)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := schedule(tt.repo, tt.st, tt.demand, now); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
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

// TestAnnouncedCommitIsLookedFor tells of a host that serves a commit later
// than it tells of it.
func TestAnnouncedCommitIsLookedFor(t *testing.T) {
	at, gr := now, gitRepo(func(gr *fleet.GitRepo) { gr.Spec.DisablePolling = true })
	hook := demand{at: at, webhook: at, commit: "c2"}
	st := state{commit: "c1", source: sourceKey(gr)}
	var waits []time.Duration
	for next := schedule(gr, st, hook, at); next.due; {
		st = st.answered(next, hook, "c1", at)
		next = schedule(gr, st, hook, at)
		if next.in > 0 {
			waits = append(waits, next.in)
			at = at.Add(next.in)
			next = schedule(gr, st, hook, at)
		}
	}
	if len(waits) != maxLooks || waits[0] != minLook || waits[maxLooks-1] != minLook<<(maxLooks-1) {
		t.Errorf("it is looked for after %v", waits)
	}
	st = state{commit: "c1", source: sourceKey(gr)}
	st = st.answered(schedule(gr, st, hook, now), hook, "c2", now)
	if next := schedule(gr, st, hook, now); next != (turn{}) {
		t.Errorf("it was found, and is looked for again: %+v", next)
	}
}

func TestWhatPollsFind(t *testing.T) {
	poll := turn{due: true, poll: true}
	tests := []struct {
		name   string
		turn   turn
		demand demand
		commit string
		want   string
	}{
		{"nothing new", poll, demand{}, "c1", ""},
		{"a commit", poll, demand{}, "c2", "c2"},
		{"a commit that a webhook had announced", poll, demand{commit: "c2"}, "c2", ""},
		{"a webhook finds it", turn{due: true}, demand{webhook: now, commit: "c2"}, "c2", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (state{commit: "c1"}).answered(tt.turn, tt.demand, tt.commit, now).outcome.polledCommit; got != tt.want {
				t.Errorf("polling found %q, want %q", got, tt.want)
			}
		})
	}
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
			if got := schedule(tt.repo, restored(tt.repo, state{}, "a"), demand{}, now).due; got != tt.due {
				t.Errorf("it is asked: %t, want %t", got, tt.due)
			}
		})
	}
}
