package gitrepos

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/source"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// Reasons of a GitRepo's conditions, beside those of the fetch.
const (
	reasonNoPath       = "PathMatchesNothing"
	reasonInvalidInput = "InvalidBundle"
	reasonNameTaken    = "BundleNameTaken"
	reasonFetchFailed  = "FetchFailed"
	reasonForbidden    = "Forbidden"
)

// maxStatusWindow is how long the status of a GitRepo may collect changes while
// many of its deployments keep changing. A lone change shows at once.
const maxStatusWindow = time.Second

// statusWorkers is how many statuses are written at once. They are few, so that
// deployments come first where there is much to write.
const statusWorkers = 2

// report writes the status of the GitRepo where it says something else than it
// should.
func (c *controller) report(ctx context.Context, key kube.Key) (time.Duration, error) {
	behind := c.told.Begin(key)
	repo, err := c.gitrepos.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading gitrepo: %w", err)
	}
	facts := c.facts(key, repo)
	now, recheck := c.rollups.status(facts, facts.Now.Time)
	if equality.Semantic.DeepEqual(repo.Status, now) {
		return recheck, kube.LookAgain(behind)
	}
	after := &fleet.GitRepo{TypeMeta: repo.TypeMeta, ObjectMeta: repo.ObjectMeta, Spec: repo.Spec, Status: now}
	err = c.told.Send(key, now, func() error {
		_, err := c.Hub.GitRepos.PatchStatus(ctx, repo, after)
		return err
	})
	switch {
	case err == nil:
		c.announce(repo, after)
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		// The event of what became of it brings the status up again.
	default:
		return 0, fmt.Errorf("writing status: %w", err)
	}
	return recheck, nil
}

// facts returns what the GitRepo's status follows from, beside its bundles and
// deployments.
func (c *controller) facts(key kube.Key, repo *fleet.GitRepo) status.GitRepoFacts {
	st := c.state(key, repo)
	o := st.outcome
	facts := status.GitRepoFacts{
		GitRepo:    repo,
		Generation: max(o.generation, repo.Status.ObservedGeneration), Known: o.known,
		Commit: o.commit, ForceSync: o.force, Updating: st.Commit != o.commit,
		PolledCommit: o.polledCommit, PolledAt: metav1.NewTime(o.polledAt.UTC().Truncate(time.Second)),
		Problems: problems(o), Warnings: texts(o.findings, bundlereader.Warning),
		Now: metav1.NewTime(c.Clock.Now()),
	}
	if o.refused != nil {
		facts.Refused = &status.Problem{Reason: o.refused.reason, Message: o.refused.message}
	}
	facts.WebhookKnown = o.generation > 0
	if o.webhook != nil {
		facts.Webhook = &status.Problem{Reason: o.webhook.reason, Message: o.webhook.message}
	}
	if o.fetchErr != nil {
		facts.Fetch, facts.FetchStalled = fetchProblem(o.fetchErr)
	}
	if o.writeErr != nil && !kube.IsPassing(o.writeErr) {
		facts.WriteErr = o.writeErr.Error()
	}
	return facts
}

// rollUp has the status of GitRepos show what has changed.
func (c *controller) rollUp(repos []kube.Key) {
	for _, repo := range repos {
		c.status.Coalesce(repo)
	}
}

// fetchProblem says what the fetch found wrong, and whether a user has to act.
func fetchProblem(err error) (*status.Problem, bool) {
	e := asSourceError(err)
	if e == nil {
		return &status.Problem{Reason: reasonFetchFailed, Message: err.Error()}, true
	}
	stalled := true
	switch e.Reason {
	case source.Unreachable, source.Timeout:
		// These go away by themselves.
		stalled = false
	case source.AuthenticationFailed, source.NotFound, source.RefNotFound, source.TooLarge, source.TLS, source.Invalid,
		source.HostKey, source.Damaged:
	}
	return &status.Problem{Reason: string(e.Reason), Message: e.Error()}, stalled
}

// problems lists what a user has to put right, the gravest first.
func problems(o outcome) []status.Problem {
	var found []status.Problem
	var input *inputError
	if errors.As(o.writeErr, &input) {
		found = append(found, status.Problem{Reason: reasonInvalidInput, Message: input.Error()})
	}
	for _, text := range texts(o.findings, bundlereader.Error) {
		found = append(found, status.Problem{Reason: reasonInvalidInput, Message: text})
	}
	for _, path := range o.emptyPaths {
		found = append(found, status.Problem{Reason: reasonNoPath, Message: fmt.Sprintf(
			"spec.paths: %q matches no folder with resources in commit %s: correct the path, or add the folder; nothing is removed meanwhile", path, short(o.commit))})
	}
	for _, message := range o.conflicts {
		found = append(found, status.Problem{Reason: reasonNameTaken, Message: message})
	}
	if len(o.kept) > 0 && len(found) > 0 {
		found[len(found)-1].Message += fmt.Sprintf(" (kept until this is right: bundles %v)", o.kept)
	}
	return found
}

func short(commit string) string {
	const digits = 12
	return commit[:min(len(commit), digits)]
}

func texts(findings []bundlereader.Finding, severity bundlereader.Severity) []string {
	var found []string
	for _, f := range findings {
		if f.Severity == severity {
			found = append(found, f.String())
		}
	}
	return found
}

// announce records an Event where the GitRepo starts to need a user, stops to,
// or has brought a new commit.
func (c *controller) announce(before, after *fleet.GitRepo) {
	was, is := trouble(before), trouble(after)
	switch {
	case is != nil && (was == nil || was.Reason != is.Reason || was.Message != is.Message):
		c.Recorder.Eventf(after, nil, corev1.EventTypeWarning, is.Reason, "Sync", "%s", is.Message)
	case is == nil && was != nil:
		c.Recorder.Eventf(after, nil, corev1.EventTypeNormal, "Recovered", "Sync", "The GitRepo goes on")
	}
	if after.Status.Commit != before.Status.Commit {
		c.Recorder.Eventf(after, nil, corev1.EventTypeNormal, "Synced", "Sync", "Bundles are those of commit %s", after.Status.Commit)
	}
}

// trouble returns the condition that says what is wrong with the input or the
// repository, or nil. What agents report is not the GitRepo's own trouble.
func trouble(repo *fleet.GitRepo) *fleet.Condition {
	for _, kind := range []string{fleet.ConditionAccepted, fleet.ConditionGitPolling} {
		if c := status.Get(repo.Status.Conditions, kind); c != nil && c.Status == "False" {
			return c
		}
	}
	return nil
}
