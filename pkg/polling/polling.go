// Package polling decides when a repository is asked for its newest commit: for
// a webhook, for an edit, or because it is time; how a repository that does not
// answer is treated, and when folders that could not be read are read again.
package polling

import (
	"fmt"
	"time"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Book is what is remembered of asking for one GitRepo. All of it can be lost:
// then the repository is asked.
type Book struct {
	// Polled is when the repository was last asked; Jitter, from 0 to 1, shifts
	// the next time, so that GitRepos do not ask in step.
	Polled time.Time
	Jitter float64
	// Unanswered counts how often in a row the repository could not be asked,
	// and Tried is when it was last tried.
	Unanswered int
	Tried      time.Time
	// Credentials identifies what the repository is asked with now, Asking what
	// its last answer was asked with.
	Credentials, Asking string
	// Webhook is the last webhook that was acted on. Look is when to look again
	// for what it has announced, Looks how often that was.
	Webhook time.Time
	Look    time.Time
	Looks   int
	// Found is the last commit that a poll has found and no webhook had announced,
	// and FoundAt when.
	Found   string
	FoundAt time.Time
	// Source and Force are what was asked for then, and Commit is the newest that
	// was fetched.
	Source string
	Force  int64
	Commit string
	// Failures counts how often in a row some folder of this commit could not
	// be read, and Retry is when to try again: the cause may be a chart
	// repository that is away.
	Failures int
	Retry    time.Time
}

// Read notes the commit that is the newest for the GitRepo as it is.
func (b Book) Read(repo *fleet.GitRepo, commit string) Book {
	b.Commit, b.Source, b.Force = commit, sourceKey(repo), repo.Spec.ForceSyncGeneration
	return b
}

// Current says whether the newest commit is of what the GitRepo asks for now.
func (b Book) Current(repo *fleet.GitRepo) bool {
	return b.Commit != "" && b.Source == sourceKey(repo) && b.Force == repo.Spec.ForceSyncGeneration
}

// sourceKey is the part of the spec that decides which commit is asked for.
func sourceKey(repo *fleet.GitRepo) string {
	s := repo.Spec
	return fmt.Sprintf("%q %q %q %q %x %t", s.Repo, s.Branch, s.Revision, s.ClientSecretName, s.CABundle, s.InsecureSkipTLSVerify)
}

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

// Demand is what events ask for, of one GitRepo.
type Demand struct {
	// At is the newest event after which older answers of the repository are
	// worth nothing.
	At time.Time
	// Webhook is when a webhook last came, and Commit what it announced, if it
	// said.
	Webhook time.Time
	Commit  string
}

// Turn says whether the repository is to be asked now, and else when.
type Turn struct {
	Due bool
	In  time.Duration
	// Since is the moment that the answer must not be older than.
	Since time.Time
	// Poll says that nothing but the interval asks.
	Poll bool
}

// Wait returns in how long the repository is to be asked; zero if it is not. A
// turn that has come, because asking took longer than the interval, is no
// reason to wait, and less to wait for ever.
func (t Turn) Wait() time.Duration {
	if t.Due {
		return time.Nanosecond
	}
	return t.In
}

// Next computes when the repository is to be asked. Without polling it is
// asked when an event says so, or something about the request changes, and
// else never.
func Next(repo *fleet.GitRepo, b Book, d Demand, now time.Time) Turn {
	switch {
	case !b.Current(repo), b.Credentials != b.Asking, b.Unanswered > 0 && d.At.After(b.Tried):
		return Turn{Due: true, Since: b.after(d.At)}
	case d.Webhook.After(b.Webhook):
		return Turn{Due: true, Since: b.after(d.Webhook)}
	}
	look := Turn{}
	if !b.Look.IsZero() {
		look = turnAt(b.Look, now)
		look.Since = b.Look
	}
	if repo.Spec.DisablePolling || look.Due {
		return look
	}
	interval := b.interval(repo)
	poll := turnAt(b.Polled.Add(interval+time.Duration(float64(interval)*pollSpread*b.Jitter)), now)
	poll.Poll, poll.Since = true, now.Add(-interval)
	if look.In > 0 && !poll.Due && look.In < poll.In {
		return look
	}
	return poll
}

// after returns the moment that an answer must not be older than to be news
// after an event: after a failure, the answer that it came of is none.
func (b Book) after(event time.Time) time.Time {
	if b.Unanswered > 0 && b.Polled.After(event) {
		return b.Polled
	}
	return event
}

func turnAt(at, now time.Time) Turn {
	if left := at.Sub(now); left > 0 {
		return Turn{In: left}
	}
	return Turn{Due: true}
}

// interval returns how long after an answer the repository is asked again.
func (b Book) interval(repo *fleet.GitRepo) time.Duration {
	interval := defaultPolling
	switch given := repo.Spec.PollingInterval; {
	case given != nil && given.Duration > 0:
		interval = given.Duration
	case webhooksCome(repo.Status):
		interval = webhookPolling
	}
	if b.Unanswered > 0 {
		// A failure is no reason to wait for a long interval to be over.
		const doublings = 8 // enough to reach an hour
		interval = min(interval, defaultPolling<<min(b.Unanswered-1, doublings))
	}
	return interval
}

// webhooksCome says whether webhooks bring news before polls do. It follows
// from the status, so that it holds for whoever leads.
func webhooksCome(s fleet.GitRepoStatus) bool {
	return !s.LastWebhookTime.IsZero() && !s.LastPollingTime.After(s.LastWebhookTime.Time)
}

// Answered notes what the repository answered when it was asked because of t.
func (b Book) Answered(t Turn, d Demand, commit string, now time.Time) Book {
	news := commit != b.Commit
	if t.Poll && news && commit != d.Commit {
		// A commit that no webhook has announced.
		b.Found, b.FoundAt = commit, now
	}
	b.Asking, b.Unanswered = b.Credentials, 0
	fresh := d.Webhook.After(b.Webhook)
	b.Webhook = d.Webhook
	switch {
	case d.Commit == "" || commit == d.Commit || news:
		b.Look, b.Looks = time.Time{}, 0
	case fresh:
		// Some hosts tell of a commit before they serve it.
		b.Look, b.Looks = now.Add(minLook), 1
	case !b.Look.IsZero() && b.Looks < maxLooks:
		b.Look = now.Add(minLook << b.Looks)
		b.Looks++
	default:
		b.Look, b.Looks = time.Time{}, 0
	}
	return b
}

// Restored returns the book of a GitRepo that is about to be asked with these
// credentials, and whether it goes on where an earlier leader has left it, as
// one that is not polled does: a restart is no reason to look for commits.
func (b Book) Restored(repo *fleet.GitRepo, credentials string) (Book, bool) {
	b.Credentials = credentials
	st := repo.Status
	settled := st.ObservedGeneration == repo.Generation && st.UpdateGeneration == repo.Spec.ForceSyncGeneration &&
		(st.WebhookCommit == "" || st.WebhookCommit == st.Commit)
	if b.Commit != "" || st.Commit == "" || !repo.Spec.DisablePolling || !settled {
		return b, false
	}
	b.Asking = credentials
	return b.Read(repo, st.Commit), true
}
