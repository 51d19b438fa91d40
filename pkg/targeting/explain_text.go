package targeting

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// maxShown is how many groups, labels or clauses a message names.
const maxShown = 3

// restrictionField is how the Field of every restriction begins.
const restrictionField = "spec.targetRestrictions["

// Why says in one line why the clause says what it says.
func (c Clause) Why() string {
	if len(c.Criteria) == 0 {
		return "it has no criterion, so it matches nothing"
	}
	var reasons []string
	for _, criterion := range c.Criteria {
		// Where not all agree, those that say yes explain nothing.
		if criterion.Answer == c.Answer {
			reasons = append(reasons, criterion.String())
		}
	}
	return strings.Join(reasons, "; ")
}

// Why says in one line what the decision rests on.
func (e Explanation) Why() string {
	switch e.Decision.Reason {
	case ReasonRestricted:
		return e.Decision.Message + ": " + clausesText(e.Restrictions)
	case ReasonNoTargetMatches:
		if len(e.Targets) == 0 {
			return "the bundle has no targets"
		}
		return e.Decision.Message + ": " + clausesText(e.Targets)
	}
	text := clausesText(e.deciding(e.Targets))
	if open := e.deciding(e.Restrictions); e.Decision.Outcome == Unknown && text == "" {
		text = clausesText(open)
	}
	if e.Decision.Outcome == Excluded {
		text += ": doNotDeploy"
	}
	return text
}

// deciding returns the clauses that the decision rests on. A doubt rests on
// what is in doubt alone.
func (e Explanation) deciding(clauses []Clause) []Clause {
	var found []Clause
	for _, c := range clauses {
		if c.Decides && (c.Answer == AnswerUnknown) == (e.Decision.Outcome == Unknown) {
			found = append(found, c)
		}
	}
	return found
}

func (c Clause) isRestriction() bool { return strings.HasPrefix(c.Field, restrictionField) }

// clausesText names clauses with what they say.
func clausesText(clauses []Clause) string {
	var texts []string
	for _, c := range clauses {
		what := "target "
		if c.isRestriction() {
			what = "restriction "
		}
		texts = append(texts, what+c.Name+": "+c.Why())
	}
	return strings.Join(shown(texts), "; ")
}

// String says in one line what is asked for and what came of it.
func (c Criterion) String() string {
	return strings.TrimSpace(c.Field+" "+c.Asks) + ": " + c.Message
}

func (c *criteria) byName(s source, cluster *fleet.Cluster) Criterion {
	found := Criterion{Field: "clusterName", Asks: s.clusterName, Answer: c.ask(cluster).public()}
	display := cluster.Labels[names.LabelClusterDisplayName]
	switch {
	case found.Answer == AnswerYes && s.clusterName == cluster.Name:
		found.Message = "that is its name"
	case found.Answer == AnswerYes:
		found.Message = "that is its display name"
	case display != "":
		found.Message = fmt.Sprintf("the cluster is called %s, display name %q", cluster.Name, display)
	default:
		found.Message = "the cluster is called " + cluster.Name
	}
	return found
}

func (c *criteria) byLabels(s source, cluster *fleet.Cluster) Criterion {
	return Criterion{
		Field: "clusterSelector", Asks: textOf(s.clusterSelector), Answer: c.ask(cluster).public(),
		Message: labelsMessage(s.clusterSelector, c.selector, cluster.Labels),
	}
}

// labelsMessage says what the labels have to do with the selector: the first
// of them that it does not accept, or those that it does.
func labelsMessage(written *metav1.LabelSelector, selector labels.Selector, set labels.Set) string {
	if selector == nil {
		_, err := metav1.LabelSelectorAsSelector(written)
		return fmt.Sprintf("it does not parse: %v", err)
	}
	requirements, selectable := selector.Requirements()
	switch {
	case !selectable:
		return "it selects no cluster"
	case len(requirements) == 0:
		return "it selects every cluster"
	}
	var have []string
	for i := range requirements {
		r := &requirements[i]
		if !r.Matches(set) {
			return "the cluster has " + labelText(set, r.Key())
		}
		have = append(have, labelText(set, r.Key()))
	}
	slices.Sort(have)
	return "the cluster has " + strings.Join(shown(slices.Compact(have)), ", ")
}

func labelText(set labels.Set, key string) string {
	value, ok := set[key]
	if !ok {
		return "no label " + key
	}
	return key + "=" + value
}

func (c *criteria) byMembership(s source, cluster *fleet.Cluster) Criterion {
	found := Criterion{Field: "clusterGroup", Asks: s.clusterGroup, Answer: c.ask(cluster).public()}
	switch {
	case s.clusterGroup == "":
		found.Field, found.Asks = "clusterGroupSelector", textOf(s.groupsByLabel)
	case s.groupsByLabel != nil:
		found.Asks += " with labels " + textOf(s.groupsByLabel)
	}
	found.Message = c.membershipMessage(s, cluster)
	return found
}

// membershipMessage names the groups that give the answer.
func (c *criteria) membershipMessage(s source, cluster *fleet.Cluster) string {
	switch {
	case c.missing:
		return fmt.Sprintf("there is no ClusterGroup %q in namespace %s", s.clusterGroup, cluster.Namespace)
	case len(c.groups) == 0:
		return "no ClusterGroup of namespace " + cluster.Namespace + " has these labels"
	}
	result := c.ask(cluster)
	var of []string
	for i := range c.groups {
		g := c.groups[i]
		alone := criteria{byGroup: true, groups: c.groups[i : i+1]}
		if alone.ask(cluster) != result {
			continue
		}
		switch {
		case result == yes:
			return "the cluster is in ClusterGroup " + g.name
		case g.selector == nil:
			of = append(of, "the selector of ClusterGroup "+g.name+" does not parse")
		case result == unknown:
			of = append(of, "which labels ClusterGroup "+g.name+" must have does not parse")
		default:
			of = append(of, groupMessage(g, cluster.Labels))
		}
	}
	return strings.Join(shown(of), "; ")
}

func groupMessage(g member, set labels.Set) string {
	text := "ClusterGroup " + g.name
	if asks := g.selector.String(); asks != "" {
		text += " (" + asks + ")"
	}
	return text + ": " + labelsMessage(nil, g.selector, set)
}

// textOf writes a selector as one types it for kubectl.
func textOf(s *metav1.LabelSelector) string {
	switch selector, err := metav1.LabelSelectorAsSelector(s); {
	case err != nil:
		return "(invalid)"
	case selector.Empty():
		return "{}"
	default:
		return selector.String()
	}
}

// shown returns the first few, and how many there are more.
func shown(all []string) []string {
	if len(all) <= maxShown {
		return all
	}
	return append(slices.Clone(all[:maxShown]), fmt.Sprintf("and %d more", len(all)-maxShown))
}
