package targeting

import (
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// handles are names and labels of which every cluster that is meant has at
// least one.
type handles struct {
	names  []string
	labels []pair
}

// anchor is what a target holds on to: alternatives, each of which alone finds
// every cluster that the target may match. An anchor without any finds all.
type anchor []handles

// anchors returns what each of the targets that can match something holds on
// to.
func (m *Matcher) anchors() []anchor {
	var all []anchor
	for i := range m.targets {
		if c := &m.targets[i].criteria; !c.empty {
			all = append(all, c.anchor())
		}
	}
	return all
}

// anchor finds what the criteria hold on to. Criteria are AND-ed, so that each
// of them is an alternative.
func (c *criteria) anchor() anchor {
	var a anchor
	if c.clusterName != "" {
		a = append(a, handles{names: []string{c.clusterName}, labels: []pair{{names.LabelClusterDisplayName, c.clusterName}}})
	}
	if c.bySelector && c.selector != nil {
		a = append(a, ofSelector(c.selector)...)
	}
	if c.byGroup && !c.missing {
		if h, ok := c.ofGroups(); ok {
			a = append(a, h)
		}
	}
	return a
}

// ofGroups returns labels that find the members of all groups; false if one of
// the groups offers none.
func (c *criteria) ofGroups() (handles, bool) {
	var union handles
	for _, g := range c.groups {
		if g.selector == nil {
			return handles{}, false
		}
		alternatives := ofSelector(g.selector)
		if len(alternatives) == 0 {
			return handles{}, false
		}
		// Any of them will do; which is the best for all groups together is
		// not worth finding out.
		union.labels = append(union.labels, alternatives[0].labels...)
	}
	return union, true
}

// ofSelector returns an alternative for every requirement that names values.
// A selector that matches nothing has one that finds nothing.
func ofSelector(selector labels.Selector) []handles {
	requirements, selectable := selector.Requirements()
	if !selectable {
		return []handles{{}}
	}
	var all []handles
	for _, r := range requirements {
		if op := r.Operator(); op != selection.In && op != selection.Equals && op != selection.DoubleEquals {
			continue
		}
		var h handles
		for _, value := range slices.Sorted(slices.Values(r.ValuesUnsorted())) {
			h.labels = append(h.labels, pair{r.Key(), value})
		}
		all = append(all, h)
	}
	return all
}
