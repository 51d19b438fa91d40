package gitrepos

import (
	"errors"
	"time"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

const (
	// defaultPolling is how often a repository is asked where the GitRepo does
	// not say.
	defaultPolling = 15 * time.Second
	// webhookPolling is how often it is asked instead while webhooks come.
	webhookPolling = time.Hour
	// pollSpread is the share by which a wait may be longer, so that GitRepos do
	// not ask in step.
	pollSpread = 0.1
	// maxLooks is how often a commit that a webhook has announced is looked for
	// where the repository does not have it yet; minLook is the first wait.
	maxLooks = 5
	minLook  = time.Second
)

// demand is what events ask for, of one GitRepo.
type demand struct {
	// at is the newest event after which older answers of the repository are
	// worth nothing.
	at time.Time
	// webhook is when a webhook last came, and commit what it announced, if it
	// said.
	webhook time.Time
	commit  string
}

// turn says whether the repository is to be asked now, and else when.
type turn struct {
	due bool
	in  time.Duration
	// since is the moment that the answer must not be older than.
	since time.Time
	// poll says that nothing but the interval asks.
	poll bool
}

// wait returns in how long the repository is to be asked; zero if it is not. A
// turn that has come, because asking took longer than the interval, is no
// reason to wait, and less to wait for ever.
func (t turn) wait() time.Duration {
	if t.due {
		return time.Nanosecond
	}
	return t.in
}

// schedule computes when the repository is to be asked. Without polling it is
// asked when an event says so, or something about the request changes, and
// else never.
func schedule(repo *fleet.GitRepo, s state, d demand, now time.Time) turn {
	switch {
	case !s.current(repo), s.credentials != s.asking, s.unanswered > 0 && d.at.After(s.tried):
		return turn{due: true, since: s.after(d.at)}
	case d.webhook.After(s.webhook):
		return turn{due: true, since: s.after(d.webhook)}
	}
	look := turn{}
	if !s.look.IsZero() {
		look = turnAt(s.look, now)
		look.since = s.look
	}
	if repo.Spec.DisablePolling || look.due {
		return look
	}
	interval := s.interval(repo)
	poll := turnAt(s.polled.Add(interval+time.Duration(float64(interval)*pollSpread*s.jitter)), now)
	poll.poll, poll.since = true, now.Add(-interval)
	if look.in > 0 && !poll.due && look.in < poll.in {
		return look
	}
	return poll
}

// after returns the moment that an answer must not be older than to be news
// after an event: after a failure, the answer that it came of is none.
func (s state) after(event time.Time) time.Time {
	if s.unanswered > 0 && s.polled.After(event) {
		return s.polled
	}
	return event
}

func turnAt(at, now time.Time) turn {
	if left := at.Sub(now); left > 0 {
		return turn{in: left}
	}
	return turn{due: true}
}

// interval returns how long after an answer the repository is asked again.
func (s state) interval(repo *fleet.GitRepo) time.Duration {
	interval := defaultPolling
	switch given := repo.Spec.PollingInterval; {
	case given != nil && given.Duration > 0:
		interval = given.Duration
	case webhooksCome(repo.Status):
		interval = webhookPolling
	}
	if s.unanswered > 0 {
		// A failure is no reason to wait for a long interval to be over.
		const doublings = 8 // enough to reach an hour
		interval = min(interval, defaultPolling<<min(s.unanswered-1, doublings))
	}
	return interval
}

// webhooksCome says whether webhooks bring news before polls do. It follows
// from the status, so that it holds for whoever leads.
func webhooksCome(s fleet.GitRepoStatus) bool {
	return !s.LastWebhookTime.IsZero() && !s.LastPollingTime.After(s.LastWebhookTime.Time)
}

// answered notes what the repository answered when it was asked because of t.
func (s state) answered(t turn, d demand, commit string, now time.Time) state {
	news := commit != s.commit
	if t.poll && news && commit != d.commit {
		// A commit that no webhook has announced.
		s.outcome.polledCommit, s.outcome.polledAt = commit, now
	}
	s.asking, s.unanswered = s.credentials, 0
	fresh := d.webhook.After(s.webhook)
	s.webhook = d.webhook
	switch {
	case d.commit == "" || commit == d.commit || news:
		s.look, s.looks = time.Time{}, 0
	case fresh:
		// Some hosts tell of a commit before they serve it.
		s.look, s.looks = now.Add(minLook), 1
	case !s.look.IsZero() && s.looks < maxLooks:
		s.look = now.Add(minLook << s.looks)
		s.looks++
	default:
		s.look, s.looks = time.Time{}, 0
	}
	return s
}

// demanded returns what events ask for.
func (c *controller) demanded(key kube.Key) demand {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.demands[key]
}

// demandFresh has older answers of the repository count for nothing.
func (c *controller) demandFresh(key kube.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.demands[key]
	d.at = c.Clock.Now()
	c.demands[key] = d
}

// webhookCame has the repository asked because of a webhook.
func (c *controller) webhookCame(repo *fleet.GitRepo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Clock.Now()
	c.demands[kube.KeyOf(repo)] = demand{at: now, webhook: now, commit: repo.Status.WebhookCommit}
}

// unasked notes that there is nothing to ask the repository with.
func (s state) unasked(err error) (state, time.Duration, error) {
	s.outcome.known, s.outcome.fetchErr = true, err
	// It is asked as soon as there is, also if that is what there was before.
	s.asking = ""
	var missing *missingError
	if errors.As(err, &missing) {
		return s, 0, nil
	}
	return s, 0, err
}

// restored returns the state of a GitRepo that is about to be asked with these
// credentials. One that is not polled goes on where an earlier leader has left
// it: a restart is no reason to look for commits.
func restored(repo *fleet.GitRepo, s state, credentials string) state {
	s.credentials = credentials
	st := repo.Status
	settled := st.ObservedGeneration == repo.Generation && st.UpdateGeneration == repo.Spec.ForceSyncGeneration &&
		(st.WebhookCommit == "" || st.WebhookCommit == st.Commit)
	if s.commit != "" || st.Commit == "" || !repo.Spec.DisablePolling || !settled {
		return s
	}
	s.commit, s.source, s.force = st.Commit, sourceKey(repo), repo.Spec.ForceSyncGeneration
	s.asking = credentials
	s.outcome.known = true
	return s
}
