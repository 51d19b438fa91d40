package gitrepos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/bundleset"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// state is what is remembered of a GitRepo between reconciles. All of it can be
// lost: a fresh start asks the repository and compares.
type state struct {
	uid types.UID
	// polled is when the repository was last asked; jitter shifts the next
	// time, so that GitRepos do not ask in step.
	polled time.Time
	jitter float64
	// unanswered counts how often in a row the repository could not be asked,
	// and tried is when it was last tried.
	unanswered int
	tried      time.Time
	// credentials identifies what the repository is asked with now, asking what
	// its last answer was asked with.
	credentials, asking string
	// webhook is the last webhook that was acted on. look is when to look again
	// for what it has announced, looks how often that was.
	webhook time.Time
	look    time.Time
	looks   int
	// source and force are what was asked for then.
	source string
	force  int64
	// commit is the newest that was fetched.
	commit string
	// brought is the commit and the generation whose bundles are written, and
	// checks how many checks had been asked for by then.
	brought string
	checks  int
	// failures counts how often in a row some folder of this commit could not
	// be read, and retry is when to try again: the cause may be a chart
	// repository that is away.
	failures int
	retry    time.Time
	outcome  outcome
}

// outcome is what the status says about the last attempt.
type outcome struct {
	generation int64
	// known is false until the repository was asked once: until then the
	// status keeps what it said before.
	known  bool
	commit string
	force  int64
	// polledCommit is what polling has found that no webhook had announced, and
	// polledAt when.
	polledCommit string
	polledAt     time.Time
	refused      *refusal
	webhook      *refusal
	fetchErr     error
	writeErr     error
	findings     []bundlereader.Finding
	emptyPaths   []string
	kept         []string
	conflicts    []string
}

// refusal is why a GitRepo is not acted on.
type refusal struct {
	reason, message string
}

// differs says whether two outcomes read differently in the status.
func (o outcome) differs(p outcome) bool {
	return o.generation != p.generation || o.known != p.known || o.commit != p.commit || o.force != p.force ||
		o.polledCommit != p.polledCommit || !o.polledAt.Equal(p.polledAt) ||
		fmt.Sprint(o.refused) != fmt.Sprint(p.refused) || fmt.Sprint(o.webhook) != fmt.Sprint(p.webhook) || fmt.Sprint(o.fetchErr) != fmt.Sprint(p.fetchErr) ||
		fmt.Sprint(o.writeErr) != fmt.Sprint(p.writeErr) ||
		!slices.Equal(o.findings, p.findings) || !slices.Equal(o.emptyPaths, p.emptyPaths) ||
		!slices.Equal(o.kept, p.kept) || !slices.Equal(o.conflicts, p.conflicts)
}

// Retries of folders that could not be read start at minRetry, double each
// time, and stay at maxRetry.
const (
	minRetry = 5 * time.Second
	maxRetry = 5 * time.Minute
)

// readAgain notes that the commit was read, and computes when to read it again
// if some of its folders failed.
func (s state) readAgain(failed bool, now time.Time) state {
	if !failed {
		s.failures, s.retry = 0, time.Time{}
		return s
	}
	const doublings = 6 // enough to reach maxRetry
	s.retry = now.Add(min(minRetry<<min(s.failures, doublings), maxRetry))
	s.failures++
	return s
}

// retryDue says whether folders that failed are to be read again now, and else
// when: zero for never.
func (s state) retryDue(now time.Time) (due bool, in time.Duration) {
	if s.retry.IsZero() {
		return false, 0
	}
	left := s.retry.Sub(now)
	return left <= 0, max(left, 0)
}

// sooner returns the shorter of two waits, of which zero is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// upToDate says whether the bundles of the newest commit are written for the
// GitRepo as it is, and nobody has changed one since.
func (s state) upToDate(repo *fleet.GitRepo, checks int) bool {
	return s.brought == broughtKey(repo, s.commit) && s.checks == checks
}

func broughtKey(repo *fleet.GitRepo, commit string) string {
	// The service account may be a default of the workspace.
	return fmt.Sprintf("%s@%d %q", commit, repo.Generation, repo.Spec.ServiceAccount)
}

// sourceKey is the part of the spec that decides which commit is asked for.
func sourceKey(repo *fleet.GitRepo) string {
	s := repo.Spec
	return fmt.Sprintf("%q %q %q %q %x %t", s.Repo, s.Branch, s.Revision, s.ClientSecretName, s.CABundle, s.InsecureSkipTLSVerify)
}

// current says whether the newest commit is of what the GitRepo asks for now.
func (s state) current(repo *fleet.GitRepo) bool {
	return s.commit != "" && s.source == sourceKey(repo) && s.force == repo.Spec.ForceSyncGeneration
}

// state returns what is remembered of the GitRepo; of one that was deleted and
// made again, nothing.
func (c *controller) state(key kube.Key, repo *fleet.GitRepo) state {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.states[key]; ok && s.uid == repo.UID {
		return s
	}
	return state{uid: repo.UID, jitter: rand.Float64()} //nolint:gosec // spreads polls, guards nothing
}

func (c *controller) remember(key kube.Key, s state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.states[key]; !known {
		c.prune.Coalesce(kube.Key{})
	}
	c.states[key] = s
}

func (c *controller) forget(key kube.Key) {
	c.rollups.forget(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.states, key)
	delete(c.checks, key)
	delete(c.demands, key)
	delete(c.requests, key)
	c.prune.Coalesce(kube.Key{})
}

// askedChecks returns how often a check of the GitRepo's bundles was asked for.
func (c *controller) askedChecks(key kube.Key) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.checks[key]
}

// want notes what the bundle should be, before it is written.
func (c *controller) want(b *fleet.Bundle) error {
	digest, err := bundleset.Digest(b)
	if err != nil {
		return fmt.Errorf("encoding bundle %s: %w", b.Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted[kube.KeyOf(b)] = digest
	return nil
}

// foreign says whether somebody else has changed the bundle. Of one that no
// commit has been compared with yet it says no: that is still to come.
func (c *controller) foreign(b *fleet.Bundle) bool {
	c.mu.Lock()
	wanted, known := c.wanted[kube.KeyOf(b)]
	c.mu.Unlock()
	if !known {
		return false
	}
	digest, err := bundleset.Digest(b)
	return err != nil || digest != wanted
}

// unwant forgets a bundle that is gone.
func (c *controller) unwant(b *fleet.Bundle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.wanted, kube.KeyOf(b))
}
