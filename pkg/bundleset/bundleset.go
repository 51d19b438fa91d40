// Package bundleset decides which Bundles of a GitRepo are written.
//
// A commit that was read gives a set of Bundles. Next compares it with those
// that exist and returns a Plan: what to create, what to change, what to mark
// as gone, and what it refuses, each with its reason. A Bundle whose content
// and options are the same is left alone, whatever the commit.
//
// A Bundle is marked as gone only if the commit was read well enough to know:
// a folder that could not be read, or a path that matched nothing, is doubt,
// and doubt marks nothing.
//
// The package is pure: it reads no cluster, no clock and no file.
package bundleset

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// World is what was observed of one GitRepo.
type World struct {
	// Repo is the GitRepo's name; Commit the one that was read.
	Repo, Commit string
	// Desired are the bundles of the commit.
	Desired []*fleet.Bundle
	// Failed are the folders that should have given a bundle but could not be
	// read; EmptyPaths the entries of spec.paths that matched nothing.
	Failed, EmptyPaths []string
	// Existing are the GitRepo's bundles that are there.
	Existing []*fleet.Bundle
	// Named holds any bundle, whoever owns it, that has the name of a desired one.
	Named map[string]*fleet.Bundle
}

// Change is a bundle as it is and as it should be.
type Change struct {
	Before, After *fleet.Bundle
}

// Refusal is a bundle that is not written, and why.
type Refusal struct {
	Bundle  *fleet.Bundle
	Message string
}

// Plan is what is to be done.
type Plan struct {
	Create []*fleet.Bundle
	Update []Change
	// Gone are bundles to mark: their folder is not in the commit any more.
	Gone []Change
	// AlreadyGone counts those that carry the mark and are still there.
	AlreadyGone int
	// Kept are bundles whose folder may be gone, but that is in doubt.
	Kept []*fleet.Bundle
	// Refused are bundles whose name is taken.
	Refused   []Refusal
	Unchanged int
}

// Next returns the plan that makes the existing bundles those of the commit.
func Next(w World) (Plan, error) {
	var plan Plan
	wanted := map[string]bool{}
	for _, want := range w.Desired {
		wanted[want.Name] = true
		if err := plan.place(w, want); err != nil {
			return Plan{}, err
		}
	}
	doubt := w.doubt()
	for _, have := range w.Existing {
		switch {
		case wanted[have.Name] || have.DeletionTimestamp != nil:
		case doubt(have):
			plan.Kept = append(plan.Kept, have)
		case have.Annotations[names.AnnotationGone] == "":
			after := have.DeepCopy()
			setAnnotation(after, names.AnnotationGone, w.Commit)
			plan.Gone = append(plan.Gone, Change{have, after})
		default:
			plan.AlreadyGone++
		}
	}
	return plan, nil
}

// place decides about one bundle of the commit.
func (p *Plan) place(w World, want *fleet.Bundle) error {
	have := w.Named[want.Name]
	switch {
	case have == nil:
		fresh := want.DeepCopy()
		fresh.Finalizers = []string{names.FinalizerBundle}
		p.Create = append(p.Create, fresh)
		return nil
	case have.Labels[names.LabelRepoName] != w.Repo:
		p.Refused = append(p.Refused, Refusal{want, "bundle " + want.Name + " already exists and belongs to " + owner(have) +
			": choose another name in fleet.yaml, or remove that one"})
		return nil
	case have.DeletionTimestamp != nil:
		p.Refused = append(p.Refused, Refusal{want, "bundle " + want.Name + " is being deleted; it is made anew when it is gone"})
		return nil
	}
	after := merge(have, want)
	same, err := equal(have, after)
	if err != nil {
		return err
	}
	if same {
		p.Unchanged++
		return nil
	}
	after.Labels[names.LabelCommit] = w.Commit
	p.Update = append(p.Update, Change{have, after})
	return nil
}

func owner(b *fleet.Bundle) string {
	if repo := b.Labels[names.LabelRepoName]; repo != "" {
		return "GitRepo " + repo
	}
	if op := b.Labels[names.LabelHelmName]; op != "" {
		return "HelmOp " + op
	}
	return "whoever created it"
}

// merge returns the existing bundle with everything that the commit decides,
// but for the commit label, which says when the bundle last changed.
func merge(have, want *fleet.Bundle) *fleet.Bundle {
	after := have.DeepCopy()
	after.Spec = *want.Spec.DeepCopy()
	after.Labels = maps.Clone(want.Labels)
	if after.Labels == nil {
		after.Labels = map[string]string{}
	}
	if commit, ok := have.Labels[names.LabelCommit]; ok {
		after.Labels[names.LabelCommit] = commit
	}
	for key, value := range want.Annotations {
		setAnnotation(after, key, value)
	}
	delete(after.Annotations, names.AnnotationGone)
	delete(after.Annotations, names.AnnotationGoneShare)
	if !slices.Contains(after.Finalizers, names.FinalizerBundle) {
		after.Finalizers = append(after.Finalizers, names.FinalizerBundle)
	}
	return after
}

// equal compares what is written: JSON, because numbers in values have other
// types when they come from YAML.
func equal(a, b *fleet.Bundle) (bool, error) {
	if !maps.Equal(a.Labels, b.Labels) || !maps.Equal(a.Annotations, b.Annotations) || !slices.Equal(a.Finalizers, b.Finalizers) {
		return false, nil
	}
	left, err := json.Marshal(a.Spec)
	if err != nil {
		return false, err
	}
	right, err := json.Marshal(b.Spec)
	if err != nil {
		return false, err
	}
	return bytes.Equal(left, right), nil
}

// Digest identifies what a commit decides about a bundle, apart from which
// commit that was. A bundle whose digest is not that of the desired one was
// changed by somebody else.
func Digest(b *fleet.Bundle) ([sha256.Size]byte, error) {
	labels := maps.Clone(b.Labels)
	delete(labels, names.LabelCommit)
	data, err := json.Marshal(struct {
		Labels map[string]string
		Spec   fleet.BundleSpec
	}{labels, b.Spec})
	return sha256.Sum256(data), err
}

// doubt returns whether it is in doubt that a bundle which the commit did not
// give is really gone.
func (w World) doubt() func(*fleet.Bundle) bool {
	paths := map[string]bool{}
	for _, b := range w.Existing {
		paths[clean(b.Annotations[names.AnnotationPath])] = true
	}
	// A folder that failed and has no bundle yet may be the new home of any
	// of them: the name stands in the file that cannot be read.
	unknown := len(w.EmptyPaths) > 0
	failed := map[string]bool{}
	for _, folder := range w.Failed {
		failed[clean(folder)] = true
		unknown = unknown || !paths[clean(folder)]
	}
	return func(b *fleet.Bundle) bool {
		return unknown || failed[clean(b.Annotations[names.AnnotationPath])]
	}
}

func clean(folder string) string {
	folder = strings.Trim(folder, "/")
	if folder == "." {
		return ""
	}
	return folder
}

func setAnnotation(b *fleet.Bundle, key, value string) {
	if b.Annotations == nil {
		b.Annotations = map[string]string{}
	}
	b.Annotations[key] = value
}
