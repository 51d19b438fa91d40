package bundlereader

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// criteria is what a target, or a partition, asks of clusters.
type criteria struct {
	clusterName, clusterGroup string
	clusters, groups          *metav1.LabelSelector
}

// checkTargets warns of targets that select nothing, or of which it cannot be
// said what they select. The bundle is made all the same: doubt changes nothing
// on the clusters concerned.
func (b *builder) checkTargets() {
	options := &b.doc.options
	for _, list := range []struct {
		field   string
		targets []fleet.BundleTarget
	}{{"targets", options.Targets}, {"targetCustomizations", options.TargetCustomizations}} {
		for i := range list.targets {
			t := &list.targets[i]
			b.checkCriteria(criteria{t.ClusterName, t.ClusterGroup, t.ClusterSelector, t.ClusterGroupSelector}, list.field, i)
		}
	}
	for i := range options.OverrideTargets {
		t := &options.OverrideTargets[i]
		b.checkCriteria(criteria{t.ClusterName, t.ClusterGroup, t.ClusterSelector, t.ClusterGroupSelector}, "overrideTargets", i)
	}
	for i, ref := range options.DependsOn {
		b.checkSelector(ref.Selector, "dependsOn", i, "selector")
	}
}

func (b *builder) checkPartitions() {
	strategy := b.doc.options.RolloutStrategy
	if strategy == nil {
		return
	}
	for i := range strategy.Partitions {
		p := &strategy.Partitions[i]
		b.checkCriteria(criteria{p.ClusterName, p.ClusterGroup, p.ClusterSelector, p.ClusterGroupSelector}, "rolloutStrategy", "partitions", i)
	}
}

func (b *builder) checkCriteria(c criteria, place ...any) {
	if c == (criteria{}) {
		b.fault(Warning, "it matches no cluster: it has no clusterName, clusterSelector, clusterGroup or clusterGroupSelector; clusterSelector: {} matches all", place...)
	}
	b.checkSelector(c.clusters, append(slices.Clone(place), "clusterSelector")...)
	b.checkSelector(c.groups, append(slices.Clone(place), "clusterGroupSelector")...)
}

func (b *builder) checkSelector(selector *metav1.LabelSelector, place ...any) {
	if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
		b.fault(Warning, "the selector does not parse: "+err.Error(), place...)
	}
}

// checkDiff warns of rules for drift that never hold.
func (b *builder) checkDiff() {
	for _, options := range b.allOptions() {
		if options.Diff == nil {
			continue
		}
		for i := range options.Diff.ComparePatches {
			b.checkComparePatch(&options.Diff.ComparePatches[i], options.at("diff", "comparePatches", i))
		}
	}
}

func (b *builder) checkComparePatch(patch *fleet.ComparePatch, place []any) {
	at := func(field ...any) []any { return append(slices.Clone(place), field...) }
	known := []string{"remove", "ignore", "add", "replace", "test", "move", "copy"}
	for i, operation := range patch.Operations {
		switch {
		case !slices.Contains(known, operation.Op):
			b.fault(Warning, fmt.Sprintf("there is no operation %q", operation.Op), at("operations", i, "op")...)
		case operation.Op == "ignore":
			if _, err := regexp.Compile(patch.Name); err != nil {
				b.fault(Warning, "the name, a regular expression where an operation is \"ignore\", does not parse", at("name")...)
			}
		case !strings.HasPrefix(operation.Path, "/"):
			b.fault(Warning, "the path must begin with a slash", at("operations", i, "path")...)
		}
	}
	for i, pointer := range patch.JSONPointers {
		if !strings.HasPrefix(pointer, "/") {
			b.fault(Warning, "a JSON pointer begins with a slash", at("jsonPointers", i)...)
		}
	}
}

// checkLayout warns of folders that options name and that are not there: what
// is rendered for a cluster with these options is an error.
func (b *builder) checkLayout() {
	for _, options := range b.allOptions() {
		if k := options.Kustomize; k != nil && k.Dir != "" && !b.contents.hasKustomization(path.Clean(strings.TrimPrefix(k.Dir, "/"))) {
			b.fault(Warning, fmt.Sprintf("the folder %s holds no kustomization.yaml", k.Dir), options.at("kustomize", "dir")...)
		}
		if options.YAML == nil {
			continue
		}
		for i, name := range options.YAML.Overlays {
			if !b.contents.hasFolder(path.Join("overlays", name)) {
				b.fault(Warning, "there are no files in overlays/"+name, options.at("yaml", "overlays", i)...)
			}
		}
	}
}

// hasFolder reports whether the bundle has a file below a folder.
func (c *contents) hasFolder(dir string) bool {
	for name := range c.files {
		if strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}
