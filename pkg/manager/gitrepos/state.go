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
	"github.com/flotilla-gitops/flotilla/pkg/polling"
)

// state is what is remembered of a GitRepo between reconciles. All of it can be
// lost: a fresh start asks the repository and compares.
type state struct {
	polling.Book

	uid types.UID
	// brought is the commit and the generation whose bundles are written, and
	// checks how many checks had been asked for by then.
	brought string
	checks  int
	outcome outcome
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
	return s.brought == broughtKey(repo, s.Commit) && s.checks == checks
}

func broughtKey(repo *fleet.GitRepo, commit string) string {
	// The service account may be a default of the workspace.
	return fmt.Sprintf("%s@%d %q", commit, repo.Generation, repo.Spec.ServiceAccount)
}

// state returns what is remembered of the GitRepo; of one that was deleted and
// made again, nothing.
func (c *controller) state(key kube.Key, repo *fleet.GitRepo) state {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.states[key]; ok && s.uid == repo.UID {
		return s
	}
	return state{uid: repo.UID, Book: polling.Book{Jitter: rand.Float64()}} //nolint:gosec // spreads polls, guards nothing
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
