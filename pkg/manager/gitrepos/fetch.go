package gitrepos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/sirupsen/logrus"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/bundleset"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/polling"
	"github.com/flotilla-gitops/flotilla/pkg/source"
)

// asking is a question to a repository, and why it is asked.
type asking struct {
	request source.Request
	turn    polling.Turn
	demand  polling.Demand
}

// fetch asks the repository for its head and brings a commit that is new into
// the mirror. The tree is nil if the commit is the one that was read last.
func (c *controller) fetch(ctx context.Context, repo *fleet.GitRepo, st state, why asking) (state, fs.FS, error) {
	// An event is a reason to try at once, but only once.
	urgent := why.demand.At.After(st.Tried)
	st.Tried = c.Clock.Now()
	answer, err := c.Mirrors.Ask(ctx, source.Question{Request: why.request, Since: why.turn.Since, Urgent: urgent})
	var snapshot *source.Snapshot
	if err == nil && answer.Commit != st.Commit {
		snapshot, err = c.fetchCommit(ctx, why.request, answer.Commit)
	}
	st.outcome.known = true
	st.outcome.fetchErr = err
	if err != nil {
		// The interval begins with the failure: a repository that takes longer to
		// fail than the interval is not asked without a pause.
		st.Polled = c.Clock.Now()
		st.Unanswered++
		return st, nil, err
	}
	// It begins with the answer, whoever has asked for it.
	st.Polled = answer.At
	before := st.Commit
	if before == "" {
		before = repo.Status.Commit
	}
	asked := st
	asked.Commit = before
	now := c.Clock.Now()
	commit := answer.Commit
	if snapshot != nil {
		commit = snapshot.Commit
	}
	asked.Book = asked.Answered(why.turn, why.demand, commit, now).Read(repo, commit)
	asked.outcome.polledCommit, asked.outcome.polledAt = asked.Found, asked.FoundAt
	if snapshot == nil {
		return asked, nil, nil
	}
	if commit != before {
		c.Log.WithFields(logrus.Fields{"gitrepo": repo.Name, "namespace": repo.Namespace, "commit": commit}).Info("Fetched commit")
	}
	return asked, snapshot.Tree(), nil
}

// fetchCommit opens the commit if the mirror has it, as after a restart, and
// else fetches.
func (c *controller) fetchCommit(ctx context.Context, request source.Request, commit string) (*source.Snapshot, error) {
	snapshot, err := c.Mirrors.Open(ctx, request, commit)
	if err == nil {
		return snapshot, nil
	}
	return c.Mirrors.Fetch(ctx, request)
}

// reopen returns the tree of the commit that was fetched last.
func (c *controller) reopen(ctx context.Context, st state, request source.Request) (state, fs.FS, error) {
	snapshot, err := c.fetchCommit(ctx, request, st.Commit)
	if err != nil {
		st.outcome.fetchErr = err
		return st, nil, err
	}
	st.Commit = snapshot.Commit
	return st, snapshot.Tree(), nil
}

// bring reads the commit's folders and writes the bundles that changed.
func (c *controller) bring(ctx context.Context, repo *fleet.GitRepo, st state, tree fs.FS) (state, error) {
	result, err := c.read(ctx, repo, st.Commit, tree)
	if err != nil {
		st.outcome.writeErr = err
		return st, err
	}
	plan, writeErr := c.write(ctx, repo, st.Commit, result)
	// A refused name is free again when an event says so.
	st.outcome.findings, st.outcome.emptyPaths = result.Findings, result.EmptyPaths
	st.outcome.kept, st.outcome.conflicts = namesOf(plan.Kept), nil
	for _, r := range plan.Refused {
		st.outcome.conflicts = append(st.outcome.conflicts, r.Message)
	}
	if st.outcome.writeErr = writeErr; writeErr != nil {
		return st, writeErr
	}
	if st.outcome.commit != st.Commit {
		st.Failures = 0
	}
	st.Book = st.ReadAgain(len(result.Failed) > 0, c.Clock.Now())
	st.outcome.commit, st.outcome.force = st.Commit, repo.Spec.ForceSyncGeneration
	if len(plan.Refused) == 0 {
		st.brought = broughtKey(repo, st.Commit)
	}
	return st, nil
}

// read turns the commit's folders into bundles. Few commits are in memory at
// once, however many repositories there are.
func (c *controller) read(ctx context.Context, repo *fleet.GitRepo, commit string, tree fs.FS) (bundlereader.Result, error) {
	select {
	case c.readers <- struct{}{}:
		defer func() { <-c.readers }()
	case <-ctx.Done():
		return bundlereader.Result{}, ctx.Err()
	}
	spec := repo.Spec
	credentials, err := c.chartCredentials(ctx, repo)
	if err != nil {
		return bundlereader.Result{}, err
	}
	result, err := bundlereader.Read(ctx, tree, bundlereader.Options{
		GitRepo: repo.Name, Namespace: repo.Namespace, Commit: commit,
		Paths: spec.Paths, Bundles: spec.Bundles, Targets: spec.Targets,
		TargetNamespace: spec.TargetNamespace, ServiceAccount: spec.ServiceAccount,
		Paused: spec.Paused, KeepResources: spec.KeepResources, DeleteNamespace: spec.DeleteNamespace,
		CorrectDrift: spec.CorrectDrift, ForceSyncGeneration: spec.ForceSyncGeneration,
		Labels: inherited(repo), Charts: c.Charts, ChartCredentials: credentials,
	})
	if err != nil {
		return result, fmt.Errorf("reading commit %s: %w", commit, err)
	}
	if (spec.HelmSecretName != "" || spec.HelmSecretNameForPaths != "") && spec.HelmRepoURLRegex == "" {
		result.Findings = append(result.Findings, bundlereader.Finding{
			Severity: bundlereader.Warning, Field: "spec.helmRepoURLRegex",
			Message: "it is not set, so the credentials for charts are sent nowhere; name the addresses that they are for",
		})
	}
	return result, nil
}

// inherited returns the labels that a GitRepo hands on to its bundles.
func inherited(repo *fleet.GitRepo) map[string]string {
	if user, ok := repo.Labels[names.LabelCreatedByUser]; ok {
		return map[string]string{names.LabelCreatedByUser: user}
	}
	return nil
}

// plan compares the commit's bundles with those that exist.
func (c *controller) plan(repo *fleet.GitRepo, commit string, result bundlereader.Result, desired []*fleet.Bundle) (bundleset.Plan, error) {
	existing, err := c.bundles.GetByIndex(kube.BundlesByRepo, kube.KeyOf(repo).String())
	if err != nil {
		return bundleset.Plan{}, fmt.Errorf("listing bundles: %w", err)
	}
	named := map[string]*fleet.Bundle{}
	for _, want := range desired {
		if have, err := c.bundles.Get(repo.Namespace, want.Name); err == nil {
			named[want.Name] = have
		}
	}
	return bundleset.Next(bundleset.World{
		Repo: repo.Name, Commit: commit, Desired: desired,
		Failed: result.Failed, EmptyPaths: result.EmptyPaths,
		Existing: existing, Named: named,
	})
}

func namesOf(bundles []*fleet.Bundle) []string {
	var found []string
	for _, b := range bundles {
		found = append(found, b.Name)
	}
	slices.Sort(found)
	return found
}

// asSourceError returns what the fetch found wrong, if it says so.
func asSourceError(err error) *source.Error {
	var e *source.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
