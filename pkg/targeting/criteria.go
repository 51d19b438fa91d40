package targeting

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// answer is what one criterion says of a cluster.
type answer int

const (
	no answer = iota
	unknown
	yes
)

// and is the lesser of two answers: no beats unknown beats yes.
func (a answer) and(b answer) answer { return min(a, b) }

// or is the greater of two answers.
func (a answer) or(b answer) answer { return max(a, b) }

// criteria are one target, or one restriction, ready to be asked.
type criteria struct {
	// empty says that there is no criterion, so that nothing matches.
	empty       bool
	clusterName string
	// selector is nil if there is none, and broken if it does not parse.
	selector labels.Selector
	// groups are the selectors of the groups that are meant; any will do.
	groups []labels.Selector
	// inGroups says that groups count.
	inGroups bool
	// broken says that a criterion cannot be evaluated.
	broken bool
}

// source is what targets and restrictions have in common.
type source struct {
	field                          string
	clusterName, clusterGroup      string
	clusterSelector, groupsByLabel *metav1.LabelSelector
}

func fromTarget(i int, t *fleet.BundleTarget) source {
	return source{fmt.Sprintf("spec.targets[%d]", i), t.ClusterName, t.ClusterGroup, t.ClusterSelector, t.ClusterGroupSelector}
}

func fromRestriction(i int, t *fleet.BundleTargetRestriction) source {
	return source{fmt.Sprintf("spec.targetRestrictions[%d]", i), t.ClusterName, t.ClusterGroup, t.ClusterSelector, t.ClusterGroupSelector}
}

// compiler turns targets into criteria and notes what is wrong with them.
type compiler struct {
	groups   []group
	problems []Problem
}

// group is a ClusterGroup with its selector compiled.
type group struct {
	name     string
	labels   labels.Set
	selector labels.Selector
	broken   bool
}

func compileGroups(groups []*fleet.ClusterGroup) []group {
	compiled := make([]group, 0, len(groups))
	for _, g := range groups {
		selector, err := metav1.LabelSelectorAsSelector(g.Spec.Selector)
		compiled = append(compiled, group{name: g.Name, labels: g.Labels, selector: selector, broken: err != nil})
	}
	return compiled
}

func (c *compiler) compile(s source) criteria {
	compiled := criteria{
		empty:       s.clusterName == "" && s.clusterGroup == "" && s.clusterSelector == nil && s.groupsByLabel == nil,
		clusterName: s.clusterName,
		inGroups:    s.clusterGroup != "" || s.groupsByLabel != nil,
	}
	if s.clusterSelector != nil {
		selector, err := metav1.LabelSelectorAsSelector(s.clusterSelector)
		if err != nil {
			c.problem(s.field+".clusterSelector", "does not parse: "+err.Error())
			compiled.broken = true
		}
		compiled.selector = selector
	}
	if compiled.inGroups {
		c.meant(s, &compiled)
	}
	return compiled
}

// meant finds the groups that the target means.
func (c *compiler) meant(s source, compiled *criteria) {
	byLabel := labels.Everything()
	if s.groupsByLabel != nil {
		selector, err := metav1.LabelSelectorAsSelector(s.groupsByLabel)
		if err != nil {
			c.problem(s.field+".clusterGroupSelector", "does not parse: "+err.Error())
			compiled.broken = true
			return
		}
		byLabel = selector
	}
	named := s.clusterGroup == ""
	for _, g := range c.groups {
		if s.clusterGroup != "" && g.name != s.clusterGroup {
			continue
		}
		named = true
		if !byLabel.Matches(g.labels) {
			continue
		}
		if g.broken {
			c.problem(s.field+".clusterGroup", "the selector of ClusterGroup "+g.name+" does not parse: correct it")
			compiled.broken = true
			continue
		}
		compiled.groups = append(compiled.groups, g.selector)
	}
	if !named {
		c.problem(s.field+".clusterGroup", fmt.Sprintf("there is no ClusterGroup %q: create it, or correct the name", s.clusterGroup))
		compiled.broken = true
	}
}

func (c *compiler) problem(field, message string) {
	c.problems = append(c.problems, Problem{Field: field, Message: message})
}

// ask says whether the criteria match the cluster.
func (c *criteria) ask(cluster *fleet.Cluster) answer {
	if c.empty {
		return no
	}
	result := yes
	if c.clusterName != "" && c.clusterName != cluster.Name && c.clusterName != cluster.Labels[names.LabelClusterDisplayName] {
		return no
	}
	set := labels.Set(cluster.Labels)
	if c.selector != nil && !c.selector.Matches(set) {
		return no
	}
	if c.inGroups && !c.broken && !c.inAnyGroup(set) {
		return no
	}
	if c.broken {
		// Of the groups that can be read one may match already, but another
		// criterion may be the broken one.
		result = unknown
	}
	return result
}

func (c *criteria) inAnyGroup(set labels.Set) bool {
	for _, selector := range c.groups {
		if selector.Matches(set) {
			return true
		}
	}
	return false
}
