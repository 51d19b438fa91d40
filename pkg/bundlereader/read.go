package bundlereader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// parallel is how many folders are read at a time: enough that a chart server
// that does not answer holds up few others.
const parallel = 8

// Read makes bundles of a commit's files. The error is set only if the tree
// could not be read, or the context ended; then the result is empty.
func Read(ctx context.Context, tree fs.FS, o Options) (Result, error) {
	o.Limits = o.Limits.withDefaults()
	if len(o.Targets) == 0 {
		o.Targets = defaultTargets()
	}
	s := &scanner{tree: tree, limits: o.Limits}
	folders, err := s.folders(ctx, o)
	if err != nil {
		return Result{}, fmt.Errorf("looking for folders: %w", err)
	}
	outcomes := make([]outcome, len(folders))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, f := range folders {
		group.Go(func() error {
			out, err := readFolder(ctx, tree, f, o)
			if err != nil {
				return fmt.Errorf("reading folder %s: %w", f.path, err)
			}
			outcomes[i] = out
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Result{}, err
	}
	result := collect(outcomes)
	for _, f := range s.findings {
		// What is wrong with a submodule is found by its folder, too.
		if !slices.ContainsFunc(result.Findings, func(g Finding) bool { return f.File != "" && f.File == g.File && f.Message == g.Message }) {
			result.Findings = append(result.Findings, f)
		}
	}
	result.EmptyPaths = emptyPaths(s.matches, outcomes)
	result.Failed = append(result.Failed, s.failed...)
	result.sort()
	return result, nil
}

// outcome is what became of one folder: a bundle, or a failure, or neither
// because there is nothing in it to deploy.
type outcome struct {
	folder   folder
	bundle   *fleet.Bundle
	name     string
	findings []Finding
	failed   bool
}

// problem is an error that concerns one folder only.
type problem struct{ finding Finding }

func (p *problem) Error() string { return p.finding.Message }

// readFolder reads one folder. Its error concerns the tree as a whole.
func readFolder(ctx context.Context, tree fs.FS, f folder, o Options) (outcome, error) {
	b := &builder{tree: tree, folder: f, options: o, name: f.bundleName(o.GitRepo)}
	bundle, err := b.buildSafely(ctx)
	var wrong *problem
	if errors.As(err, &wrong) {
		b.report(wrong.finding)
		err = nil
	}
	if err != nil {
		return outcome{}, err
	}
	failed := slices.ContainsFunc(b.findings, func(f Finding) bool { return f.Severity == Error })
	if failed {
		bundle = nil
	}
	return outcome{folder: f, bundle: bundle, name: b.name, findings: b.findings, failed: failed}, nil
}

// buildSafely makes a panic an error of this bundle: what is read comes from
// outside, and no folder may end the process.
func (b *builder) buildSafely(ctx context.Context) (bundle *fleet.Bundle, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			bundle, err = nil, &problem{Finding{Severity: Error, Message: fmt.Sprintf("the folder cannot be read because of an internal error: %v", cause)}}
		}
	}()
	return b.build(ctx)
}

// collect puts the outcomes together. If several folders claim a name, none
// gets it: which one would depend on chance.
func collect(outcomes []outcome) Result {
	claims := map[string][]string{}
	for _, out := range outcomes {
		if out.bundle != nil {
			claims[out.name] = append(claims[out.name], out.folder.label())
		}
	}
	var result Result
	for _, out := range outcomes {
		result.Findings = append(result.Findings, out.findings...)
		rivals := claims[out.name]
		switch {
		case out.failed:
			result.Failed = append(result.Failed, out.folder.path)
		case out.bundle != nil && len(rivals) > 1:
			result.Failed = append(result.Failed, out.folder.path)
			result.Findings = append(result.Findings, Finding{
				Severity: Error, Folder: out.folder.path, File: out.folder.optionsFile(),
				Message: fmt.Sprintf("the folders %s all give a bundle of the name %q; set another name in their fleet.yaml", strings.Join(rivals, " and "), out.name),
			})
		case out.bundle != nil:
			result.Bundles = append(result.Bundles, out.bundle)
		}
	}
	return result
}

// emptyPaths lists the paths of which no folder gave, or should have given, a
// bundle.
func emptyPaths(matches []match, outcomes []outcome) []string {
	useful := map[string]bool{}
	for _, out := range outcomes {
		if out.bundle != nil || out.failed {
			useful[out.folder.key()] = true
		}
	}
	var empty []string
	for _, m := range matches {
		if !m.broken && !slices.ContainsFunc(m.keys, func(key string) bool { return useful[key] }) {
			empty = append(empty, m.path)
		}
	}
	return empty
}

func (r *Result) sort() {
	slices.SortFunc(r.Bundles, func(a, b *fleet.Bundle) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Folder, b.Folder), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	slices.Sort(r.Failed)
	r.Failed = slices.Compact(r.Failed)
}
