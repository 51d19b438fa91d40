package targeting

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// answer is what a criterion says of a cluster. The order is that of logic:
// the lesser of two answers is their "and", the greater their "or".
type answer int

const (
	no answer = iota
	unknown
	yes
)

// criteria are one target, or one restriction, ready to be asked.
type criteria struct {
	// empty says that there is no criterion, so that nothing matches.
	empty       bool
	clusterName string
	// bySelector says that the cluster's labels count. The selector is nil
	// where it does not parse.
	bySelector bool
	selector   labels.Selector
	// byGroup says that groups count: the cluster has to be in one of them.
	byGroup bool
	groups  []member
	// missing says that the group which is named is not there.
	missing bool
}

// member asks whether a cluster is in a group that is meant.
type member struct {
	name string
	// selector is nil where the group's does not parse.
	selector labels.Selector
	// doubtful says that the group may not be meant at all: what selects it
	// does not parse.
	doubtful bool
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

func fromPartition(i int, p *fleet.Partition) source {
	return source{fmt.Sprintf("spec.rolloutStrategy.partitions[%d]", i), p.ClusterName, p.ClusterGroup, p.ClusterSelector, p.ClusterGroupSelector}
}

// compiler turns targets into criteria and notes what is wrong with them.
type compiler struct {
	namespace string
	groups    []group
	problems  []Problem
}

// group is a ClusterGroup with its selector compiled, nil where it does not
// parse.
type group struct {
	name     string
	labels   labels.Set
	selector labels.Selector
}

func compileGroups(groups []*fleet.ClusterGroup) []group {
	compiled := make([]group, 0, len(groups))
	for _, g := range groups {
		compiled = append(compiled, group{name: g.Name, labels: g.Labels, selector: parsed(g.Spec.Selector)})
	}
	return compiled
}

// parsed returns the selector, nil where it does not parse.
func parsed(s *metav1.LabelSelector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return nil
	}
	return selector
}

func (c *compiler) compile(s source) criteria {
	compiled := criteria{
		clusterName: s.clusterName,
		bySelector:  s.clusterSelector != nil,
		byGroup:     s.clusterGroup != "" || s.groupsByLabel != nil,
	}
	compiled.empty = compiled.clusterName == "" && !compiled.bySelector && !compiled.byGroup
	if compiled.bySelector {
		compiled.selector = c.selector(s.field+".clusterSelector", s.clusterSelector)
	}
	if compiled.byGroup {
		c.compileMembers(s, &compiled)
	}
	return compiled
}

// compileMembers finds the groups that the target means.
func (c *compiler) compileMembers(s source, compiled *criteria) {
	byLabel := labels.Everything()
	if s.groupsByLabel != nil {
		byLabel = c.selector(s.field+".clusterGroupSelector", s.groupsByLabel)
	}
	compiled.missing = s.clusterGroup != ""
	for _, g := range c.groups {
		if s.clusterGroup != "" && g.name != s.clusterGroup {
			continue
		}
		compiled.missing = false
		if byLabel != nil && !byLabel.Matches(g.labels) {
			continue
		}
		if g.selector == nil {
			c.problem(s.field, fmt.Sprintf("the selector of ClusterGroup %q does not parse: correct it", g.name))
		}
		compiled.groups = append(compiled.groups, member{name: g.name, selector: g.selector, doubtful: byLabel == nil})
	}
	if compiled.missing {
		c.problem(s.field+".clusterGroup", fmt.Sprintf("there is no ClusterGroup %q in namespace %s: create it, or correct the name",
			s.clusterGroup, c.namespace))
	}
}

// selector compiles a selector of the bundle; it returns nil where that does
// not parse.
func (c *compiler) selector(field string, s *metav1.LabelSelector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		c.problem(field, "does not parse: "+err.Error())
		return nil
	}
	return selector
}

func (c *compiler) problem(field, message string) {
	c.problems = append(c.problems, Problem{Field: field, Message: message})
}

// ask says whether the criteria match the cluster.
func (c *criteria) ask(cluster *fleet.Cluster) answer {
	switch {
	case c.empty:
		return no
	case c.clusterName != "" && c.clusterName != cluster.Name && c.clusterName != cluster.Labels[names.LabelClusterDisplayName]:
		return no
	}
	result := yes
	if c.bySelector {
		result = min(result, matches(c.selector, cluster.Labels))
	}
	if c.byGroup && result != no {
		result = min(result, c.inAnyGroup(cluster.Labels))
	}
	return result
}

func (c *criteria) inAnyGroup(set labels.Set) answer {
	result := no
	if c.missing {
		result = unknown
	}
	for _, g := range c.groups {
		in := matches(g.selector, set)
		if g.doubtful {
			in = min(in, unknown)
		}
		if result = max(result, in); result == yes {
			break
		}
	}
	return result
}

func matches(selector labels.Selector, set labels.Set) answer {
	switch {
	case selector == nil:
		return unknown
	case selector.Matches(set):
		return yes
	}
	return no
}
